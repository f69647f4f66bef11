"""Seconds from the start of a resumed run to its first step, on many small files.

A run is begun on a folder of small JPEGs, stopped after its first step, and resumed, each time in a
process of its own: what is timed has Python's start, the imports, the listing of the folder and the
first step in it. With --before, the source of another version does the same in turn. CPU seconds
are there too, as they depend less on what else the machine does. The files lie in the page cache:
a disk or a network would make the difference larger.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from harness import report
from PIL import Image

SOURCE = Path(__file__).parents[1] / "src"
STEP = """
import json, os, resource, sys, time
from softonce import TrainConfig, train
from softonce.training.step import TrainStep
try:
    from softonce.training import job as saving
except ImportError:
    from softonce.training import loop as saving
saving.MAX_SAVING_SHARE = float("inf")
options, steps = json.loads(sys.argv[1]), int(sys.argv[2])
real = TrainStep.__call__

def step(self, *args, **kwargs):
    global steps
    sums = real(self, *args, **kwargs)
    steps -= 1
    if steps == 0:
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(time.time(), used.ru_utime + used.ru_stime, flush=True)
        os._exit(0)
    return sums

TrainStep.__call__ = step
train(TrainConfig(**options))
"""


def write_pictures(folder: Path, num: int) -> None:
    """Write so many different JPEGs of 96 px and about 1.7 kB, in ten class folders."""
    rng = np.random.default_rng(0)
    for number in range(num):
        path = folder / f"class{number % 10}" / f"{number:07d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).resize((96, 96), Image.Resampling.BICUBIC).save(path, quality=60)


def time_first_step(source: Path, options: dict[str, object], *, steps: int) -> tuple[float, float]:
    """Return wall and CPU seconds until so many steps have been made, in a new process."""
    begin = time.time()
    done = subprocess.run(
        [sys.executable, "-c", STEP, json.dumps(options), str(steps)],
        env=os.environ | {"PYTHONPATH": str(source)},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    end, used = map(float, done.stdout.split())
    return end - begin, used


def main() -> None:
    """Time all, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num", type=int, default=100_000, help="number of files")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=Path, help="a folder that an earlier call has filled")
    parser.add_argument("--before", type=Path, help="the src/ of another version")
    asked = parser.parse_args()
    sources = {"now": SOURCE} | ({"before": asked.before} if asked.before else {})
    with tempfile.TemporaryDirectory() as temporary:
        pictures = asked.pictures or Path(temporary) / "pictures"
        if not pictures.exists():
            write_pictures(pictures, asked.num)
        begun, resumed = {}, {name: [] for name in sources}
        for name, source in sources.items():
            options = {
                "data": str(pictures), "output": f"{temporary}/{name}", "model": "cifar_resnet20",
                "size": 72, "resize": 80, "batch_size": 64, "epochs": 2, "checkpoint_seconds": 0.0,
            }  # fmt: skip
            begun[name] = time_first_step(source, options, steps=3)
            print(f"{name}: first start {begun[name][0]:.1f} s", flush=True)
        for _ in range(asked.rounds):
            for name, source in sources.items():
                run = {"resume": f"{temporary}/{name}"}
                resumed[name].append(time_first_step(source, run, steps=1))
                print(f"{name}: resumed {resumed[name][-1]}", flush=True)
        kept = Path(temporary) / "now" / "scan.safetensors"
        figures: dict[str, object] = {"files": asked.num, "bytes kept": kept.stat().st_size}
    middle = {
        name: [statistics.median(column) for column in zip(*times, strict=True)]
        for name, times in resumed.items()
    }
    for name in sources:
        figures[f"{name}, first start, s and CPU s"] = [round(value, 1) for value in begun[name]]
        figures[f"{name}, resumed, s and CPU s"] = [round(value, 1) for value in middle[name]]
    ratios = {"first start to resumed": begun["now"][0] / middle["now"][0]}
    if "before" in sources:
        ratios["resumed, before to now"] = middle["before"][0] / middle["now"][0]
        ratios["resumed, before to now, CPU"] = middle["before"][1] / middle["now"][1]
    report("resume_start", ratios=ratios, figures=figures, packages=("torch", "pillow"))


if __name__ == "__main__":
    main()
