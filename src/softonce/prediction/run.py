"""The verb: an artefact and names of images become records, bad files included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from softonce.config import PredictConfig
from softonce.config.keywords import config_of
from softonce.console import visible_notes
from softonce.drawing import PictureFolder
from softonce.engines import open_as_asked
from softonce.engines.engine import with_tta
from softonce.errors import ArgumentError, DataError
from softonce.prediction.annotated import draw_answers
from softonce.prediction.inputs import items_of_names
from softonce.prediction.predictor import Predictor
from softonce.prediction.results import predict_images
from softonce.prediction.stream import predict_items

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from softonce.config.fields import AskedPrecision, Device, EngineName, Tta
    from softonce.prediction.inputs import Images
    from softonce.prediction.predictor import Record
    from softonce.prediction.results import Predictions
    from softonce.prediction.table import Emit


@overload
def predict(artefact: PredictConfig, /) -> Iterator[Record]: ...
@overload
def predict(
    artefact: str | Path,
    images: Images,
    *,
    top_k: int = 5,
    emit: Emit = "probs",
    tta: Tta = "none",
    batch_size: int = 32,
    engine: EngineName = "auto",
    precision: AskedPrecision = "auto",
    threads: int | None = None,
    trust: bool = False,
    device: Device = "auto",
    show: str | Path | None = None,
) -> Predictions: ...
def predict(
    artefact: PredictConfig | str | Path, images: Images | None = None, **options: Any
) -> Iterator[Record] | Predictions:
    """Classify images: all at once, or as the command line does, one after the other.

    Args:
        artefact: the folder of a run, its .safetensors file or an exported file; or the options of
            `softonce predict`, which name the images, too.
        images: what `Classifier.predict` takes: a picture in memory, a path, a URL, a folder, a
            glob pattern, or any iterable of these.
        options: those of `Classifier.load` and of `Classifier.predict`; `show` names a new folder
            for copies of the images with their classes beneath.

    Returns:
        `Predictions`; of a `PredictConfig`, an iterator of plain records as `softonce predict
        --format jsonl` prints them, a batch at a time: `path`, `pred` (an index), `class`, `prob`,
        `top` and `error`.

    Raises:
        ArtefactError: if the artefact cannot be used.
        ArgumentError: if something is not a picture, or an option is unknown.
        ConfigError: if `show` is a folder with files in it.
        DataError: if no image is named.

    Example:
        >>> predict("no.safetensors", "a.jpg")
        Traceback (most recent call last):
        softonce.errors.ArtefactError: expected a model file at no.safetensors, ...
    """
    if isinstance(artefact, PredictConfig):
        if images is not None or options:
            raise ArgumentError(
                "expected a PredictConfig by itself, found more arguments: put them into it"
            )
        return _records(artefact)
    if images is None:
        raise ArgumentError(
            "expected images beside the artefact, found none: softonce.predict(ARTEFACT, IMAGES)"
        )
    config = config_of(PredictConfig, artefact, **options)
    pictures = _picture_folder(config)
    with visible_notes(quiet=config.quiet):
        return predict_images(
            _open(config),
            images,
            top_k=config.top_k,
            emit=config.numbers,
            batch_size=config.batch_size,
            pictures=pictures,
        )


def _picture_folder(config: PredictConfig) -> PictureFolder | None:
    return None if config.show is None else PictureFolder(config.show)


def _records(config: PredictConfig) -> Iterator[Record]:
    emit, pictures = config.numbers, _picture_folder(config)  # before an engine, which takes longer
    with visible_notes(quiet=config.quiet):
        predictor = _open(config)
    answers = predict_items(
        predictor,
        items_of_names(config.images, max_pixels=config.max_pixels),
        batch_size=config.batch_size,
        top_k=config.top_k,
    )
    if pictures is not None:
        answers = draw_answers(answers, pictures, emit=emit)
    answer = None
    for answer in answers:
        yield answer.record
    if answer is None:
        raise DataError(
            "expected images to classify, found none: name files, folders or glob patterns, "
            "or - to read one path a line from standard input"
        )


def _open(config: PredictConfig) -> Predictor:
    engine = open_as_asked(config.artefact, config)
    return Predictor(with_tta(engine, config.tta))
