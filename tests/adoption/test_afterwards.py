"""An adopted classifier is one like ours: decisions are stored in it, and it is exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import MakePhotos
from foreign_files import PIXELS, node, write

from softonce import Classifier, ConfigError, adopt, decide, evaluate, export
from softonce.engines import open_engine

SOFTMAX = [node("Softmax", ["z"], "y")]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory, make_photos: MakePhotos) -> Path:
    return make_photos(tmp_path_factory.mktemp("afterwards") / "photos", per_class=20, size=(12, 9))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = write(tmp_path / "other.onnx", SOFTMAX)
    return adopt(path, range="0..1", quiet=True, output=tmp_path / "own.onnx").file


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_decisions_are_stored_in_the_file(
    suffix: str, own: Path, labelled: Path, tmp_path: Path
) -> None:
    if suffix == ".xml":
        own = export(own, to="openvino", data=labelled, quiet=True).file
    before = open_engine(own).logits(PIXELS.transpose(0, 3, 1, 2))
    rules = decide(own, labelled, coverage=0.9, split="all", workers=0, quiet=True)
    engine = open_engine(own)
    assert engine.metadata.decisions == rules
    assert rules.sets is not None
    np.testing.assert_array_equal(engine.logits(PIXELS.transpose(0, 3, 1, 2)), before)
    assert Classifier.load(own)(PIXELS[0])[0].set is not None
    decide(own, labelled, off=True, quiet=True)
    assert open_engine(own).metadata.decisions.sets is None


@pytest.mark.parametrize(("to", "precision"), [("openvino", "fp32"), ("onnx", "int8")])
def test_it_is_exported_for_other_runtimes(
    to: str, precision: str, own: Path, labelled: Path, tmp_path: Path
) -> None:
    exported = export(
        own, to=to, precision=precision, data=labelled, quiet=True,
        output=tmp_path / ("small.onnx" if to == "onnx" else "small.xml"),
    )  # fmt: skip
    assert exported.is_written
    assert evaluate(exported.file, labelled, workers=0, quiet=True).figures.top1 == 1.0


def test_what_needs_the_network_itself_is_refused(own: Path) -> None:
    with pytest.raises(ConfigError, match="its graph is all there is of it"):
        export(own, to="torch", quiet=True)


def test_labels_by_themselves_are_not_measured_as_classes(labelled: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "other.onnx", [node("Sigmoid", ["z"], "y")])
    own = adopt(path, range="0..1", quiet=True).file
    with pytest.raises(ConfigError, match="3 labels have a sigmoid each"):
        evaluate(own, labelled, workers=0, quiet=True)
