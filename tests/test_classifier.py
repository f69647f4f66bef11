"""One object: every file kind answers alike, and its results are shown, typed and exported."""

from __future__ import annotations

import asyncio
import io
import json
import re
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from conftest import MakePhotos
from matplotlib.figure import Figure
from PIL import Image
from training.runs import small

import softonce
from softonce import Classifier, Predictions, train
from softonce.artefact import Metadata, write_artefact
from softonce.errors import (
    ArgumentError,
    ArtefactError,
    ConfigError,
    DataError,
    SoftonceError,
    StorageError,
    UnknownNameError,
)
from softonce.formats import WRITTEN
from softonce.inference import probs
from softonce.models.network import architecture_of
from softonce.preprocessing import Preprocessing


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, make_photos: MakePhotos) -> Path:
    root = tmp_path_factory.mktemp("object") / "photos"
    make_photos(root / "train")
    return make_photos(root / "val", per_class=5).parent


@pytest.fixture(scope="module")
def run(photos: Path) -> Path:
    """Return the folder of a run that has learned a little."""
    result = train(small(photos, photos.parent / "run", epochs=4, lr=0.02, checkpoint_seconds=60.0))
    return result.artefact.parent


@pytest.fixture(scope="module")
def clf(run: Path) -> Classifier:
    return Classifier.load(run)


@pytest.fixture(scope="module")
def pictures(photos: Path) -> list[Path]:
    return sorted((photos / "val").rglob("*.jpg"))


# loading


def test_a_run_its_artefact_text_and_path_are_the_same_classifier(run, clf, pictures) -> None:
    for path in (run, str(run), run / "model.safetensors"):
        found = Classifier.load(path)
        assert found.path == run / "model.safetensors"
        assert (found.predict(pictures).logits == clf(pictures).logits).all()


