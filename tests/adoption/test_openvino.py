"""An OpenVINO IR is adopted as an ONNX file is, and stays an IR."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino
import pytest
from conftest import MakePhotos
from foreign_files import PIXELS, SIDE, answers, ends, node, sigmoid, softmax, write

from softonce import ArtefactError, adopt

ENDS = ends()


def converted(path: Path) -> Path:
    xml = path.with_suffix(".xml")
    openvino.save_model(openvino.Core().read_model(path), xml, compress_to_fp16=False)
    return xml


@pytest.mark.parametrize("name", ["logits", "softmax", "by hand, shifted", "two softmaxes"])
def test_the_logits_are_those_before_the_normaliser(name: str, tmp_path: Path) -> None:
    nodes, arrays = ENDS[name]
    path = write(tmp_path / "other.onnx", nodes, arrays=arrays)
    adopted = adopt(converted(path), range="0..1", quiet=True)
    assert adopted.file.suffix == ".xml"
    found = adopted.classifier(list(PIXELS))
    probs = np.stack([row.probs for row in found])
    np.testing.assert_allclose(probs, softmax(answers(path)), atol=1e-5)
    assert adopted.metadata.classes == ("ants", "bees", "wasps")


def test_sigmoids_and_single_logits_are_what_they_are(tmp_path: Path) -> None:
    nodes = [node("Sigmoid", ["z"], "y")]
    labels = write(tmp_path / "labels.onnx", nodes)
    found = adopt(converted(labels), range="0..1", quiet=True).classifier(list(PIXELS))
    np.testing.assert_allclose(
        np.stack([row.probs for row in found]), sigmoid(answers(labels)), atol=1e-5
    )
    one = write(tmp_path / "one.onnx", nodes, num=1)
    found = adopt(converted(one), range="0..1", quiet=True).classifier(list(PIXELS))
    np.testing.assert_allclose(
        np.stack([row.probs for row in found])[:, 1:], sigmoid(answers(one)), atol=1e-5
    )


def test_a_fixed_number_of_pictures_and_the_last_axis_are_no_limit(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    photos = make_photos(tmp_path / "photos", per_class=5, size=(12, 9))
    end = [node("Reshape", ["z", "shape"], "r"), node("Softmax", ["r"], "y")]
    path = write(
        tmp_path / "other.onnx",
        end,
        layout="NHWC",
        shape=[4, SIDE, SIDE, 3],
        arrays={"shape": np.array([4, 3])},
    )
    adopted = adopt(converted(path), photos, range="0..1", quiet=True)
    assert adopted.classifier.evaluate(photos, workers=0).figures.top1 == 1.0


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    xml = converted(write(tmp_path / "other.onnx", [node("Softmax", ["z"], "y")]))
    xml.with_suffix(".bin").write_bytes(b"")
    with pytest.raises(ArtefactError) as raised:
        adopt(xml, range="0..1", quiet=True)
    assert "\n" not in str(raised.value)
