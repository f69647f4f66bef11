"""What the benchmarks share: interleaved timing, the machine's description, dated results."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from matplotlib.figure import Figure

import softonce

RESULTS = Path(__file__).parent / "results"
INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2")
"""The widest first, as the kernel names them."""


def interleaved(
    cases: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    warmup: int = 1,
    clock: Callable[[], float] = time.perf_counter,
    of_rounds: Callable[[list[float]], float] = statistics.median,
) -> dict[str, float]:
    """Time each case once a round, so that a noisy moment meets them all.

    Their order is drawn anew for each round: what a case leaves in caches and in the allocator
    would otherwise always meet the same neighbour.

    Args:
        cases: what to run, by name.
        rounds: how often each is timed.
        warmup: how often each runs before.
        clock: seconds; `time.process_time` leaves out what other processes take.
        of_rounds: what is made of the rounds; `min` if the machine has other work, which only adds.

    Returns:
        The median of each case, or what else is asked for, in seconds.
    """
    for _ in range(warmup):
        for run in cases.values():
            run()
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    turns, order = list(cases.items()), random.Random(0)
    for _ in range(rounds):
        order.shuffle(turns)
        for name, run in turns:
            start = clock()
            run()
            seconds[name].append(clock() - start)
    return {name: of_rounds(times) for name, times in seconds.items()}


def draw_times(
    panels: Mapping[str, Mapping[str, float]], path: Path, *, ours: str, label: str
) -> None:
    """Save one row of bars for each panel: milliseconds by contender.

    Args:
        panels: milliseconds of each contender, by problem.
        path: of the picture.
        ours: what the names of our own contenders begin with.
        label: of the axis.
    """
    bars = sum(map(len, panels.values()))
    figure = Figure(figsize=(9, 1 + 0.8 * len(panels) + 0.22 * bars), layout="constrained")
    heights = {"height_ratios": [1.5 + len(times) for times in panels.values()]}
    rows = figure.subplots(len(panels), squeeze=False, gridspec_kw=heights).flat
    for axes, (name, times) in zip(rows, panels.items(), strict=True):
        colours = ["#2066a8" if who.startswith(ours) else "#b0b0b0" for who in times]
        labels = [f"{time:,.3g}" if time < 1000 else f"{time:,.0f}" for time in times.values()]
        axes.bar_label(
            axes.barh(list(times), list(times.values()), color=colours), labels, padding=3
        )
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(name, loc="left", fontsize="medium")
    axes.set_xlabel(label)
    figure.savefig(path, dpi=110)


def hardware() -> str:
    """Describe the processor, its widest instructions, and how many of its cores we may use."""
    name = _said_of_processor("model name") or platform.processor()
    cores = f"{len(os.sched_getaffinity(0))} cores"
    return ", ".join(filter(None, (name, widest_instructions(), cores)))


def widest_instructions() -> str:
    """Return the widest instructions that the processor has, of those that matter."""
    flags = _said_of_processor("flags").split()
    return next((flag for flag in INSTRUCTIONS if flag in flags), "")


def _said_of_processor(key: str) -> str:
    """Return what Linux says under this key of the first processor; nothing elsewhere."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")


def report(
    benchmark: str,
    *,
    ratios: Mapping[str, float],
    figures: Mapping[str, object],
    packages: tuple[str, ...] = ("torch",),
    folder: Path = RESULTS,
) -> Path:
    """Write the dated result file, print it as the one closing line, and return its path.

    The name says the kind of processor too: machines that differ do not overwrite one another.
    """
    versions = {"python": platform.python_version()}
    versions |= {name: importlib.metadata.version(name) for name in packages}
    if "softonce" in versions:  # an editable install keeps the version of the day it was made
        versions["softonce"] = softonce.__version__
    record = {
        "benchmark": benchmark,
        "hardware": hardware(),
        "versions": versions,
        "ratios": {name: round(ratio, 3) for name, ratio in ratios.items()},
        "figures": figures,
    }
    folder.mkdir(exist_ok=True)
    date = dt.datetime.now(dt.UTC).date().isoformat()
    path = folder / ("-".join(filter(None, (benchmark, widest_instructions(), date))) + ".json")
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record))
    return path
