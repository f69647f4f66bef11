"""The verb: what is written, what is refused, what is said."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from softonce import ExportConfig, create_model, export
from softonce.artefact import Metadata, write_artefact
from softonce.cli.app import main
from softonce.data.sources import open_source
from softonce.engines import open_engine
from softonce.errors import ConfigError
from softonce.exporting import parity
from softonce.exporting.parity import LIMITS, compare
from softonce.exporting.pictures import find_source, made_up_pictures
from softonce.models.network import architecture_of
from softonce.preprocessing import Preprocessing

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 3, 16, 16), dtype=np.uint8)


def test_without_images_an_export_is_compared_on_made_up_ones(
    artefact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "alone.pt2"
    assert main(["export", str(artefact), "--to", "torch", "--output", str(file)]) == 0
    said = capsys.readouterr()
    assert "made-up pictures" in said.err
    assert f"exported: {file}" in said.out
    assert "accuracy" not in said.out
    assert [path.name for path in tmp_path.iterdir()] == ["alone.pt2"]


def test_a_machine_without_torchvision_is_not_warned_of_it(
    artefact: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)  # as if it were not installed
    export(ExportConfig(artefact, to="onnx"))
    assert not [row for row in caplog.messages if "torchvision" in row]


@pytest.mark.parametrize("mode", ["L", 5])
def test_pictures_in_grey_or_of_many_channels_are_exported_too(tmp_path: Path, mode: Any) -> None:
    channels = 1 if mode == "L" else mode
    model = create_model("cifar_resnet20", num_classes=3, in_channels=channels)
    arch, arch_args = architecture_of(model)
    some = (0.4,) * channels
    metadata = Metadata(
        arch=arch,
        arch_args=arch_args,
        classes=("a", "b", "c"),
        preprocessing=Preprocessing(size=16, fit="pad", mode=mode, mean=some, std=some),
    )
    artefact = tmp_path / "model.safetensors"
    write_artefact(artefact, model.state_dict(), metadata)
    found = export(ExportConfig(artefact, to="torch"))
    assert found.is_written, found.parity


def test_an_export_that_disagrees_is_not_written_unless_forced(
    artefact: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    strict = dataclasses.replace(LIMITS["fp32"], same_pixels=0.0)
    monkeypatch.setitem(LIMITS, "fp32", strict)
    file = tmp_path / "model.pt2"
    file.write_bytes(b"the one before")
    command = ["export", str(artefact), "--to", "torch", "-o", str(file)]
    assert main(command) == 1
    assert "given the same pixels, a probability differs by" in capsys.readouterr().err
    assert file.read_bytes() == b"the one before"
    assert main([*command, "--force"]) == 1
    assert open_engine(file, trust=True).logits(PIXELS).shape == (5, 3)


def test_eight_bits_are_smaller_and_near(exported: Any, artefact: Path) -> None:
    expected = open_engine(artefact, exact=True).logits(PIXELS)
    whole = exported("onnx").stat().st_size
    file = exported("onnx", precision="int8")
    assert file.stat().st_size < 0.5 * whole
    model = onnx.load(file)
    assert {each.domain for each in model.opset_import} == {
        node.domain for node in model.graph.node
    }
    for name in ("onnxruntime", "openvino"):
        engine: Any = open_engine(file, name=name)
        assert engine.precision == "int8"
        difference = np.abs(engine.logits(PIXELS) - expected)
        assert 1e-6 < difference.max() < 0.3 * np.ptp(expected)


def test_eight_bits_need_images(artefact: Path, tmp_path: Path) -> None:
    config = ExportConfig(artefact, precision="int8", output=tmp_path / "a.onnx")
    with pytest.raises(ConfigError, match="images to calibrate int8 with, found none: name them"):
        export(config)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"to": "torch", "precision": "int8"}, "--precision fp32, fp16, bf16 with --to torch"),
        ({"to": "onnx", "precision": "bf16"}, "--precision fp32, fp16, int8 with --to onnx"),
        (
            {"to": "openvino", "output": Path("a.onnx")},
            "--output to end in .xml with --to openvino",
        ),
        ({"samples": 0}, "--samples of at least 1"),
        ({"opset": 17}, "--opset of at least 18"),
    ],
    ids=str,
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        ExportConfig(Path("model.safetensors"), **options)


def test_the_data_of_the_run_are_found(artefact: Path, photos: Path, tmp_path: Path) -> None:
    metadata = open_engine(artefact).metadata
    config = ExportConfig(tmp_path / "model.safetensors")
    assert find_source(config, metadata) is None
    (tmp_path / "config.toml").write_text(f"data = '{photos}'\n")
    assert find_source(config, metadata) == open_source(photos)
    others = dataclasses.replace(config, data=str(photos / "train"))
    assert find_source(others, metadata) == open_source(photos / "train")


def test_the_columns_of_the_run_are_found(artefact: Path, photos: Path, tmp_path: Path) -> None:
    rows = [f"{path},{path.parent.name}" for path in sorted(photos.rglob("*.jpg"))]
    (tmp_path / "table.csv").write_text("\n".join(["one,two", *rows]))
    (tmp_path / "config.toml").write_text(
        f"data = '{tmp_path}/table.csv'\npath_col = 'one'\nlabel_col = 'two'\n"
    )
    source = find_source(
        ExportConfig(tmp_path / "model.safetensors"), open_engine(artefact).metadata
    )
    assert source is not None
    assert len(source.list_split("all").names) == len(rows)


# the judge


class Twisted:
    """An export whose answers are changed."""

    def __init__(self, engine: Any, change: Any) -> None:
        self.engine, self.change = engine, change
        self.metadata, self.precision, self.name = engine.metadata, "fp32", "twisted"

    def run(self, images: Any) -> Any:
        return {"probs": self.change(self.engine.run(images)["probs"])}

    def logits(self, pixels: Any) -> Any:
        return self.engine.logits(pixels)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda probs: probs, []),
        (lambda probs: probs + 2e-3, ["given the same pixels", "median difference"]),
        (lambda probs: probs * np.nan, ["given the same pixels", "median difference", "led by"]),
        (
            lambda probs: probs[:, [1, 2, 0]],
            ["given the same pixels", "median difference", "led by"],
        ),
    ],
)
def test_the_judge_says_what_is_beyond_the_limits(
    exported: Any, artefact: Path, change: Any, said: list[str]
) -> None:
    exact: Any = open_engine(artefact, exact=True)
    engine: Any = Twisted(open_engine(exported("onnx"), name="onnxruntime"), change)
    failures = compare(exact, engine, made_up_pictures(exact.metadata.preprocessing)).failures
    assert len(failures) == len(said)
    assert all(word in failure for word, failure in zip(said, failures, strict=True))


@pytest.mark.parametrize(("lost", "gained", "fails"), [(8, 0, True), (4, 1, False), (0, 9, False)])
def test_accuracy_may_not_fall_by_a_point_beyond_chance(
    lost: int, gained: int, fails: bool
) -> None:
    rows = np.eye(2, dtype=np.float32)
    target = np.arange(200) % 2
    before, after = target.copy(), target.copy()
    after[:lost] = 1 - target[:lost]
    before[100 : 100 + gained] = 1 - target[100 : 100 + gained]
    engine: Any = type("Engine", (), {"precision": "int8"})
    found = parity._judge(rows[before], rows[before], rows[after], target, (1.0, 1.0), engine)
    assert any("accuracy falls" in failure for failure in found.failures) == fails
