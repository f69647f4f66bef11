"""Wrong predictions as pictures: the worst ones, the most confused pairs, where it looked."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw

from softonce.data.images import open_image, shown, to_square
from softonce.drawing import resize_to_show
from softonce.errors import ImageError, StorageError
from softonce.inference import probs
from softonce.report.activation import activation_maps
from softonce.report.page import ConfusedPictures, Mistake

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from softonce.evaluation import Evaluation
    from softonce.preprocessing import Preprocessing

NUM_MISTAKES = 24
_UNREADABLE = (ImageError, StorageError)  # it has gone since it was evaluated
NUM_PAIRS, NUM_OF_PAIR = 6, 4
_LEAST, _MOST = 80, 176  # pixels of a side: half a phone's column, and a column of a wide page
_QUALITY = 80  # of JPEG: about 5 kB a picture, so that a page stays below a megabyte
_THICKEST, _FOG = 0.75, 96.0  # a place without evidence must still be recognised


@dataclass(frozen=True)
class Mistakes:
    """The wrong predictions that a page shows.

    Args:
        worst: the most confident first.
        confused: the most frequent pair of classes first.
        about_light: a sentence on how the worst are lit, or why they are not.
    """

    worst: list[Mistake]
    confused: list[ConfusedPictures]
    about_light: str


class _Wrong(NamedTuple):
    sample: int
    target: int
    pred: int
    prob: float


def find_mistakes(evaluation: Evaluation) -> Mistakes:
    """Return the most confident wrong predictions, and the most confused pairs, with pictures."""
    ranked = _rank(evaluation)
    worst = ranked[:NUM_MISTAKES]
    maps, about = _maps(evaluation, worst)
    mistakes = [_mistake(evaluation, wrong, maps.get(wrong.sample)) for wrong in worst]
    return Mistakes(mistakes, _confused(evaluation, ranked), about)


def _rank(evaluation: Evaluation) -> list[_Wrong]:
    """Return every wrong prediction, the most confident first."""
    target = evaluation.scan.samples.target
    confidence, pred = probs(evaluation.logits, temperature=evaluation.temperature).max(dim=1)
    wrong = (pred != torch.from_numpy(target)).nonzero()[:, 0]
    order = wrong[confidence[wrong].argsort(descending=True, stable=True)].tolist()
    rows = zip(order, target[order].tolist(), pred[order].tolist(), confidence[order].tolist())  # noqa: B905 - of one length
    return [_Wrong(*row) for row in rows]


def _maps(
    evaluation: Evaluation, worst: Sequence[_Wrong]
) -> tuple[dict[int, NDArray[np.float32]], str]:
    """Return, of each mistake, the maps of the predicted and of the true class; and a sentence."""
    engine, samples = evaluation.engine, evaluation.scan.samples
    if engine is None:
        return {}, ""
    squares, classes = {}, []
    for wrong in worst:
        try:
            image = open_image(samples.read(wrong.sample))
            squares[wrong.sample] = to_square(image, engine.metadata.preprocessing)
        except _UNREADABLE:
            continue
        classes.append((wrong.pred, wrong.target))
    if not squares:
        return {}, ""
    found = activation_maps(engine, np.stack(list(squares.values())), np.array(classes))
    if found.values is None:
        return {}, f"Where the network looked is not shown: {found.reason}."
    height, width = found.values.shape[2:]
    return dict(zip(squares, found.values, strict=True)), (
        "Clear is where the evidence for a class lies, faded where there is least (a class "
        f"activation map of {height} x {width} places); the frame is what the network sees of "
        "the image."
    )


def _mistake(
    evaluation: Evaluation, wrong: _Wrong, maps: NDArray[np.float32] | None = None
) -> Mistake:
    samples, engine = evaluation.scan.samples, evaluation.engine
    thumbnail = _thumbnail(evaluation, wrong.sample)
    lit: list[bytes] = []
    if thumbnail is not None and maps is not None and engine is not None:
        box = _seen_box(thumbnail.size, engine.metadata.preprocessing)
        lit = [_as_jpeg(_lit(thumbnail, each, box)) for each in maps]
    return Mistake(
        path=samples.where(wrong.sample),
        target=wrong.target,
        pred=wrong.pred,
        prob=wrong.prob,
        thumbnail=b"" if thumbnail is None else _as_jpeg(thumbnail),
        lit=tuple(lit),
    )


def _confused(evaluation: Evaluation, ranked: Sequence[_Wrong]) -> list[ConfusedPictures]:
    """Return the most confused pairs of classes with their most confident mistakes.

    Of two classes the worst mistakes show the same, and a pair that occurred once is no pattern.
    """
    if len(evaluation.classes) == 2:
        return []
    found = []
    for pair in evaluation.figures.confused_pairs[:NUM_PAIRS]:
        if pair["count"] < 2:
            break
        members = [w for w in ranked if (w.target, w.pred) == (pair["target"], pair["pred"])]
        shown_ = [_mistake(evaluation, wrong) for wrong in members[:NUM_OF_PAIR]]
        found.append(ConfusedPictures(pair, [each for each in shown_ if each.thumbnail]))
    return found


def _thumbnail(evaluation: Evaluation, index: int) -> Image.Image | None:
    """Return a small picture; None if it cannot be read any more."""
    try:
        image = shown(open_image(evaluation.scan.samples.read(index)))
    except _UNREADABLE:
        return None
    return resize_to_show(image, least=_LEAST, most=_MOST)


def _seen_box(size: tuple[int, int], preprocessing: Preprocessing) -> tuple[int, int, int, int]:
    """Return where the network's square lies in a picture of this size, in its pixels.

    With `pad` the square is larger than the picture: its edges lie outside.
    """
    width, height = size
    if preprocessing.fit == "squash":
        return 0, 0, width, height
    if preprocessing.fit == "pad":
        side: float = max(size)
    else:
        side = min(size) * preprocessing.size / preprocessing.resize
    left, top = (width - side) / 2, (height - side) / 2
    return round(left), round(top), round(left + side), round(top + side)


def _lit(
    picture: Image.Image, values: NDArray[np.float32], box: tuple[int, int, int, int]
) -> Image.Image:
    """Return the picture, clear where the evidence for a class is and in a fog where it is not.

    What the network looked at keeps its colours, as it would not under false ones; and a fog is
    seen on black as well as on white, as shadow is not.
    """
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) / (high - low or 1)
    left, top, right, bottom = box
    light = Image.new("F", picture.size, 0.0)
    light.paste(
        Image.fromarray(scaled).resize((right - left, bottom - top), Image.Resampling.BILINEAR),
        (left, top),
    )
    share = 1 - _THICKEST * (1 - np.asarray(light)[..., None])
    pixels = share * np.asarray(picture.convert("RGB")) + (1 - share) * _FOG
    result = Image.fromarray(pixels.round().astype(np.uint8))
    ImageDraw.Draw(result).rectangle((left, top, right - 1, bottom - 1), outline="#9b978f")
    return result


def _as_jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, format="JPEG", quality=_QUALITY)
    return buffer.getvalue()
