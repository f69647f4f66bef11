"""In a real Jupyter kernel a run shows its notes, its epochs and a bar, each once."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

TRAIN = """
import softonce
result = softonce.train(softonce.TrainConfig(
    "photos", model="cifar_resnet20", epochs=3, workers=0, max_bad_fraction=0.1, output="run"
))
"""
AGAIN = """
softonce.train(softonce.TrainConfig("photos", model="cifar_resnet20", epochs=1, workers=0,
    max_bad_fraction=0.1, output="quiet", quiet=True)).artefact.name
"""
CONFIGURED = """
import logging
logging.basicConfig(level=logging.INFO, format="mine: %(message)s", force=True)
softonce.create_model("cifar_resnet20", weights="run/model.safetensors", num_classes=7).fc
"""


@pytest.fixture
def cells(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the cells of a notebook that was run on a folder with one broken file."""
    (photos / "train" / "bees" / "03.jpg").write_bytes(b"no picture")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    sources = [TRAIN, AGAIN, CONFIGURED]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(book, timeout=240, kernel_name="python3", resources=resources).execute(
        env=os.environ
    )
    return list(book.cells)


def stream(cell: Any, name: str) -> list[str]:
    text = "".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == name)
    return re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()  # the kernel asks for colours


def test_a_notebook_shows_what_a_terminal_shows_each_once(cells: list[Any]) -> None:
    training, quiet, configured = cells
    lines = stream(training, "stderr")
    broken = [line for line in lines if "03.jpg" in line]
    assert len(broken) == 1
    assert broken[0].startswith("warning: left out photos/train/bees/03.jpg")
    assert [line.split("  ")[0] for line in lines if line.startswith("epoch ")] == [
        "epoch 1/3", "epoch 2/3", "epoch 3/3",
    ]  # fmt: skip
    # The end of an epoch's line may be wrapped, and two epochs may be equally fast.
    whole = [line for line in lines if not re.fullmatch(r"\s*\d+ img/s", line)]
    assert len(whole) == len(set(whole))
    assert stream(training, "stdout") == []
    bars = [o for o in training.outputs if o.output_type == "display_data"]
    assert len(bars) <= 1  # one place, updated
    assert all("<progress" not in o.data["text/html"] for o in bars)  # gone when all is done

    assert all(line.startswith("warning: ") for line in stream(quiet, "stderr"))
    assert any("03.jpg" in line for line in stream(quiet, "stderr"))
    assert all(line.startswith("mine: ") for line in stream(configured, "stderr"))
    assert any("head" in line for line in stream(configured, "stderr"))
