"""Wrong predictions as pictures: the worst ones, the most confused pairs, where it looked."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw

from softonce.data.images import decode_for_display, to_square
from softonce.drawing import resize_to_show
from softonce.errors import ImageError, StorageError
from softonce.inference import probs
from softonce.report.activation import activation_maps
from softonce.report.page import ConfusedPictures, Mistake

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from softonce.evaluation import Evaluation
    from softonce.preprocessing import Preprocessing

NUM_MISTAKES = 24
"""Pictures in the gallery of the worst mistakes: 24 of 10 kB each."""
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


class _Picture(NamedTuple):
    """Of one file, read once: what a page shows, and what the network sees."""

    thumbnail: Image.Image
    square: NDArray[np.uint8] | None


def find_mistakes(evaluation: Evaluation) -> Mistakes:
    """Return the most confident wrong predictions, and the most confused pairs, with pictures."""
    ranked = _rank(evaluation)
    worst, pairs = ranked[:NUM_MISTAKES], _confused_pairs(evaluation, ranked)
    shown_ = {wrong.sample for members in [worst, *pairs.values()] for wrong in members}
    read = {sample: _read(evaluation, sample) for sample in sorted(shown_)}
    pictures = {sample: picture for sample, picture in read.items() if picture is not None}
    maps, about = _maps(evaluation, worst, pictures)
    mistakes = [_mistake(evaluation, wrong, pictures, maps.get(wrong.sample)) for wrong in worst]
    confused = [
        ConfusedPictures(
            evaluation.figures.confused_pairs[number],
            [_mistake(evaluation, w, pictures) for w in members if w.sample in pictures],
        )
        for number, members in pairs.items()
    ]
    return Mistakes(mistakes, confused, about)


def _rank(evaluation: Evaluation) -> list[_Wrong]:
    """Return every wrong prediction, the most confident first."""
    target = evaluation.scan.samples.target
    confidence, pred = probs(evaluation.logits, temperature=evaluation.temperature).max(dim=1)
    wrong = (pred != torch.from_numpy(target)).nonzero()[:, 0]
    order = wrong[confidence[wrong].argsort(descending=True, stable=True)].tolist()
    rows = zip(order, target[order].tolist(), pred[order].tolist(), confidence[order].tolist())  # noqa: B905 - of one length
    return [_Wrong(*row) for row in rows]


def _maps(
    evaluation: Evaluation, worst: Sequence[_Wrong], pictures: Mapping[int, _Picture]
) -> tuple[dict[int, NDArray[np.float32]], str]:
    """Return, of each mistake, the maps of the predicted and of the true class; and a sentence."""
    engine = evaluation.engine
    squares, classes = {}, []
    for wrong in worst:
        picture = pictures.get(wrong.sample)
        if picture is not None and picture.square is not None:
            squares[wrong.sample] = picture.square
            classes.append((wrong.pred, wrong.target))
    if engine is None or not squares:
        return {}, ""
    found = activation_maps(engine, np.stack(list(squares.values())), np.array(classes))
    if found.values is None:
        return {}, f"Where the network looked is not shown: {found.reason}."
    height, width = found.values.shape[2:]
    return dict(zip(squares, found.values, strict=True)), (
        "Clear is where the evidence for a class lies, faded where it is least (a class "
        f"activation map of {height} x {width} places); the frame is what the network sees of "
        "the image."
    )


def _mistake(
    evaluation: Evaluation,
    wrong: _Wrong,
    pictures: Mapping[int, _Picture],
    maps: NDArray[np.float32] | None = None,
) -> Mistake:
    picture, engine = pictures.get(wrong.sample), evaluation.engine
    lit: list[bytes] = []
    if picture is not None and maps is not None and engine is not None:
        box = _seen_box(picture.thumbnail.size, engine.metadata.preprocessing)
        lit = [_as_jpeg(_lit(picture.thumbnail, each, box)) for each in maps]
    return Mistake(
        path=evaluation.scan.samples.where(wrong.sample),
        target=wrong.target,
        pred=wrong.pred,
        prob=wrong.prob,
        thumbnail=b"" if picture is None else _as_jpeg(picture.thumbnail),
        lit=tuple(lit),
    )


def _confused_pairs(evaluation: Evaluation, ranked: Sequence[_Wrong]) -> dict[int, list[_Wrong]]:
    """Return the most confident mistakes of the most confused pairs, by the pair's number.

    Of two classes the worst mistakes show the same, and a pair that occurred once is no pattern.
    """
    if len(evaluation.classes) == 2:
        return {}
    found = {}
    for number, pair in enumerate(evaluation.figures.confused_pairs[:NUM_PAIRS]):
        if pair["count"] < 2:
            break
        members = [w for w in ranked if (w.target, w.pred) == (pair["target"], pair["pred"])]
        found[number] = members[:NUM_OF_PAIR]
    return found


def _read(evaluation: Evaluation, sample: int) -> _Picture | None:
    """Return the picture, small; None if it cannot be read any more."""
    engine = evaluation.engine
    try:
        image = evaluation.scan.samples.open(sample)
        thumbnail = resize_to_show(decode_for_display(image), least=_LEAST, most=_MOST)
        square = None if engine is None else to_square(image, engine.metadata.preprocessing)
    except _UNREADABLE:
        return None
    return _Picture(thumbnail, square)


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
