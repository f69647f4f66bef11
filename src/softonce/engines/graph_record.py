"""What a graph file says of itself, written anew: the graph stays as it is."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from softonce.engines.openvino_engine import read_file
from softonce.errors import import_extra
from softonce.files import replacing

if TYPE_CHECKING:
    from softonce.artefact import Metadata


HOLD_RECORDS = (".onnx", ".xml")
"""Of the files whose record can be written anew."""


def is_adopted(metadata: Metadata) -> bool:
    """Return whether a classifier came from a foreign file: its graph is all there is of it."""
    return "adopted" in metadata.training


def write_record(path: Path, metadata: Metadata) -> None:
    """Replace what an .onnx file, or an .xml of OpenVINO, says of itself.

    Args:
        path: a file of ours.
        metadata: what it says from now on.

    Raises:
        MissingExtraError: if what reads such a file is not installed.
        StorageError: if it cannot be written; the file is as it was.
    """
    if path.suffix.lower() == ".onnx":
        _into_onnx(path, metadata.to_json())
    else:
        _into_openvino(path, metadata.to_json())


def _into_onnx(path: Path, text: str) -> None:
    onnx = import_extra("onnx", "export")
    model = onnx.load(path)
    for entry in model.metadata_props:
        if entry.key == "softonce":
            entry.value = text
    with replacing(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


def _into_openvino(path: Path, text: str) -> None:
    openvino = import_extra("openvino", "openvino")
    model = read_file(openvino.Core(), path)
    model.set_rt_info(text, ["softonce"])
    with TemporaryDirectory(dir=path.parent, prefix=".softonce-") as folder:
        made = Path(folder) / path.name
        openvino.save_model(model, made, compress_to_fp16=False)
        with replacing(path) as temporary:  # the weights are the same
            shutil.copyfile(made, temporary)
