"""One object for one classifier: predict, evaluate, export, serve, and look inside.

An exported file is loaded and predicts where torch is not installed: it is imported by the methods
that need it.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softonce.config import EvaluateConfig, ExportConfig, PredictConfig, ServeConfig
from softonce.config.keywords import config_of
from softonce.console import LOG, visible_notes
from softonce.engines import open_as_asked
from softonce.engines.engine import with_tta
from softonce.errors import (
    ArgumentError,
    ArtefactError,
    DataError,
    MissingExtraError,
)
from softonce.formats import is_artefact
from softonce.plurals import format_count
from softonce.prediction.inputs import items_of
from softonce.prediction.predictor import Predictor, Unreadable
from softonce.prediction.results import Predictions, predict_images
from softonce.run_folder import model_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from softonce.artefact import Metadata
    from softonce.config.export import FormatName
    from softonce.config.fields import AskedPrecision, Data, Device, EngineName, Tta
    from softonce.engines import Engine
    from softonce.engines.torch_engine import TorchEngine
    from softonce.evaluation import Evaluation
    from softonce.exporting.run import Exported
    from softonce.prediction.inputs import ImageLike, Images
    from softonce.prediction.table import Emit
    from softonce.preprocessing import Preprocessing


class Classifier:
    """A classifier that is ready to predict; `Classifier.load(path)` makes one.

    Example:
        >>> Classifier.load("no-such-run")
        Traceback (most recent call last):
        softonce.errors.ArtefactError: expected a model file at no-such-run, found nothing: ...
    """

    def __init__(self, engine: Engine, config: PredictConfig) -> None:
        """Hold an engine, and how it was opened; `load` opens one."""
        self._engine, self._config = engine, config
        self.path = model_file(config.artefact)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        device: Device = "auto",
        engine: EngineName = "auto",
        precision: AskedPrecision = "auto",
        threads: int | None = None,
        trust: bool = False,
        model: str | Callable[..., nn.Module] | None = None,
    ) -> Classifier:
        """Load a classifier.

        Args:
            path: the folder of a run, its .safetensors file, or an exported file (.onnx, .xml,
                .pt2).
            device: of torch: `auto`, `cpu`, `cuda` or `mps`.
            engine: what computes predictions; `auto` is the fastest that is installed and runs
                such a file.
            precision: in which torch computes an artefact; `auto` is float32, or bfloat16 if a
                short measurement finds it faster.
            threads: how many compute; None leaves it to the engine.
            trust: whether code that the file holds (.pt2) or names (a network of its author's own)
                may be run, which may do anything.
            model: the function that builds an artefact's network, or its spelling
                (`file.py:function`), in the place of what the artefact names.

        Raises:
            ArtefactError: if there is no classifier, or it is damaged.
            ConfigError: if the engine does not run such a file, or an option cannot be used.
            MissingExtraError: if the engine is not installed.
        """
        config = PredictConfig(
            _require_path(path),
            device=device,
            engine=engine,
            precision=precision,
            threads=threads,
            trust=trust,
            model=_spelling_of(model),
        )
        with visible_notes():
            opened = open_as_asked(config.artefact, config)
        return cls(opened, config)

    def __call__(
        self,
        images: Images,
        *,
        top_k: int = 5,
        emit: Emit = "probs",
        tta: Tta = "none",
        batch_size: int = 32,
    ) -> Predictions:
        """Predict, as `predict` does."""
        return self.predict(images, top_k=top_k, emit=emit, tta=tta, batch_size=batch_size)

    def predict(
        self,
        images: Images,
        *,
        top_k: int = 5,
        emit: Emit = "probs",
        tta: Tta = "none",
        batch_size: int = 32,
    ) -> Predictions:
        """Predict the classes of pictures.

        A picture is a path, a URL, the bytes of its file, an open file, a PIL image, an array
        (H, W) or (H, W, C), or a tensor (C, H, W); numbers are uint8, uint16, or floats in [0, 1].
        It is turned upright, flattened on white and scaled as a file of it would be. A path may
        also be a folder or a glob pattern, which stand for all that is in them.

        Args:
            images: one of these, or any iterable of them, mixed as you like; a generator is read
                `batch_size` pictures at a time.
            top_k: how many classes are in `top`.
            emit: whether tables show `probs` or `logits`; every record has both.
            tta: `flip` averages the logits of each picture and its mirror image.
            batch_size: pictures that are computed together.

        Returns:
            A record for each picture, in order. What is named but cannot be read, be it a damaged
            file, a missing one or a pattern that matches nothing, has a record whose `error` says
            why.

        Raises:
            ArgumentError: if there is nothing to predict, or an object that is not a picture; the
                message names its position.
            ConfigError: if an option cannot be used.
        """
        config = replace(self._config, top_k=top_k, emit=emit, tta=tta, batch_size=batch_size)
        return predict_images(
            Predictor(with_tta(self._engine, config.tta)),
            images,
            top_k=config.top_k,
            emit=config.numbers,
            batch_size=config.batch_size,
        )

    def features(self, images: Images, *, batch_size: int = 32) -> NDArray[np.float32]:
        """Return what the network makes of pictures before its head, to search or cluster by.

        They are computed in float32, layer by layer as the network was trained.

        Args:
            images: as `predict` takes them.
            batch_size: pictures that are computed together.

        Returns:
            (N, D) float32, a row a picture, in order.

        Raises:
            ArgumentError: if there is nothing to look at, or an object that is not a picture.
            ArtefactError: if the classifier is an exported file, which gives logits.
            DataError: if a picture cannot be read.
        """
        from softonce.prediction.features import features_of

        config = replace(self._config, batch_size=batch_size)
        return features_of(self._whole_engine, images, batch_size=config.batch_size)

    @cached_property
    def _whole_engine(self) -> TorchEngine:
        from softonce.prediction.features import open_features

        return open_features(self._config)

    def preprocess(self, image: ImageLike) -> Tensor:
        """Return what the network sees of one picture.

        Args:
            image: as `predict` takes it.

        Returns:
            (C, size, size) float32: cropped or padded to the square, scaled and normalised.

        Raises:
            ArgumentError: if it is not a picture, or stands for several.
            DataError: if it cannot be read.
            MissingExtraError: if torch is not installed.
        """
        items = list(items_of(image, self.preprocessing.mode))
        if len(items) != 1:
            raise ArgumentError(f"expected one picture, found {len(items)}: pass them one by one")
        with _needs("train"):
            import torch

            from softonce.data.loader import normalize
        pixels = Predictor(self._engine).prepare(items[0].open)
        if isinstance(pixels, Unreadable):
            raise DataError(
                f"expected a picture that can be read, found {items[0].path or 'one in memory'}: "
                f"{pixels.reason}"
            )
        batch = torch.from_numpy(pixels[None])
        return normalize(batch, self.preprocessing)[0].contiguous()

    @cached_property
    def network(self) -> nn.Module:
        """The network in evaluation mode, as it was trained: float32, giving logits.

        `predict` may compute with a faster form of it. An exported file has none: that is an
        `ArtefactError`.
        """
        if not is_artefact(self.path):
            raise ArtefactError(
                f"expected an artefact, found the exported file {self.path}, which holds a graph "
                "and no torch module: load the run's model.safetensors"
            )
        with _needs("train"):
            from softonce.engines.networks import load
        config = self._config
        return load(self.path, device=config.device, trust=config.trust, model=config.model)[0]

    @property
    def metadata(self) -> Metadata:
        """What the file says of itself."""
        return self._engine.metadata

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in index order."""
        return self.metadata.classes

    @property
    def temperature(self) -> float:
        """What the logits are divided by before the softmax of prediction."""
        return self.metadata.temperature

    @property
    def preprocessing(self) -> Preprocessing:
        """From a decoded picture to the square that the network sees."""
        return self.metadata.preprocessing

    def evaluate(self, data: Data, **options: Any) -> Evaluation:
        """Measure the classifier on a folder of images.

        An artefact computes in float32, as it was trained, whatever `predict` computes with.

        Args:
            data: what `softonce evaluate` takes: a folder, a manifest, shards, a URL.
            options: fields of `EvaluateConfig` by name, such as `split`, `tta` or `report`.

        Raises:
            SoftonceError: if the options or the data cannot be used.
        """
        config = config_of(EvaluateConfig, (self.path, data), **self._with_opened(options))
        with _needs("train"):
            from softonce.report.evaluate import evaluate
        return evaluate(config)

    def export(
        self, to: FormatName = "onnx", output: str | Path | None = None, **options: Any
    ) -> Exported:
        """Write the classifier for another runtime, and compare the file with it.

        Args:
            to: `onnx`, `openvino` or `torch`.
            output: the file; None is beside the model file.
            options: further fields of `ExportConfig` by name, such as `precision` or `data`.

        Returns:
            Where the file is, and how it compares; one that disagrees is not written, unless
            `force=True`.

        Raises:
            SoftonceError: if an option cannot be used, or the classifier is no artefact.
        """
        opened = {name: getattr(self._config, name) for name in ("trust", "model")}
        config = config_of(ExportConfig, self.path, to=to, output=output, **opened | options)
        with _needs("export"):
            from softonce.exporting.run import export

            exported = export(config)
        with visible_notes():
            for failure in exported.parity.failures:
                LOG.warning("%s: %s", exported.file, failure)
        return exported

    def serve(self, host: str = "127.0.0.1", port: int = 8000, **options: Any) -> None:
        """Answer requests with images over HTTP until Ctrl-C, with a web page at `/`.

        In a notebook, interrupt the kernel to stop it.

        Args:
            host: where to listen.
            port: 0 takes any that is free.
            options: further fields of `ServeConfig` by name, such as `max_batch`.

        Raises:
            ConfigError: if an option cannot be used, or the port is taken.
            MissingExtraError: if the service is not installed.
        """
        config = config_of(
            ServeConfig, self.path, host=host, port=port, **self._with_opened(options)
        )
        with _needs("serve"):
            from softonce.serving.catalog import catalog_of
            from softonce.serving.server import serve
        with visible_notes(quiet=config.quiet):
            serve({next(iter(catalog_of(config.words))): self._engine}, config)

    def _with_opened(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the options, with those that the classifier was opened with."""
        names = ("device", "engine", "threads", "trust", "model")
        return {name: getattr(self._config, name) for name in names} | options

    def __repr__(self) -> str:
        size, arch = self.preprocessing.size, self.metadata.arch
        classes = format_count(len(self.classes), "class")
        return f"Classifier({arch}, {classes}, {size} px, {self._engine.name}, {str(self.path)!r})"


@contextmanager
def _needs(extra: str) -> Iterator[None]:
    """Turn the import of a package that is not installed into the line that names its extra."""
    try:
        yield
    except MissingExtraError:
        raise
    except ImportError as error:
        raise MissingExtraError.of(error.name or str(error), extra) from error


def _spelling_of(model: str | Callable[..., nn.Module] | None) -> str | None:
    if model is None or isinstance(model, str):
        return model
    with _needs("train"):
        from softonce.models.sources import spelling_of
    return spelling_of(model)


def _require_path(path: object) -> Path:
    if not isinstance(path, str | Path):
        raise ArgumentError(
            f"expected the path of a run or a model file, found {type(path).__name__}: "
            "pass text or a Path"
        )
    return Path(path)
