"""Safetensors in and out, whole or not at all, with every failure as a clear line."""

from __future__ import annotations

import errno
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from softonce.errors import ArtefactError
from softonce.files import is_utf8, replacing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch import Tensor


def write_tensors(path: Path, tensors: Mapping[str, Tensor], record: dict[str, Any]) -> None:
    """Write tensors and one JSON record under the metadata key `softonce`.

    The bytes depend only on the tensors and the record.

    Raises:
        StorageError: if the disk is full or the folder cannot be written.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"softonce": _to_json(record)}
    with replacing(path) as temporary:
        try:
            save_file(plain, temporary, metadata=metadata)
        except SafetensorError as error:
            raise OSError(errno.EIO, _reason(error)) from error


def _to_json(record: dict[str, Any]) -> str:
    """Return the record as JSON; if it has names of files that are no UTF-8, as ASCII."""
    text = json.dumps(record, ensure_ascii=False, sort_keys=True)
    return text if is_utf8(text) else json.dumps(record, sort_keys=True)


def read_record(path: Path) -> dict[str, Any]:
    """Read only the JSON record.

    Raises:
        ArtefactError: if the file is missing, damaged, or carries no record.
    """
    return _read(path, with_tensors=False)[1]


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors and the JSON record.

    Raises:
        ArtefactError: if the file is missing, damaged, or carries no record.
    """
    return _read(path, with_tensors=True)


def _read(path: Path, *, with_tensors: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with _openable(path) as name, safe_open(name, framework="pt") as file:
            text = (file.metadata() or {}).get("softonce")
            names = file.keys() if with_tensors else []
            tensors = {name: file.get_tensor(name) for name in names}
    except FileNotFoundError:
        raise ArtefactError(
            f"expected a .safetensors file at {path}, found nothing: check the path"
        ) from None
    except (SafetensorError, OSError) as error:
        raise ArtefactError(
            f"expected a whole .safetensors file at {path}, found: {_reason(error)}; "
            "the file is damaged or of another kind: copy or make it again"
        ) from error
    if text is None:
        raise ArtefactError(
            f"expected an artefact of softonce at {path}, found only tensors: "
            "use --model NAME --weights FILE for weights from elsewhere"
        )
    return tensors, _record(path, text)


@contextmanager
def _openable(path: Path) -> Iterator[str]:
    """Give a name of the file that safetensors opens: it knows only names in UTF-8."""
    if is_utf8(str(path)):
        yield str(path)
        return
    with path.open("rb") as file:
        yield f"/dev/fd/{file.fileno()}"


def _record(path: Path, text: str) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise ArtefactError(
            f"expected a JSON object as the record of {path}, found {text[:40]!r}: "
            "the file is damaged: copy or make it again"
        )
    return record


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())
