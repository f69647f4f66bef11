"""A file that is overwritten while it is served changes no answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from softonce.formats import ARTEFACT, WRITTEN

ANSWER = """
import sys
from pathlib import Path
import numpy
from softonce.engines import open_engine

pixels = numpy.random.default_rng(0).integers(0, 256, (2, 3, 16, 16), dtype=numpy.uint8)
engines = [open_engine(file, precision="auto", trust=True) for file in sys.argv[1:]]
before = [engine.logits(pixels) for engine in engines]
for file in sys.argv[1:]:
    for path in Path(file).parent.glob(Path(file).stem + ".*"):
        path.open("r+b").truncate(0)
for engine, expected in zip(engines, before):
    assert (engine.logits(pixels) == expected).all(), engine.name
"""


def test_files_of_every_format_may_be_overwritten_while_they_answer(
    exported: Any, artefact: Path, tmp_path: Path
) -> None:
    files = []
    for name in (ARTEFACT.name, *WRITTEN):
        source = artefact if name == ARTEFACT.name else exported(name)
        for path in source.parent.glob(f"{source.stem}.*"):
            (tmp_path / f"{name}{path.suffix}").write_bytes(path.read_bytes())
        files.append(tmp_path / f"{name}{source.suffix}")
    command = [sys.executable, "-c", ANSWER, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
