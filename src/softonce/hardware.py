"""Which device computes, and whether it multiplies bfloat16 natively."""

from __future__ import annotations

import os

import torch

from softonce.errors import ConfigError, describe_value


def pick_device(name: str) -> torch.device:
    """Return the device of `--device`; `auto` prefers cuda, then mps, then the CPU.

    Raises:
        ConfigError: if there is no such device.

    Example:
        >>> pick_device("cpu")
        device(type='cpu')
    """
    there: dict[str, bool] = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, is_there in there.items() if is_there)
    if name not in there:
        raise ConfigError(
            f"expected auto, {', '.join(sorted(there))} for --device, found {describe_value(name)}"
        )
    if not there[name]:
        raise ConfigError(f"expected --device {name}, found no such device: use --device auto")
    return torch.device(name)


def has_native_bfloat16(device: torch.device) -> bool:
    """Return whether the device has instructions for bfloat16: AVX512_BF16, AMX, CUDA from sm80.

    Elsewhere bfloat16 is emulated, and slower than float32. On a processor that has them it may
    still be slower: `softonce.precision` measures that.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu" and not hasattr(torch.cpu, "get_capabilities"):  # torch 2.6
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # noqa: SLF001 - its only names
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return False


def available_bytes(device: torch.device) -> int:
    """Return the memory that is still free on the device, in bytes.

    Example:
        >>> available_bytes(torch.device("cpu")) > 0
        True
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
    return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")
