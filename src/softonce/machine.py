"""What this process may use of the machine: a container's share, if there is one.

`os.cpu_count` and the free pages are those of the whole machine; what a container may use stands
in the files of its control group, of version 1 or 2. Needs no torch.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
_NONE = 2**60
"""From here on version 1 means no limit: it writes the largest number of pages."""


def usable_cores(cgroups: Path = CGROUPS) -> int:
    """Return how many cores may be used, rounded up: by affinity, and by the quota of a container.

    Args:
        cgroups: where the control groups are.

    Example:
        >>> usable_cores() >= 1
        True
    """
    affine = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if affine else os.cpu_count() or 1
    return max(1, min(cores, math.ceil(_quota(cgroups) or cores)))


def usable_memory(cgroups: Path = CGROUPS) -> int:
    """Return how much memory may be used altogether, in bytes: the machine's, or a container's.

    Args:
        cgroups: where the control groups are.

    Example:
        >>> usable_memory() > 2**20
        True
    """
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    names = ("memory.max", "memory/memory.limit_in_bytes")
    limits = [number for name in names if (number := _number(_text(cgroups / name))) is not None]
    return min([there, *(int(limit) for limit in limits if 0 < limit < _NONE)])


def _quota(cgroups: Path) -> float | None:
    """Return the cores of the quota, if there is one."""
    quota, _, period = _text(cgroups / "cpu.max").partition(" ")
    if not quota:
        quota = _text(cgroups / "cpu/cpu.cfs_quota_us")
        period = _text(cgroups / "cpu/cpu.cfs_period_us")
    cores = (_number(quota) or 0) / (_number(period) or math.inf)
    return cores if cores > 0 else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _number(text: str) -> float | None:
    return float(text) if text.isdecimal() else None  # "max", and -1, are no limits
