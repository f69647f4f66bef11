"""A new format is one file, and its name in the tuple of formats."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import softonce

TOY = '''
"""Logits as a table: the mean colour of a picture times a matrix, in JSON."""

import json

from softonce.formats.record import Format, Runtime

NUMPY = Runtime("toy-runtime", "numpy", "train")


def _write(job, path):
    path.write_text(json.dumps({"softonce": job.record["softonce"]}))


def _open(path, runtime, **_):
    from softonce.artefact import Metadata
    from softonce.engines.graph_engine import GraphEngine

    metadata = Metadata.from_json(json.loads(path.read_text())["softonce"], path)

    def run(images):
        means = images.mean((1, 2)).astype("float32")
        return {"logits": means}

    return GraphEngine(runtime, metadata, "fp32", run)


def _read_graph(path):
    from softonce.checker.graph.nodes import ModelFile, Output
    from softonce.checker.kinds import Kind

    return ModelFile("toy", (Output("logits", Kind.LOGITS, -1, "the mean"),))


FORMAT = Format(
    name="toy", title="a toy", suffix=".toy", runtimes=(NUMPY,), open=_open,
    read_graph=_read_graph, precisions=("fp32",), write=_write,
)
'''

USE = """
import sys
from pathlib import Path
from softonce.cli.app import main

artefact, photos, folder = sys.argv[1:]
file = f"{folder}/model.toy"
export = ["export", artefact, "--to", "toy", "--output", file, "--samples", "2"]
assert main([*export, "--data", photos, "--force"]) == 1  # it answers otherwise
assert Path(file).is_file()
assert main(["inspect", file]) == 0
assert main(["predict", file, photos + "/test", "--engine", "toy-runtime"]) == 0
assert main([*export, "--precision", "int8"]) == 2
for verb in ("export", "inspect", "serve"):
    assert main([verb, "--help"]) == 0
"""


@pytest.mark.slow
def test_a_new_format_is_one_file_and_its_name_in_the_tuple(
    artefact: Path, photos: Path, tmp_path: Path
) -> None:
    package = tmp_path / "src" / "softonce"
    shutil.copytree(Path(softonce.__file__).parent, package)
    (package / "formats" / "toy.py").write_text(TOY)
    names = package / "formats" / "__init__.py"
    text = names.read_text()
    for old, new in (
        ("import artefact, onnx,", "import artefact, onnx, toy,"),
        ("(ARTEFACT, ", "(ARTEFACT, toy.FORMAT, "),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    names.write_text(text)
    (tmp_path / "out").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", USE, artefact, photos, tmp_path / "out"],
        env=os.environ | {"PYTHONPATH": str(package.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "toy (a toy)" in done.stdout
    assert ".toy" in done.stdout
    assert "toy-runtime" in done.stdout
    assert "--precision fp32 with --to toy, found int8" in done.stderr
