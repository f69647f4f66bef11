"""Many harmed files of one kind, read one after the other within bounds of time and memory."""

from __future__ import annotations

import logging
import shutil
import signal
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from fuzz import corpus
from fuzz.readers import attempt, place

SECONDS = 60
"""Within which a file is read: a hundred times what the slowest of the whole ones takes."""
MEMORY = 1 << 30
"""Bytes above what the process had before; a picture of the most pixels that are read needs a
third."""


class TooSlowError(Exception):
    """A file is not read in time."""


class TooLargeError(Exception):
    """A file needs too much memory."""


def run(kind: str, seeds: range, folder: Path) -> tuple[Counter[str], dict[str, str]]:
    """Read a harmed file for each seed.

    Returns:
        How many ways of reading ended in which way, and the trace of each that should not be, by
        its seed.
    """
    examples = corpus.make(kind, folder / "whole")
    for number, example in enumerate(examples):
        whole = place(example, (example.folder / example.file).read_bytes(), folder / f"w{number}")
        assert "read" in attempt(kind, whole), example
    ended: Counter[str] = Counter()
    faults: dict[str, str] = {}
    for number in seeds:
        example = examples[number % len(examples)]
        seed = f"{kind} {number}"
        print(seed, file=sys.__stderr__, flush=True)  # the last one, if the process dies of it
        file = place(example, example.harmed(seed), folder / "harmed")
        try:
            with bounded(memory=MEMORY if example.is_bounded else 1 << 40):
                endings = attempt(kind, file)
            ended.update(endings)
        except BaseException:  # noqa: BLE001 - all that is raised is what is looked for
            faults[f"{seed} ({example.file})"] = traceback.format_exc(limit=-6)
        shutil.rmtree(folder / "harmed")
    return ended, faults


@contextmanager
def bounded(*, memory: int) -> Iterator[None]:
    """Raise an error if the block needs too much time or memory."""

    def stop(*_: object) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    size = _status("VmRSS")
    try:
        yield
        if (peak := _status("VmHWM")) > size + memory:
            raise TooLargeError(f"{peak - size:,} bytes")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


def main() -> int:
    """Run `KIND FIRST COUNT FOLDER`; 1 if there was a fault."""
    kind, first, count, folder = sys.argv[1:]
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable()
    ended, faults = run(kind, range(int(first), int(first) + int(count)), Path(folder))
    sys.stdout.write(f"{kind}: {count} files, {dict(ended)}, {len(faults)} faults\n")
    for seed, trace in faults.items():
        sys.stdout.write(f"--- {seed}\n{trace}\n")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
