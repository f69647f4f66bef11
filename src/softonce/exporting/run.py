"""An artefact becomes a file for another runtime, which is compared before it is there."""

from __future__ import annotations

import shutil
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from softonce.config import ExportConfig
from softonce.config.keywords import config_of
from softonce.console import LOG, visible_notes
from softonce.engines import open_engine
from softonce.engines.graph_engine import GraphEngine
from softonce.engines.networks import fold_batch_norm, load
from softonce.engines.torch_engine import TorchEngine
from softonce.errors import ConfigError, StorageError
from softonce.exporting.graphs import open_graph, write_graph
from softonce.exporting.job import ExportJob
from softonce.exporting.output import ended_by_sigterm, storage_errors
from softonce.exporting.parity import Parity, compare
from softonce.exporting.pictures import find_source, made_up_pictures, pick_samples, read_pictures
from softonce.files import as_utf8, is_utf8, make_folder, replacing
from softonce.formats import WRITTEN
from softonce.run_folder import model_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from softonce.artefact import Metadata
    from softonce.data.sources.source import Source
    from softonce.engines import Engine
    from softonce.exporting.pictures import Sample
    from softonce.formats import Format


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
    adopted = open_graph(config)
    engine: Engine = adopted or _load(config)
    metadata = engine.metadata
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
    form = WRITTEN[config.to]
    with folder_beside(config.file) as folder:
        made = folder / config.file.name
        with storage_errors(made, num_bytes=model_file(config.artefact).stat().st_size):
            if isinstance(engine, TorchEngine):
                _write(form, _job(config, engine.model, metadata, source), made)
            else:
                calibration = () if source is None else _calibration(config, metadata, source)
                write_graph(config, metadata, calibration, made)
            exported = open_engine(made, name=form.runtimes[0].name, trust=True)
        assert isinstance(exported, GraphEngine)  # noqa: S101 - it is no artefact
        parity = compare(engine, exported, pictures)
        is_written = config.force or not parity.failures
        if is_written:
            move_made(form, made, config.file)
    return Exported(config.file, parity, is_written)


def _load(config: ExportConfig) -> TorchEngine:
    return TorchEngine(*load(config.artefact, device="cpu", trust=config.trust, model=config.model))


def _calibration(config: ExportConfig, metadata: Metadata, source: Source) -> Iterator[Sample]:
    """Yield the pictures that int8 is calibrated on."""
    samples = pick_samples(source, metadata, ("train",), config.samples)
    return read_pictures(samples, metadata.preprocessing)


@contextmanager
def folder_beside(file: Path) -> Iterator[Path]:
    """Give a temporary folder on the disk of the file, whose own folder is made if need be."""
    if not is_utf8(str(file)):
        raise StorageError(
            f"expected a path in UTF-8 for the exported file, found {as_utf8(str(file))}: the "
            "runtimes open no other; choose another --output"
        )
    make_folder(file.parent, purpose="for the exported file")
    try:
        folder = TemporaryDirectory(dir=file.parent, prefix=".softonce-")
    except OSError as error:
        raise StorageError(
            f"expected a folder that can be written to at {file.parent}, found: "
            f"{error.strerror or error}; choose another --output"
        ) from error
    with ended_by_sigterm(), folder as name:
        yield Path(name)


def _job(
    config: ExportConfig, model: nn.Module, metadata: Metadata, source: Source | None
) -> ExportJob:
    return ExportJob(
        fold_batch_norm(model),
        metadata,
        config.outputs,
        config.precision,
        config.opset,
        None if source is None else partial(_calibration, config, metadata, source),
    )


def _write(form: Format, job: ExportJob, path: Path) -> None:
    """Write the file, and what belongs beside it."""
    assert form.write is not None  # noqa: S101 - else --to does not take it
    with warnings.catch_warnings(action="ignore"):  # torch's parts about one another
        form.write(job, path)


def move_made(form: Format, made: Path, file: Path) -> None:
    """Put what was made in its place; what lies beside it first, for the file names it."""
    for suffix in (*form.beside, form.suffix):
        with replacing(file.with_suffix(suffix)) as temporary:
            shutil.copyfile(made.with_suffix(suffix), temporary)
