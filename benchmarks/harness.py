"""What the benchmarks share: interleaved timing, the machine's description, dated results."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def interleaved(
    cases: Mapping[str, Callable[[], object]], *, rounds: int, warmup: int = 1
) -> dict[str, float]:
    """Time each case once a round, in turn, so that a noisy moment meets them all.

    Args:
        cases: what to run, by name.
        rounds: how often each is timed.
        warmup: how often each runs before.

    Returns:
        The median of each case, in seconds.
    """
    for _ in range(warmup):
        for run in cases.values():
            run()
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, run in cases.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def hardware() -> str:
    """Describe the processor and the number of its cores that we may use."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {len(os.sched_getaffinity(0))} cores"


def report(
    benchmark: str,
    *,
    ratios: Mapping[str, float],
    figures: Mapping[str, object],
    packages: tuple[str, ...] = ("torch",),
    folder: Path = RESULTS,
) -> Path:
    """Write the dated result file, print it as the one closing line, and return its path."""
    versions = {"python": platform.python_version()}
    versions |= {name: importlib.metadata.version(name) for name in packages}
    record = {
        "benchmark": benchmark,
        "hardware": hardware(),
        "versions": versions,
        "ratios": {name: round(ratio, 3) for name, ratio in ratios.items()},
        "figures": figures,
    }
    folder.mkdir(exist_ok=True)
    path = folder / f"{benchmark}-{dt.datetime.now(dt.UTC).date().isoformat()}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record))
    return path
