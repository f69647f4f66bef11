"""Each format answers as the artefact does, says what it says, and needs no torch to answer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from softonce.artefact import read_metadata
from softonce.checker.graph import read_model
from softonce.checker.kinds import Kind
from softonce.cli.app import main
from softonce.data.images import fit_image, to_pixels
from softonce.engines import open_engine, opening
from softonce.errors import ArtefactError, ConfigError, MissingExtraError
from softonce.formats import FORMATS, WRITTEN
from softonce.formats.record import Format
from softonce.inference import probs

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 3, 16, 16), dtype=np.uint8)
RUNS = [
    (form.name, runtime.name)
    for form in WRITTEN.values()
    for runtime in form.runtimes
    if runtime.is_automatic
]


def smooth(width: int, height: int) -> Any:
    rng = np.random.default_rng([width, height])
    image = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    return np.array(image.resize((width, height), Image.Resampling.BICUBIC))


# what it answers


@pytest.mark.parametrize(("to", "name"), RUNS)
def test_the_same_pixels_have_the_same_logits(
    exported: Any, artefact: Path, to: str, name: Any
) -> None:
    engine = open_engine(exported(to), name=name, trust=True)
    expected = open_engine(artefact, exact=True)
    assert (engine.name, engine.metadata) == (name, expected.metadata)
    for pixels in (PIXELS, PIXELS[:1]):
        found = engine.logits(pixels)
        np.testing.assert_allclose(found, expected.logits(pixels), atol=1e-4)
        assert found.dtype == np.float32


@pytest.mark.parametrize(("to", "name"), RUNS)
def test_pictures_of_any_size_and_number_have_probabilities_with_the_temperature(
    exported: Any, artefact: Path, to: str, name: Any
) -> None:
    engine: Any = open_engine(exported(to), name=name, trust=True)
    exact: Any = open_engine(artefact, exact=True)
    for width, height in ((61, 83), (16, 16), (19, 19), (200, 33), (7, 9)):
        image = smooth(width, height)
        outputs = engine.run(np.stack([image, image[::-1], image[:, ::-1]]))
        assert list(outputs) == ["logits", "probs"]
        expected = probs(torch.from_numpy(outputs["logits"]), temperature=1.5)
        np.testing.assert_allclose(outputs["probs"], expected, atol=1e-6)
        pixels = to_pixels(fit_image(Image.fromarray(image), exact.metadata.preprocessing))
        np.testing.assert_allclose(outputs["logits"][:1], exact.logits(pixels[None]), atol=0.05)


def test_a_file_of_probabilities_alone_has_no_logits_to_offer(exported: Any) -> None:
    file = exported("onnx", emit="probs")
    (output,) = read_model(file).outputs
    assert (output.name, output.kind) == ("probs", Kind.P)
    with pytest.raises(ArtefactError, match="found only probabilities: export it with --emit"):
        open_engine(file, name="onnxruntime").logits(PIXELS)


# what it says of itself


@pytest.mark.parametrize("to", WRITTEN)
def test_a_file_says_what_its_artefact_says_and_what_its_outputs_are(
    exported: Any, artefact: Path, capsys: pytest.CaptureFixture[str], to: str
) -> None:
    model = read_model(exported(to))
    kinds = [(output.name, output.kind) for output in model.outputs]
    assert kinds == [("logits", Kind.LOGITS), ("probs", Kind.P)]
    assert model.record == read_metadata(artefact).to_dict()
    assert main(["inspect", str(exported(to))]) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ("cifar_resnet20", "ants, bees, wasps", "resize 19"))


def test_an_onnx_file_calls_its_sizes_by_their_names_and_names_no_machine(exported: Any) -> None:
    model = onnx.load(exported("onnx"))
    onnx.checker.check_model(model, full_check=True)
    assert _sizes(model.graph.input[0]) == ["N", "H", "W", 3]
    assert [_sizes(output) for output in model.graph.output] == [["N", 3], ["N", 3]]
    assert str(Path.home()).encode() not in exported("onnx").read_bytes()


def _sizes(value: Any) -> list[str | int]:
    return [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]


# what it needs


@pytest.mark.parametrize(("to", "name"), [run for run in RUNS if run[1] != "torch"])
def test_an_exported_file_is_served_without_torch(
    exported: Any, photos: Path, to: str, name: str
) -> None:
    image = next((photos / "test" / "bees").iterdir())
    code = f"""
import sys
from softonce.cli.app import main
status = main(["predict", {str(exported(to))!r}, {str(image)!r}, "--engine", {name!r}])
assert not {{"torch", "safetensors"}} & set(sys.modules), "torch was imported"
sys.exit(status)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "bees" in done.stdout


def test_a_program_is_run_where_it_is_trusted_alone(
    exported: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.export, "load", lambda *_: pytest.fail("the program was loaded"))
    with pytest.raises(ArtefactError, match="expected --trust for .*torch runs what it finds"):
        open_engine(exported("torch"))


