"""Tensors of the Open Inference Protocol (KServe version 2), as JSON or as bytes behind it.

Source:
    https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol, and for the
    bytes https://github.com/triton-inference-server/server, protocol/extension_binary_data.md
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from softonce.serving.base64_text import decode_base64
from softonce.serving.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LENGTH = struct.Struct("<I")  # before each element of a BYTES tensor
IMAGES = "images"
OUTPUTS = ("probs", "logits", "labels")


@dataclass(frozen=True)
class InferRequest:
    """A request for inference.

    Args:
        files: image files, if it brings these.
        pixels: uint8 pixels, (N, ...), if it brings these.
        outputs: the names of the outputs that are wanted, with their parameters.
        request_id: comes back as it is.
        is_binary: whether outputs that say nothing of it are wanted as bytes.
    """

    files: list[bytes]
    pixels: NDArray[np.uint8] | None
    outputs: list[tuple[str, dict[str, Any]]]
    request_id: str | None
    is_binary: bool


def read_request(body: bytes, head_length: str | None) -> InferRequest:
    """Read a request.

    Args:
        body: JSON, and behind it the bytes of its tensors.
        head_length: the header Inference-Header-Content-Length: how long the JSON is.

    Raises:
        ProblemError: 400 if it is not such a request.
    """
    length = int(head_length) if head_length and head_length.isdecimal() else len(body)
    try:
        record = json.loads(body[:length])
        (tensor,) = record["inputs"]
        name, datatype, shape = str(tensor["name"]), tensor["datatype"], list(tensor["shape"])
        parameters = dict(record.get("parameters") or {})
        outputs = [
            (str(one["name"]), dict(one.get("parameters") or {}))
            for one in record.get("outputs") or [{"name": name} for name in OUTPUTS]
        ]
        in_body = (tensor.get("parameters") or {}).get("binary_data_size")
        data = body[length : length + int(in_body)] if in_body is not None else tensor["data"]
        is_right = all(isinstance(side, int) and side >= 0 for side in shape)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _wrong(f"a body that has another form ({type(error).__name__})") from error
    if not is_right or name != IMAGES or datatype not in ("BYTES", "UINT8"):
        raise _wrong(f"the input {name[:40]!r}, {str(datatype)[:20]} {str(shape)[:60]}")
    for output, _ in outputs:
        if output not in OUTPUTS:
            raise ProblemError(400, f"expected outputs {', '.join(OUTPUTS)}, found {output[:40]!r}")
    asks_bytes = bool(parameters.get("binary_data_output", False))
    request_id = None if record.get("id") is None else str(record["id"])
    if datatype == "UINT8":
        return InferRequest([], _pixels(data, shape), outputs, request_id, asks_bytes)
    return InferRequest(_files(data, shape), None, outputs, request_id, asks_bytes)


def _files(data: Any, shape: list[int]) -> list[bytes]:
    if isinstance(data, bytes):
        found, at = [], 0
        while at + LENGTH.size <= len(data):
            (length,) = LENGTH.unpack_from(data, at)
            found.append(data[at + LENGTH.size : at + LENGTH.size + length])
            at += LENGTH.size + length
        is_whole = at == len(data)
    else:
        try:
            found = [decode_base64(text) for text in _flat(data)]
        except (ValueError, AttributeError, TypeError) as error:
            raise ProblemError(400, f"expected base64 in the data, found: {error}") from error
        is_whole = True
    if not is_whole or len(found) != math.prod(shape) or not found:
        raise _wrong(f"{len(found)} elements for the shape {shape}")
    return found


def _pixels(data: Any, shape: list[int]) -> NDArray[np.uint8]:
    try:
        if isinstance(data, bytes):
            values = np.frombuffer(data, np.uint8)
        else:
            numbers = np.asarray(data)
            values = numbers.astype(np.uint8)
            if numbers.dtype.kind not in "iu" or not np.array_equal(values, numbers):
                raise _wrong("numbers that are not whole and from 0 to 255")
        pixels = values.reshape(shape)
    except (ValueError, TypeError, OverflowError) as error:
        raise ProblemError(400, f"expected pixels of the shape {shape}, found: {error}") from error
    if pixels.ndim != 4 or not pixels.size:
        raise _wrong(f"pixels of the shape {shape}")
    return pixels


def _flat(data: Any) -> list[Any]:
    return [item for row in data for item in (row if isinstance(row, list) else [row])]


def _wrong(found: str) -> ProblemError:
    return ProblemError(
        400,
        f"expected one input {IMAGES!r}: BYTES [N] of image files, in base64 or as binary data, or "
        f"UINT8 pixels [N, height, width, channels] or [N, channels, size, size], found {found}",
    )


def write_answer(
    head: dict[str, Any],
    tensors: Sequence[tuple[str, NDArray[Any], bool]],
) -> tuple[bytes, dict[str, str]]:
    """Return the body of an answer and its headers.

    Args:
        head: the fields beside the outputs.
        tensors: name, values, and whether they are wanted as bytes; text is a BYTES tensor.
    """
    outputs, behind = [], []
    for name, values, is_binary in tensors:
        kind = "FP32" if values.dtype == np.float32 else "BYTES"
        output: dict[str, Any] = {"name": name, "datatype": kind, "shape": list(values.shape)}
        if is_binary:
            data = values.tobytes() if kind == "FP32" else _with_lengths(values)
            output["parameters"] = {"binary_data_size": len(data)}
            behind.append(data)
        else:
            output["data"] = values.ravel().tolist()
        outputs.append(output)
    text = json.dumps({**head, "outputs": outputs}, ensure_ascii=False).encode()
    if not behind:
        return text, {"Content-Type": "application/json"}
    headers = {"Content-Type": "application/octet-stream"}
    return text + b"".join(behind), headers | {"Inference-Header-Content-Length": str(len(text))}


def _with_lengths(values: NDArray[Any]) -> bytes:
    encoded = [str(value).encode() for value in values.ravel()]
    return b"".join(LENGTH.pack(len(each)) + each for each in encoded)
