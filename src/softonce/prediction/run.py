"""The verb: an artefact and names of images become records, bad files included."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softonce.engines import open_engine
from softonce.engines.engine import with_tta
from softonce.errors import DataError
from softonce.prediction.inputs import items_of_names
from softonce.prediction.predictor import Predictor
from softonce.prediction.stream import predict_items

if TYPE_CHECKING:
    from collections.abc import Iterator

    from softonce.config import PredictConfig
    from softonce.prediction.predictor import Record


def predict(config: PredictConfig) -> Iterator[Record]:
    """Classify images, and yield one record a path, in the order given.

    Args:
        config: the options of `softonce predict`.

    Returns:
        Records of `path`, `pred`, `class`, `prob`, `top` (each with `index`, `class`, `prob` and
        `logit`) and `error`; `prob` is calibrated by the artefact's temperature. If an image
        cannot be read, `error` says why, and the rest is None.

    Raises:
        ArtefactError: if the artefact cannot be used.
        DataError: if no image is named.

    Example:
        >>> from pathlib import Path
        >>> from softonce.config import PredictConfig
        >>> next(predict(PredictConfig(Path("no.safetensors"), ("a.jpg",))))
        Traceback (most recent call last):
        softonce.errors.ArtefactError: expected a model file at no.safetensors, ...
    """
    engine = open_engine(
        config.artefact,
        name=config.engine,
        device=config.device,
        threads=config.threads,
        trust=config.trust,
    )
    predictor = Predictor(with_tta(engine, config.tta))
    items = items_of_names(config.images)
    answers = predict_items(predictor, items, batch_size=config.batch_size, top_k=config.top_k)
    answer = None
    for answer in answers:
        yield answer.record
    if answer is None:
        raise DataError(
            "expected images to classify, found none: name files, folders or glob patterns, "
            "or - to read one path a line from standard input"
        )
