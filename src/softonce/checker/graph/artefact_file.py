"""Our artefact: the header of a `.safetensors` file, which says what the network puts out."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

from softonce.checker.graph.nodes import ModelFile, Output, unreadable
from softonce.checker.kinds import Kind

if TYPE_CHECKING:
    from pathlib import Path

MAX_HEADER_BYTES = 100_000_000
"""The format's own limit."""

KINDS = {"logits": Kind.LOGITS, "log_probs": Kind.LOGP, "probs": Kind.P}


def read(path: Path) -> ModelFile:
    """Read what an artefact says of its output.

    Raises:
        ArtefactError: if the header is damaged, or holds no record of softonce.
    """
    record = _record(path)
    kind = KINDS.get(str(record.get("output")), Kind.OTHER)
    node = f"the last layer of {record.get('arch')}, by the file's own record"
    return ModelFile("artefact", (Output("output", kind, -1, node),), record)


def _record(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == struct.calcsize("<Q") else 0
        if not 0 < length <= MAX_HEADER_BYTES:
            raise unreadable(path, "a .safetensors file", "a header of another kind")
        text = file.read(length)
    try:
        header = json.loads(text)
        record = json.loads(header["__metadata__"]["softonce"])
    except (KeyError, TypeError) as error:
        raise unreadable(path, "an artefact of softonce", "only tensors") from error
    except (ValueError, RecursionError) as error:
        raise unreadable(path, "a .safetensors file", "a header that is no JSON") from error
    if not isinstance(record, dict):
        raise unreadable(path, "an artefact of softonce", "a record that is no object")
    return record
