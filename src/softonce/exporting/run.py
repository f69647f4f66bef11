"""An artefact becomes a file for another runtime, which is compared before it is there."""

from __future__ import annotations

import shutil
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

from softonce.config import ExportConfig
from softonce.config.keywords import config_of
from softonce.console import LOG, visible_notes
from softonce.engines import open_engine
from softonce.engines.graph_engine import GraphEngine
from softonce.engines.networks import fold_batch_norm, load
from softonce.engines.torch_engine import TorchEngine
from softonce.errors import ConfigError, StorageError
from softonce.exporting.network import Deployed, to_program
from softonce.exporting.parity import Parity, compare
from softonce.exporting.pictures import find_source, made_up_pictures, pick_samples, read_pictures
from softonce.files import make_folder, replacing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from softonce.artefact import Metadata
    from softonce.config.export import Format
    from softonce.config.fields import EngineName
    from softonce.data.sources.source import Source

_ENGINES: dict[Format, EngineName] = {
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "torch": "torch",
}
_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, repr=False)
class Exported:
    """What an export came to.

    Args:
        file: where it is, or would be.
        parity: how it compares with the artefact.
        is_written: whether it is there.
    """

    file: Path
    parity: Parity
    is_written: bool

    def __repr__(self) -> str:
        state = "" if self.is_written else "not written: "
        found = (
            f"{self.parity.agreement:.2%} the same first class, "
            f"probabilities within {self.parity.largest:.1e}"
        )
        return f"Exported({state}{str(self.file)!r}, {found})"


def export(config: ExportConfig | str | Path, **options: Any) -> Exported:
    """Write an artefact for another runtime, unless it answers otherwise than the artefact.

    Args:
        config: the options of `softonce export`, or the artefact.
        options: fields of `ExportConfig` by name.

    Raises:
        ArtefactError: if the artefact cannot be used.
        ConfigError: if an option cannot be used, or int8 has no images to calibrate with.
        MissingExtraError: if the exporter is not installed.

    Example:
        >>> export("no.safetensors", to="openvino")
        Traceback (most recent call last):
        softonce.errors.ArtefactError: expected a .safetensors file at no.safetensors, ...
    """
    settled = config_of(ExportConfig, config, **options)
    with visible_notes(quiet=settled.quiet):
        return _export(settled)


def _export(config: ExportConfig) -> Exported:
    model, metadata = load(config.artefact, device="cpu", trust=config.trust, model=config.model)
    source = find_source(config, metadata)
    if source is None and config.precision == "int8":
        raise ConfigError(
            "expected images to calibrate int8 with, found none: name them with --data DATA"
        )
    if source is None:
        LOG.warning("no images: compared on made-up pictures; --data DATA names real ones")
        pictures = made_up_pictures(metadata.preprocessing)
    else:
        samples = pick_samples(source, metadata, ("test", "val"), config.samples)
        pictures = read_pictures(samples, metadata.preprocessing)
    with _folder_beside(config.file) as folder:
        made = folder / config.file.name
        with warnings.catch_warnings(action="ignore"):  # torch's parts about one another
            _write(config, model, metadata, source, made)
        exported = open_engine(made, name=_ENGINES[config.to], trust=True)
        assert isinstance(exported, GraphEngine)  # noqa: S101 - it is no artefact
        parity = compare(TorchEngine(model, metadata), exported, pictures)
        is_written = config.force or not parity.failures
        if is_written:
            _move(made, config.file)
    return Exported(config.file, parity, is_written)


@contextmanager
def _folder_beside(file: Path) -> Iterator[Path]:
    """Give a temporary folder on the disk of the file, whose own folder is made if need be."""
    make_folder(file.parent, purpose="for the exported file")
    try:
        folder = TemporaryDirectory(dir=file.parent, prefix=".softonce-")
    except OSError as error:
        raise StorageError(
            f"expected a folder that can be written to at {file.parent}, found: "
            f"{error.strerror or error}; choose another --output"
        ) from error
    with folder as name:
        yield Path(name)


def _write(
    config: ExportConfig, model: nn.Module, metadata: Metadata, source: Source | None, path: Path
) -> None:
    """Write the file, and for OpenVINO its weights beside it."""
    record = {"softonce": metadata.to_json(), "softonce_precision": config.precision}
    small = fold_batch_norm(model)
    if config.to != "openvino":
        small = small.to(_DTYPES.get(config.precision, torch.float32))
    network = Deployed(small, metadata, config.outputs).eval()
    if config.to == "torch":
        torch.export.save(to_program(network), path, extra_files=record)
        return
    from softonce.exporting.onnx_file import write_onnx

    graph = path.with_suffix(".onnx")
    write_onnx(network, graph, record, opset=config.opset)
    if config.precision == "int8" and source is not None:
        _quantise(config, metadata, source, graph, record)
    if config.to == "openvino":
        from softonce.exporting.openvino_file import write_openvino

        write_openvino(graph, path, record, half=config.precision == "fp16")


def _quantise(
    config: ExportConfig, metadata: Metadata, source: Source, path: Path, record: dict[str, str]
) -> None:
    from softonce.exporting.int8 import quantise_onnx

    samples = pick_samples(source, metadata, ("train",), config.samples)
    pictures = read_pictures(samples, metadata.preprocessing)
    quantise_onnx(path, pictures, metadata.preprocessing, record)


def _move(made: Path, file: Path) -> None:
    """Put what was made in its place; OpenVINO's weights first, for the .xml names them."""
    weights = [(made.with_suffix(".bin"), file.with_suffix(".bin"))]
    pairs = weights if made.suffix == ".xml" else []
    for source, target in chain(pairs, [(made, file)]):
        with replacing(target) as temporary:
            shutil.copyfile(source, temporary)
