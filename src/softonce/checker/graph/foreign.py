"""What a file is that says nothing of its outputs: told by its first bytes, never unpickled."""

from __future__ import annotations

import json
import struct
import zipfile
from typing import TYPE_CHECKING, NamedTuple

from softonce.formats.torch_export import ZIP_ERRORS

if TYPE_CHECKING:
    from pathlib import Path

_HEAD = 16
"""Bytes in which every format that is told apart has its signature."""
_HDF5 = b"\x89HDF\r\n\x1a\n"
_EXPORT = "export the network that it belongs to (torch.onnx.export, torch.export.save)"


class Foreign(NamedTuple):
    """A file of another kind.

    Attributes:
        kind: what it is.
        remedy: what to do.
    """

    kind: str
    remedy: str


def recognize(path: Path) -> Foreign | None:
    """Return what a foreign file is, or None if it may be one that can be read.

    Example:
        >>> from pathlib import Path
        >>> recognize(Path("pyproject.toml")) is None
        True
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head[4:8] == b"TFL3":
        return Foreign("a TensorFlow Lite model", "inspect the model that it was converted from")
    if head.startswith(_HDF5):
        return Foreign("an HDF5 file, as Keras writes them", "convert it to ONNX (tf2onnx)")
    if head.startswith(b"GGUF"):
        return Foreign("a GGUF file: weights and no graph", _EXPORT)
    if head.startswith(b"\x80") and head[1:2] in b"\x02\x03\x04\x05":
        return Foreign("a pickle, which is not opened: it could run any program", _EXPORT)
    if head.startswith(b"PK"):
        return _archive(path)
    return _tensors(path, head) if path.suffix.lower() == ".safetensors" else None


def _archive(path: Path) -> Foreign | None:
    """Return what a zip is, by the names in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except ZIP_ERRORS:
        return None
    inside = {name.partition("/")[2] for name in names} | set(names)
    if any(name.startswith("code/") for name in inside) and "constants.pkl" in inside:
        return Foreign("a TorchScript program", "save the network with torch.export or as ONNX")
    is_graph = any("models/" in name or "exported_program" in name for name in names)
    if "data.pkl" in inside and not is_graph:
        kind = "a checkpoint of torch.save: a state dict, or a pickled network, without a graph"
        return Foreign(kind, _EXPORT)
    if "metadata.json" in inside and any(name.endswith(".weights.h5") for name in inside):
        return Foreign("a Keras model", "convert it to ONNX (tf2onnx)")
    return None


def _tensors(path: Path, head: bytes) -> Foreign | None:
    """Return a state dict without our record; a damaged header is for its reader to name."""
    length = struct.unpack("<Q", head[:8])[0] if len(head) > 8 else 0
    if not 0 < length <= min(path.stat().st_size, 100_000_000):
        return None
    with path.open("rb") as file:
        file.seek(8)
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError):
            return None
    if not isinstance(header, dict) or "softonce" in (header.get("__metadata__") or {}):
        return None
    number = len(header) - ("__metadata__" in header)
    kind = f"a plain state dict of {number} tensors, which does not say what a network puts out"
    return Foreign(kind, _EXPORT)
