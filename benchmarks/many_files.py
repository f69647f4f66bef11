"""Seconds and memory of listing, scanning and loading a folder of very many files.

The folder has small JPEGs, no two alike, in 1,000 class folders. Each stage runs in this process,
one after the other: what the listing keeps of the files, what the scan adds, and what looking for
copies needs at its highest. Then two workers load batches in the order of an epoch; their memory is
the share of each page that is theirs (PSS), early and late. The files lie in the page cache, as far
as it holds them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from harness import report
from PIL import Image

from softonce.data.augment import Augmentation
from softonce.data.doubles import find_copies
from softonce.data.loader import Loader
from softonce.data.scan import Scan, scan
from softonce.data.splits import list_splits
from softonce.preprocessing import Preprocessing

NUM_CLASSES = 1000
SIDE = 96  # pixels; too large to be kept decoded in memory, as photographs are
BATCH = 256
WORKERS = 2
EARLY, LATE = 20, 400
"""Batches after which the memory of the workers is read."""

Result = TypeVar("Result")


def write_pictures(folder: Path, num: int) -> None:
    """Write so many different JPEGs of about 1.7 kB."""
    rng = np.random.default_rng(0)
    for number in range(NUM_CLASSES):
        (folder / f"{number:04d}").mkdir(parents=True)
    for number in range(num):
        pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
        picture = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        picture.save(folder / f"{number % NUM_CLASSES:04d}" / f"{number:07d}.jpg", quality=75)


def mebibytes(field: str, process: int | str = "self") -> float:
    """Return a field of what Linux says of a process's memory."""
    name = "smaps_rollup" if field == "Pss" else "status"
    lines = Path(f"/proc/{process}/{name}").read_text().splitlines()
    found = next(line for line in lines if line.startswith(f"{field}:"))
    return round(int(found.split()[1]) / 1024, 1)


def measure(stage: Callable[[], Result]) -> tuple[Result, dict[str, float]]:
    """Run a stage; return its result, its seconds, and the memory that it kept and that it took."""
    Path("/proc/self/clear_refs").write_text("5")  # the highest is that of now
    before, start, used = mebibytes("VmRSS"), time.perf_counter(), time.process_time()
    result = stage()
    return result, {
        "seconds": round(time.perf_counter() - start, 2),
        "cpu_seconds": round(time.process_time() - used, 2),
        "kept_mib": round(mebibytes("VmRSS") - before, 1),
        "peak_mib": round(mebibytes("VmHWM") - before, 1),
    }


def load(part: Scan) -> dict[str, list[float]]:
    """Return the memory of each worker after a few batches of an epoch, and after many."""
    loader = Loader(
        part,
        Preprocessing(size=72),
        BATCH,
        augmentation=Augmentation(size=72, crop="resized-crop"),
        workers=WORKERS,
    )
    batches, found = loader.batches(0), {}
    for name, num in (("early", EARLY), ("late", LATE - EARLY)):
        for _ in islice(batches, num):
            pass
        workers = sorted(child.pid or 0 for child in multiprocessing.active_children())
        found[f"worker_mib_{name}"] = [mebibytes("Pss", worker) for worker in workers]
    batches.close()
    return found


def measure_folder(folder: Path) -> dict[str, object]:
    listed, listing = measure(lambda: list_splits(folder).train)
    preprocessing = Preprocessing(size=72, resize=80)
    read, scanning = measure(lambda: scan(listed, preprocessing, max_bad_fraction=0.01))
    copies, comparing = measure(lambda: find_copies({"train": read}))
    return {
        "listing": listing,
        "scan": scanning | {"files_per_second": round(len(read) / scanning["seconds"])},
        "copies": comparing | {"pairs": len(copies.identical) + len(copies.alike)},
        "loading": load(read),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--folder", type=Path, help="where the files are written")
    options = parser.parse_args()
    figures: dict[str, object] = {"picture": f"JPEG of {SIDE} px", "batch": BATCH}
    for num in options.num:
        root = Path(tempfile.mkdtemp(dir=options.folder))
        try:
            write_pictures(root / "photos", num)
            figures[f"{num} files"] = found = measure_folder(root / "photos")
        finally:
            shutil.rmtree(root)
        print(num, found)
    report("many_files", ratios={}, figures=figures, packages=("torch", "numpy", "pillow"))


if __name__ == "__main__":
    main()