@pytest.mark.parametrize("to", WRITTEN)
def test_an_exported_file_answers_as_its_artefact(to: str, clf, photos, pictures, tmp_path) -> None:
    exported = clf.export(to, tmp_path / f"model{WRITTEN[to].suffix}", data=photos, samples=4)
    assert exported.is_written
    assert repr(exported).startswith(f"Exported({str(exported.file)!r}, 100.00% the same first")
    found = Classifier.load(exported.file, trust=True)
    assert found.metadata == clf.metadata
    images = [pictures[0], Image.open(pictures[0]), pictures[0].read_bytes()]
    array = np.asarray(Image.open(pictures[0]))
    images += [array, torch.from_numpy(array.copy()).permute(2, 0, 1)]
    logits = np.concatenate([found(image).logits for image in images])
    assert (logits == logits[0]).all()
    assert found(images).logits == pytest.approx(logits, abs=1e-4)
    exact = clf.network(clf.preprocess(pictures[0])[None]).detach().numpy()
    assert logits[0] == pytest.approx(exact[0], abs=2e-4)
    with pytest.raises(ArtefactError, match="which holds a graph and no torch module"):
        _ = found.network


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (("nothing",), ArtefactError, "expected a model file at nothing, found nothing"),
        ((3,), ArgumentError, "expected the path of a run or a model file, found int"),
        ((None,), ArgumentError, "found NoneType"),
        ((softonce,), ArgumentError, "found module"),
        (("x" * 5000,), ArtefactError, "expected a model file"),
        (("a\0b",), ArtefactError, "found nothing"),
    ],
)
def test_what_is_no_classifier(arguments: tuple[Any, ...], kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        Classifier.load(*arguments)


def test_a_folder_of_pictures_and_wrong_options_are_refused(run: Path, photos: Path) -> None:
    with pytest.raises(ArtefactError, match=r"found a folder without model.safetensors \(train"):
        Classifier.load(photos)
    for options in ({"engine": "tpu"}, {"device": "gpu"}, {"threads": 0}, {"threads": "two"}):
        with pytest.raises(ConfigError, match=f"--{next(iter(options))}"):
            Classifier.load(run, **options)
    with pytest.raises(ConfigError, match="expected --engine torch"):
        Classifier.load(run, engine="onnxruntime")


def test_what_it_says_of_itself(clf: Classifier, run: Path) -> None:
    assert clf.classes == ("ants", "bees", "wasps")
    assert clf.temperature == clf.metadata.temperature > 0
    assert clf.preprocessing.size == 16
    text = repr(clf)
    assert text.startswith("Classifier(cifar_resnet20, 3 classes, 16 px, torch, '")
    assert len(text) < 200
    assert isinstance(clf.network, torch.nn.Module)
    assert not clf.network.training


def test_preprocess_is_what_the_network_sees(clf: Classifier, pictures: list[Path]) -> None:
    image = clf.preprocess(pictures[0])
    assert (image.shape, image.dtype) == ((3, 16, 16), torch.float32)
    assert torch.equal(image, clf.preprocess(Image.open(pictures[0])))
    mean, std = torch.tensor(clf.preprocessing.mean), torch.tensor(clf.preprocessing.std)
    pixels = (image * std[:, None, None] + mean[:, None, None]) * 255
    assert torch.allclose(pixels, pixels.round(), atol=1e-3)
    logits = clf.network(image[None])
    record = Classifier.load(clf.path, engine="torch")(pictures[0])[0]
    exact = probs(logits, temperature=clf.temperature)[0]
    assert record.probs == pytest.approx(exact.detach().numpy(), abs=0.05)  # it may be bfloat16
    with pytest.raises(DataError, match="expected a picture that can be read, found nothing.jpg"):
        clf.preprocess("nothing.jpg")
    with pytest.raises(ArgumentError, match="expected one picture, found 5"):
        clf.preprocess(pictures[0].parent)


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
import softonce
clf = softonce.Classifier.load({file!r}, engine="onnxruntime")
print(clf({picture!r})[0].pred, len(softonce.predict({file!r}, {picture!r}, engine="onnxruntime")))
for ask in (lambda: clf.preprocess({picture!r}), lambda: clf.evaluate("photos")):
    try:
        ask()
    except softonce.MissingExtraError as error:
        print(error)
"""


def test_an_exported_file_predicts_without_torch(clf, photos, pictures, tmp_path: Path) -> None:
    file = clf.export("onnx", tmp_path / "model.onnx", data=photos, samples=2).file
    code = WITHOUT_TORCH.format(file=str(file), picture=str(pictures[0]))
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    first, *errors = done.stdout.splitlines()
    assert first == f"{clf(pictures[0])[0].pred} 1"
    missing = "'torch' is not installed; install it with: pip install \"softonce[train]\""
    assert errors == [missing] * 2


# predicting


def test_records_hold_the_calibrated_softmax_of_their_logits(clf, photos, pictures) -> None:
    found = clf(photos / "val", top_k=2)
    assert isinstance(found, Predictions)
    assert [Path(str(row.path)) for row in found] == pictures
    for row in found:
        expected = probs(torch.from_numpy(row.logits)[None], temperature=clf.temperature)[0]
        assert row.probs == pytest.approx(expected.numpy(), abs=1e-6)
        assert row.probs.sum() == pytest.approx(1)
        assert row.index == int(row.logits.argmax())
        assert row.pred == clf.classes[row.index] == row.top[0]["class"]
        assert row.prob == row.top[0]["prob"] == row.probs[row.index]
        assert len(row.top) == 2
        assert row.error is None
    assert np.array_equal(found.probs, np.stack([row.probs for row in found]))


def test_calling_is_predicting_and_the_command_line_prints_the_same(clf, pictures, capsys) -> None:
    from softonce.cli.app import main

    main(["predict", str(clf.path), *map(str, pictures), "--format", "jsonl"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for row, line in zip(clf(pictures), lines, strict=True):
        assert (row.path, row.index, row.pred, row.prob, list(row.top), row.error) == tuple(
            line[key] for key in ("path", "pred", "class", "prob", "top", "error")
        )
    assert (clf.predict(pictures).logits == clf(pictures).logits).all()
    direct = softonce.predict(clf.path, pictures)
    assert (direct.logits == clf(pictures).logits).all()


def test_a_text_is_one_path_and_a_list_is_many(clf, pictures) -> None:
    assert len(softonce.predict(str(clf.path), str(pictures[0]))) == 1
    assert len(softonce.predict(clf.path, [str(pictures[0]), pictures[1]], top_k=1)) == 2
    with pytest.raises(ArgumentError, match="expected images beside the artefact"):
        softonce.predict(clf.path)


def test_flipping_averages_the_logits_of_both(clf, pictures) -> None:
    image = Image.open(pictures[0])
    mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    mean = clf([image, mirrored]).logits.mean(0)
    assert clf(image, tta="flip").logits[0] == pytest.approx(mean, abs=0.05)


@pytest.mark.parametrize(
    "options", [{"top_k": 0}, {"emit": "scores"}, {"tta": "rotate"}, {"batch_size": 0}]
)
def test_a_wrong_option_is_named(options: dict[str, Any], clf, pictures) -> None:
    name = next(iter(options)).replace("_", "-")
    with pytest.raises(ConfigError, match=f"--{name}"):
        clf(pictures, **options)
    with pytest.raises(ConfigError, match=f"--{name}"):
        softonce.predict(clf.path, pictures, **options)


def test_unreadable_and_missing_files_have_records(clf, pictures, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    found = clf([tmp_path / "bad.jpg", pictures[0], tmp_path / "*.png", tmp_path / "no.jpg"])
    assert [row.error is None for row in found] == [False, True, False, False]
    row = found[0]
    assert row.pred is row.index is row.prob is row.probs is row.logits is None
    assert row.top == ()
    assert np.isnan(found.probs[0]).all()
    assert np.isfinite(found.probs[1]).all()
    assert "no known image format" in repr(found)
    assert "no known image format" in found._repr_html_()
    assert isinstance(found.show(), Figure)


# showing


def test_a_table_of_twenty_rows_is_the_repr(clf, pictures) -> None:
    found = clf(pictures * 2)
    lines = repr(found).splitlines()
    assert lines[0].split() == ["path", "class", "prob", "next"]
    assert len(lines) == 1 + 20 + 1
    assert lines[-1] == "... 10 more"
    assert all(len(line) <= 120 for line in lines)
    assert "[1]" in repr(clf([np.zeros((8, 8), np.uint8)] * 2))
    assert re.search(r"ants|bees|wasps", repr(found[0]))
    logits = clf(pictures[:2], emit="logits")
    assert f"{logits[0].logits[logits[0].index]:.4f}" in repr(logits)


def test_a_repr_has_no_colours_even_if_the_environment_asks_for_them(
    clf, photos, pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in repr(clf(pictures[:2])) + repr(clf.evaluate(photos, split="val"))


def test_slices_are_predictions_and_behave_as_a_sequence(clf, pictures) -> None:
    found = clf(pictures)
    assert isinstance(found[2:5], Predictions)
    assert [row.path for row in found[2:5]] == [str(path) for path in pictures[2:5]]
    assert found[-1] is found[len(found) - 1]
    assert found[3] in found
    assert found.index(found[3]) == 3
    assert next(reversed(found)) is found[-1]
    assert repr(found[:0]) == "Predictions(none)"
    with pytest.raises(IndexError):
        found[99]


def test_names_are_escaped_and_thumbnails_are_small(clf, tmp_path: Path) -> None:
    name = "<script>alert(1)</script>&.png"
    big = Image.effect_noise((1200, 800), 60).convert("RGB")
    (tmp_path / "sub").mkdir()
    path = tmp_path / "sub" / name.replace("/", "_")
    big.save(path)
    page = clf([path, big, np.asarray(big)])._repr_html_()
    assert "<script" not in page
    assert page.count("<img") == 3
    assert len(page) < 200_000
    assert page.count("<tr>") == 4
    many = clf([np.zeros((8, 8), np.uint8)] * 30)._repr_html_()
    assert many.count("<img") == 20
    assert "... 10 more" in many


def test_a_picture_in_memory_is_shown_after_it_has_changed(clf) -> None:
    image = Image.new("RGB", (20, 10), (255, 0, 0))
    found = clf(image)
    image.paste((0, 255, 0), (0, 0, 20, 10))
    assert Image.open(io.BytesIO(found[0].small_picture())).getpixel((5, 5)) == (255, 0, 0)


def test_show_draws_each_picture_under_its_class(clf, pictures) -> None:
    figure = clf(pictures[:3]).show(columns=2)
    titles = [axes.get_title() for axes in figure.axes]
    assert len(titles) == 4
    assert all(re.fullmatch(r"(ants|bees|wasps) [\d.]+%", title) for title in titles[:3])
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert len(clf(pictures * 2).show().axes) == 20
    for columns in (0, "2"):
        with pytest.raises(ArgumentError, match="expected columns of at least 1"):
            clf(pictures[:1]).show(columns=columns)


def test_dictionaries_and_data_frames_have_every_record(clf, pictures, tmp_path: Path) -> None:
    found = clf([*pictures[:2], tmp_path / "no.jpg"], top_k=2)
    records = json.loads(json.dumps(found.to_dict()))["predictions"]
    assert [record["pred"] for record in records] == [row.pred for row in found]
    assert list(records[0]) == ["path", "pred", "index", "prob", "top", "error"]
    frame = found.to_df()
    assert list(frame.columns) == ["path", "pred", "index", "prob", "pred_2", "prob_2", "error"]
    assert frame["pred"].tolist()[:2] == [row.pred for row in found[:2]]
    assert frame["prob"].tolist()[:2] == [row.prob for row in found[:2]]
    assert frame["error"].notna().tolist() == [False, False, True]
    assert frame["index"].isna().tolist() == [False, False, True]
    logits = clf(pictures[:1], top_k=1, emit="logits").to_df()
    assert list(logits.columns) == ["path", "pred", "index", "logit", "error"]


def test_a_missing_package_is_one_line(clf, pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    found = clf(pictures[:1])
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(SoftonceError, match=r'pip install "softonce\[notebook\]"'):
        found.to_df()


# evaluating


def test_an_evaluation_is_short_and_drawn(clf, photos: Path) -> None:
    report = clf.path.with_name("of-val.html")
    found = clf.evaluate(photos, split="val", report=report)
    assert "15 of val" in report.read_text()
    direct = softonce.evaluate(softonce.EvaluateConfig((clf.path, photos), split="val"))
    assert found.to_dict() == direct.to_dict()
    text = repr(found)
    assert text.startswith("15 images of val, 3 classes")
    assert f"{found.figures.top1:.2%}" in text
    low, high = found.figures.intervals["top1"]
    assert f"{low:.2%} to {high:.2%}" in text
    assert len(text) < 1200
    page = found._repr_html_()
    labels = ("top-1", "balanced accuracy", "macro-F1", "AUC", "NLL (nats)", "Brier", "ECE")
    assert all(f"\n{label} " in text and f"<td>{label}</td>" in page for label in labels)
    assert isinstance(found.plot_reliability(), Figure)
    confusion = found.plot_confusion()
    counts = {int(text.get_text()) for text in confusion.axes[0].texts}
    assert counts == {count for row in found.figures.confusion for count in row}
    assert confusion._repr_png_().startswith(b"\x89PNG")


def test_the_worst_images_have_the_largest_losses(clf, photos: Path) -> None:
    found = clf.evaluate(photos, split="val")
    rows = found.worst(100)
    losses = [row.loss for row in rows]
    assert losses == sorted(losses, reverse=True)
    assert len(rows) == 15
    assert sum(losses) / 15 == pytest.approx(found.figures.nll)
    assert sum(row.pred == row.target for row in rows) / 15 == pytest.approx(found.figures.top1)
    for row in found.worst(3):
        assert row.target == Path(row.path).parent.name
        assert 0 < row.prob <= 1
    with pytest.raises(ArgumentError, match="expected n >= 1, found 0"):
        found.worst(0)


def test_an_unknown_option_gets_the_nearest_names(clf, photos: Path) -> None:
    for call, option in (
        (lambda **o: clf.evaluate(photos, **o), "spilt"),
        (lambda **o: clf.export("onnx", **o), "precison"),
        (clf.serve, "max_bach"),
    ):
        with pytest.raises(UnknownNameError, match=f"found '{option}'; the nearest names are:"):
            call(**{option: 1})


def test_an_export_makes_its_folder_or_says_why_not(clf, photos: Path, tmp_path: Path) -> None:
    options = {"data": photos, "samples": 2}
    assert clf.export("torch", tmp_path / "new" / "model.pt2", **options).file.is_file()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="expected a folder for the exported file"):
        clf.export("torch", tmp_path / "file" / "model.pt2", **options)
    with pytest.raises(ConfigError, match=r"expected --output to end in \.pt2"):
        clf.export("torch", tmp_path / "model.bin")


# serving


def test_it_serves_from_a_thread_that_has_a_loop_as_notebooks_do(
    clf, pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    from softonce.serving import server

    built: list[server.Server] = []
    build = server.build_server

    def remember(*args: Any) -> server.Server:
        built.append(build(*args))
        return built[0]

    monkeypatch.setattr(server, "build_server", remember)

    def ask() -> dict:
        deadline = time.monotonic() + 60
        while not (built and built[0].started) and time.monotonic() < deadline:
            time.sleep(0.01)
        port = built[0].servers[0].sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}/v1/predict"
        try:
            answer = httpx.post(url, content=pictures[0].read_bytes(), timeout=60)
        finally:
            built[0].should_exit = True
        return answer.json()["predictions"][0]

    async def notebook() -> None:
        clf.serve(port=0, quiet=True)

    with ThreadPoolExecutor(1) as client:
        record = client.submit(ask)
        asyncio.run(notebook())
        assert record.result()["class"] == clf(pictures[0])[0].pred


# types


SAMPLE = """
    from pathlib import Path

    import numpy as np
    import softonce
    from softonce import Classifier, Evaluation, Prediction, Predictions

    clf = Classifier.load("run", engine="torch")
    found = clf(["a.jpg", b"", np.zeros((8, 8))], top_k=2, emit="logits", tta="flip")
    reveal_type(found)
    reveal_type(found[0])
    reveal_type(found[1:])
    row = found[0]
    reveal_type((row.pred, row.index, row.prob, row.path, row.error, row.top[0]["prob"]))
    reveal_type((row.probs, row.logits))
    reveal_type((found.probs, found.to_dict()["predictions"][0]["pred"], found.show()))
    evaluation = clf.evaluate("photos", split="val")
    reveal_type(evaluation)
    reveal_type((evaluation.figures.top1, evaluation.worst(3)[0].loss))
    reveal_type((clf.network, clf.classes, clf.temperature, clf.preprocess("a.jpg")))
    reveal_type((clf.preprocessing.size, clf.metadata.arch, clf.export().file))
    reveal_type(softonce.predict("run", "a.jpg"))
    reveal_type(next(softonce.predict(softonce.PredictConfig(Path("run"), ("a.jpg",))))["pred"])
    reveal_type(softonce.train("photos", epochs=1).classifier)
    clf(3)
    clf("a.jpg", emit="scores")
    clf("a.jpg", topk=3)
    row.prob = 1.0
    row.label
"""

REVEALED = [
    "softonce.prediction.results.Predictions",
    "softonce.prediction.results.Prediction",
    "softonce.prediction.results.Predictions",
    "tuple[str | None, int | None, float | None, str | None, str | None, float]",
    "tuple[numpy.ndarray[tuple[Any, ...], numpy.dtype[numpy.fl",
    "tuple[numpy.ndarray[",
    "softonce.evaluation.result.Evaluation",
    "tuple[float, float]",
    "tuple[torch.nn.modules.module.Module, tuple[str, ...], float, torch._tensor.Tensor]",
    "tuple[int, str, pathlib.Path]",
    "softonce.prediction.results.Predictions",
    "int | None",
    "softonce.classifier.Classifier",
]

ERRORS = [
    'Argument 1 to "__call__" of "Classifier" has incompatible type "int"',
    'Argument "emit" to "__call__" of "Classifier" has incompatible type',
    'Unexpected keyword argument "topk"',
    'Property "prob" defined in "Prediction" is read-only',
    '"Prediction" has no attribute "label"',
]


def test_mypy_sees_every_field_and_every_mistake(tmp_path: Path) -> None:
    (tmp_path / "sample.py").write_text(textwrap.dedent(SAMPLE))
    sample = tmp_path / "sample.py"
    # From the root, where the check of the package has left its cache.
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(sample)]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    revealed = re.findall(r'Revealed type is "(.*)"', done.stdout.replace("builtins.", ""))
    assert len(revealed) == len(REVEALED), done.stdout
    for found, expected in zip(revealed, REVEALED, strict=True):
        assert found.startswith(expected[:60]), (found, expected)
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert len(errors) == len(ERRORS), done.stdout
    for line, message in zip(errors, ERRORS, strict=True):
        assert message in line


def _write_network(path: Path) -> None:
    model = softonce.create_model("cifar_resnet20", num_classes=2)
    arch, arch_args = architecture_of(model)
    metadata = Metadata(
        arch=arch, arch_args=arch_args, classes=("<b>", "cat"), preprocessing=Preprocessing(size=8)
    )
    write_artefact(path, model.state_dict(), metadata)


def test_class_names_are_escaped_too(tmp_path: Path) -> None:
    _write_network(tmp_path / "model.safetensors")
    page = Classifier.load(tmp_path)(np.zeros((8, 8), np.uint8))._repr_html_()
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