def test_a_file_of_somebody_else_is_said(tmp_path: Path, exported: Any) -> None:
    model = onnx.load(exported("onnx"))
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "theirs.onnx")
    for name in ("onnxruntime", "openvino"):
        with pytest.raises(ArtefactError, match="record of softonce in .*theirs.onnx, found none"):
            open_engine(tmp_path / "theirs.onnx", name=name)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_a_damaged_file_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], form: Format
) -> None:
    file = tmp_path / f"bad{form.suffix}"
    for content in (b"no such thing", b"<html></html>", b"\x08\x07 no graph", b""):
        file.write_bytes(content)
        for runtime in form.runtimes:
            command = ["predict", str(file), "a.jpg", "--engine", runtime.name, "--trust"]
            assert main(command) == 2
            said = capfd.readouterr().err  # of libraries in C, too
            assert said.count("\n") == 1
            assert ".cpp" not in said


@pytest.mark.parametrize(("to", "name"), RUNS)
def test_a_file_answers_under_capital_letters_and_through_a_link(
    exported: Any, tmp_path: Path, to: str, name: Any
) -> None:
    expected = open_engine(exported(to), name=name, trust=True).logits(PIXELS)
    form = WRITTEN[to]
    for suffix in (form.suffix, *form.beside):
        end = suffix.upper() if suffix == form.suffix else suffix
        shutil.copy(exported(to).with_suffix(suffix), tmp_path / f"MODEL{end}")
    (tmp_path / "current").symlink_to(tmp_path / f"MODEL{form.suffix.upper()}")
    for file in (tmp_path / f"MODEL{form.suffix.upper()}", tmp_path / "current"):
        assert np.array_equal(open_engine(file, name=name, trust=True).logits(PIXELS), expected)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'version="11"', b'version="99999999999999999999"'),
        (b'type="Parameter"', b'type="Para\xffmeter"'),
        (b'offset="', b'offset="9'),
        (b'shape="', b'shape="-'),
    ],
)
def test_damage_inside_of_a_graph_is_one_line(
    exported: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str], old: bytes, new: bytes
) -> None:
    file = tmp_path / "model.xml"
    text = exported("openvino").read_bytes()
    assert old in text
    file.write_bytes(text.replace(old, new))
    shutil.copy(exported("openvino").with_suffix(".bin"), file.with_suffix(".bin"))
    assert main(["predict", str(file), "a.jpg"]) == 2
    assert capfd.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("form", WRITTEN.values(), ids=lambda form: form.name)
def test_a_path_that_no_runtime_opens_is_refused(form: Format, tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"caf\xe9" + form.suffix.encode())
    file.touch()
    with pytest.raises(ArtefactError, match="a path in UTF-8, which the runtimes can open"):
        open_engine(file, trust=True)


# which engine


def test_auto_takes_the_fastest_and_says_so(
    exported: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    seconds: dict[str, float] = {}
    for fastest in ("onnxruntime", "openvino"):
        seconds.update(onnxruntime=2.0, openvino=2.0)
        seconds[fastest] = 1.0
        monkeypatch.setattr(opening, "seconds_of", lambda answer, _: seconds[answer.__self__.name])
        assert open_engine(exported("onnx")).name == fastest
        assert f"engine {fastest}, by a short measurement" in caplog.text


def test_an_engine_that_does_not_run_the_file_is_refused(exported: Any, artefact: Path) -> None:
    with pytest.raises(ConfigError, match="expected --engine onnxruntime, openvino or auto for"):
        open_engine(exported("onnx"), name="torch")
    with pytest.raises(ConfigError, match="found openvino: export the artefact for another engine"):
        open_engine(artefact, name="openvino")
    message = "--precision auto for .*onnx, which computes as it was exported, found bfloat16: "
    with pytest.raises(ConfigError, match=message):
        open_engine(exported("onnx"), precision="bfloat16")


def test_an_engine_that_is_not_installed_names_its_extra(
    exported: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"'onnxruntime' is not installed.*\[export\]"):
        open_engine(exported("onnx"))


# in the verbs


def test_evaluate_and_predict_find_the_same_in_the_file_as_in_the_artefact(
    exported: Any,
    artefact: Path,
    photos: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = []
    for file in (artefact, exported("onnx"), exported("openvino")):
        assert main(["evaluate", str(file), str(photos), "--json", "--workers", "0"]) == 0
        figures = json.loads(capsys.readouterr().out)
        command = ["predict", str(file), str(photos / "test"), "--format", "jsonl", "--top-k", "1"]
        command += ["--precision", "float32"] if file == artefact else []
        assert main(command) == 0
        records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        found.append((figures["nll"], [(record["class"], record["prob"]) for record in records]))
    for nll, records in found[1:]:
        assert nll == pytest.approx(found[0][0], rel=1e-4)
        for (name, prob), (expected, expected_prob) in zip(records, found[0][1], strict=True):
            assert name == expected
            assert prob == pytest.approx(expected_prob, abs=1e-4)


def test_an_exported_file_keeps_its_own_preprocessing(
    exported: Any, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(exported("onnx")), str(photos), "--size", "8"]) == 2
    assert "whose own preprocessing is inside" in capsys.readouterr().err
