"""Files of weights -> tensors, without ever running code that a file brings along."""

from __future__ import annotations

import argparse
import re
import warnings
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from softonce.errors import WeightsError
from softonce.plurals import format_count

if TYPE_CHECKING:
    from pathlib import Path

MAX_FILE_BYTES = 16 << 30
"""Above every published image classifier; what is larger is some other file."""

# Of several, the first one is taken: an average of the weights is what its author evaluated.
# The teacher of DINO is such an average.
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "teacher")
PREFIXES = ("module.", "_orig_mod.", "model.")

_SAFE: list[Any] = [argparse.Namespace]
"""What training scripts of timm and torchvision save beside the tensors; it holds values only."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors file, or of one that `torch.save` wrote.

    A checkpoint is unwrapped (`{"state_dict": ...}`), and the prefixes that wrappers of modules
    leave in every key (`module.`, `_orig_mod.`) are stripped.

    Args:
        path: anything that does not end in .safetensors is read by `torch.load`, tensors only.

    Returns:
        The tensors on the CPU, mapped from the file if its format allows, in its own dtypes.

    Raises:
        WeightsError: if the file is missing, damaged, too big, or would need code to be run.
    """
    _check_file(path)
    if path.suffix.lower() == ".safetensors":
        payload: Any = _read_safetensors(path)
    else:
        payload = _read_torch(path)
    tensors = {
        str(key): value for key, value in _unwrap(payload).items() if isinstance(value, Tensor)
    }
    if not tensors:
        raise WeightsError(f"expected tensors by name in {path}, found {_summary(payload)}")
    for key, tensor in tensors.items():
        _check_dense(path, key, tensor)
    return _strip_prefixes(path, tensors)


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise WeightsError(f"expected a file of weights, found none at {path}: check the path")
    size = path.stat().st_size
    if zipfile.is_zipfile(path):
        size = max(size, _check_archive(path))
    if size > MAX_FILE_BYTES:
        raise WeightsError(
            f"expected at most {MAX_FILE_BYTES:,} bytes of weights, found {size:,} in {path}: "
            "save the state dict of the model only"
        )


def _check_archive(path: Path) -> int:
    """Return the bytes that an archive of `torch.save` unfolds to; it never compresses."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile as error:
        raise _damage_error(path, error) from error
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise WeightsError(
            f"expected an archive that torch.save wrote, found compressed entries in {path}: "
            "pass the file that it was packed from"
        )
    return sum(entry.file_size for entry in entries)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise _damage_error(path, error) from error


def _read_torch(path: Path) -> object:
    mmap = zipfile.is_zipfile(path)
    try:
        with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals(_SAFE):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:
        # A damaged stream may raise anything.
        if code := _code_that_it_needs(str(error)):
            raise WeightsError(
                f"expected a file of tensors only, found {code} in {path}, which is read only by "
                "running code: if you trust it, load it in the program that wrote it, and save "
                "its state dict with torch.save(model.state_dict(), ...)"
            ) from error
        raise _damage_error(path, error) from error


def _code_that_it_needs(message: str) -> str | None:
    """Return the name of what torch refused to unpickle, from the message with which it did."""
    if "TorchScript" in message:
        return "a TorchScript program"
    found = re.search(r"GLOBAL ([\w.]+)|function (<.+?>)|but got (<class .+?>)", message)
    return next(filter(None, found.groups())) if found else None


def _damage_error(path: Path, error: Exception) -> WeightsError:
    reason = (str(error) or type(error).__name__).partition("\n")[0][:200]
    size = format_count(path.stat().st_size, "byte")
    return WeightsError(
        f"expected a whole .pth or .safetensors file, found {size} that "
        f"cannot be read ({reason}) in {path}: copy or download it again"
    )


def _unwrap(payload: object) -> Mapping[Any, Any]:
    """Return the state dict inside a checkpoint; an empty mapping if there is none."""
    for _ in WRAPPERS:
        inner = [payload.get(name) for name in WRAPPERS] if isinstance(payload, Mapping) else []
        payload = next((value for value in inner if value and isinstance(value, Mapping)), payload)
    return payload if isinstance(payload, Mapping) else {}


def _strip_prefixes(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    stripped = {_strip(key): tensor for key, tensor in tensors.items()}
    if len(stripped) < len(tensors):
        raise WeightsError(
            f"expected the tensors of one network, found {format_count(len(tensors), 'key')} in "
            f"{path} of which {len(stripped)} differ after their prefixes: "
            "save the state dict of the one meant"
        )
    return stripped


def _strip(key: str) -> str:
    """Return the key without the prefixes of wrappers, however many and in whatever order.

    >>> _strip("_orig_mod.module.module.layer1.0.conv1.weight")
    'layer1.0.conv1.weight'
    """
    while key.startswith(PREFIXES):
        key = key.partition(".")[2]
    return key


def _check_dense(path: Path, key: str, tensor: Tensor) -> None:
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_complex():
        raise WeightsError(
            f"expected dense real tensors, found {key} as {tensor.dtype}, {tensor.layout} in "
            f"{path}: save the state dict of the model before it was quantized or pruned"
        )


def _summary(payload: object) -> str:
    if isinstance(payload, Mapping):
        return f"the keys {', '.join(map(repr, list(payload)[:5])) or 'of nothing'}"
    return f"a {type(payload).__name__}"
