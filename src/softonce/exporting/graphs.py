"""An adopted ONNX file for another runtime: its graph is all that there is of the classifier."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from softonce.engines import open_engine
from softonce.engines.graph_engine import GraphEngine
from softonce.engines.graph_record import is_adopted
from softonce.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from softonce.artefact import Metadata
    from softonce.config import ExportConfig
    from softonce.exporting.pictures import Sample

OFFERED = {"openvino": ("fp32", "fp16"), "onnx": ("int8",)}
"""What a graph can be brought to without the network that it was written from."""


def open_graph(config: ExportConfig) -> GraphEngine | None:
    """Return the engine of an adopted ONNX file, or None for any other file.

    Raises:
        ConfigError: if it cannot become what is asked for.
    """
    if config.artefact.suffix.lower() != ".onnx" or not config.artefact.is_file():
        return None
    engine = open_engine(config.artefact, name="onnxruntime")
    if not isinstance(engine, GraphEngine) or not is_adopted(engine.metadata):
        return None
    if config.precision not in OFFERED.get(config.to, ()) or config.emit != "both":
        raise ConfigError(
            "expected --to openvino with fp32 or fp16, or --to onnx --precision int8, for the "
            f"adopted {config.artefact}, found --to {config.to} with {config.precision} and "
            f"--emit {config.emit}: its graph is all there is of it"
        )
    if config.file == config.artefact:
        raise ConfigError(
            f"expected another file than the classifier as --output, found {config.file}: name one"
        )
    return engine


def write_graph(
    config: ExportConfig, metadata: Metadata, pictures: Iterable[Sample], path: Path
) -> None:
    """Write the graph in the format and precision that are asked for.

    Args:
        config: the options, as `open_graph` took them.
        metadata: of the classifier.
        pictures: that int8 is calibrated on.
        path: where.
    """
    record = {"softonce": metadata.to_json(), "softonce_precision": config.precision}
    if config.to == "openvino":
        from softonce.exporting.openvino_file import write_openvino

        write_openvino(config.artefact, path, record, half=config.precision == "fp16")
        return
    from softonce.exporting.int8 import quantise_onnx

    shutil.copyfile(config.artefact, path)
    quantise_onnx(path, pictures, metadata.preprocessing, record)
