"""What the verbs print, and the records that other programs read."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from training.runs import small

from softonce import EvaluateConfig, create_model, evaluate, load, predict, train
from softonce.cli import app
from softonce.cli.app import main
from softonce.config.toml import from_toml
from softonce.config.train import TrainConfig
from softonce.drawing import folder
from softonce.inference import probs

PREDICTION_KEYS = ["path", "pred", "class", "prob", "top", "error"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, make_photos) -> tuple[Path, Path]:
    """Return (data, artefact) of a network that has learned a little."""
    root = tmp_path_factory.mktemp("trained")
    data = root / "photos"
    make_photos(data / "train")
    make_photos(data / "val", per_class=5)
    result = train(small(data, root / "run", epochs=6, lr=0.02, checkpoint_seconds=60.0))
    return data, result.artefact


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]):
    """Return `printed(*tokens, status=0)`: what a command puts on standard output."""

    def run(*tokens: object, status: int = 0) -> str:
        capsys.readouterr()
        assert main([str(token) for token in tokens]) == status
        return capsys.readouterr().out

    return run


def pictures(data: Path) -> list[Path]:
    return sorted((data / "val").rglob("*.jpg"))


# predict


def test_jsonl_has_the_documented_record(trained, printed) -> None:
    data, artefact = trained
    lines = printed("predict", artefact, data / "val", "--format", "jsonl", "--top-k", 2)
    records = [json.loads(line) for line in lines.splitlines()]
    assert [Path(record["path"]) for record in records] == pictures(data)
    _, metadata = load(artefact)
    for record in records:
        assert list(record) == PREDICTION_KEYS
        assert [list(entry) for entry in record["top"]] == [["index", "class", "prob", "logit"]] * 2
        first = record["top"][0]
        assert (record["pred"], record["class"], record["prob"]) == (
            first["index"], first["class"], first["prob"],
        )  # fmt: skip
        assert metadata.classes[record["pred"]] == record["class"]
    right = sum(Path(record["path"]).parent.name == record["class"] for record in records)
    found = evaluate(EvaluateConfig((artefact, data))).figures
    assert right / len(records) == pytest.approx(found.top1)


def test_probabilities_are_the_calibrated_softmax_of_all_logits(trained, printed) -> None:
    data, artefact = trained
    line = printed("predict", artefact, pictures(data)[0], "--format", "jsonl", "--top-k", 3)
    top = sorted(json.loads(line)["top"], key=lambda entry: entry["index"])
    _, metadata = load(artefact)
    logits = torch.tensor([[entry["logit"] for entry in top]])
    expected = probs(logits, temperature=metadata.temperature)[0].tolist()
    assert [entry["prob"] for entry in top] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("emit", "value"), [("probs", "prob"), ("logits", "logit")])
def test_csv_has_the_columns_of_its_ranks(emit: str, value: str, trained, printed) -> None:
    data, artefact = trained
    picture = pictures(data)[0]
    options = ("--format", "csv", "--emit", emit, "--top-k", 2)
    (row,) = csv.DictReader(io.StringIO(printed("predict", artefact, picture, *options)))
    assert list(row) == ["path", "class_1", f"{value}_1", "class_2", f"{value}_2", "error"]
    line = printed("predict", artefact, picture, "--format", "jsonl")
    assert float(row[f"{value}_1"]) == pytest.approx(json.loads(line)["top"][0][value], rel=1e-6)


def test_a_table_shows_path_class_and_probability(trained, printed) -> None:
    data, artefact = trained
    lines = printed("predict", artefact, pictures(data)[0]).splitlines()
    assert lines[0].split() == ["path", "class", "prob", "next"]
    assert lines[1].startswith(str(pictures(data)[0]))
    assert "%" in lines[1]


@pytest.mark.parametrize("named", ["folder", "pattern", "files", "stdin"])
def test_images_are_named_in_four_ways(
    named: str, trained, printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, artefact = trained
    folder = data / "val" / "bees"
    files = sorted(folder.iterdir())
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{path}\n" for path in files)))
    ways = {"folder": [folder], "pattern": [folder / "*.jpg"], "files": files, "stdin": ["-"]}
    lines = printed("predict", artefact, *ways[named], "--format", "jsonl").splitlines()
    assert [json.loads(line)["path"] for line in lines] == [str(path) for path in files]


@pytest.mark.parametrize("form", ["jsonl", "csv", "table"])
def test_a_bad_image_has_a_record_and_status_1(form: str, trained, printed, tmp_path: Path) -> None:
    data, artefact = trained
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    good = pictures(data)[0]
    text = printed("predict", artefact, bad, tmp_path / "no.jpg", good, "--format", form, status=1)
    if form == "jsonl":
        first, second, third = (json.loads(line) for line in text.splitlines())
        assert (first["pred"], first["class"], first["prob"], first["top"]) == (None,) * 3 + ([],)
        assert first["error"]
        assert second["error"]
        assert third["error"] is None
    else:
        assert str(bad) in text
        assert str(good) in text


# predict --show


def test_pictures_are_shown_upright_above_what_the_record_says(
    trained, printed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upper part is the picture; the words are those of the record."""
    written: list[list[str]] = []
    real = folder.with_caption

    def with_caption(image: Image.Image, lines: list[str], **options: int) -> Image.Image:
        written.append(lines)
        return real(image, lines, **options)

    monkeypatch.setattr(folder, "with_caption", with_caption)
    sideways = tmp_path / "sideways.jpg"
    picture = Image.new("RGB", (400, 300), "blue")
    picture.paste("red", (0, 0, 400, 100))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees: the red band belongs to the right
    picture.save(sideways, exif=exif)
    text = printed(
        "predict",
        trained[1],
        sideways,
        "--show",
        tmp_path / "seen",
        "--top-k",
        3,
        "--format",
        "jsonl",
    )
    with Image.open(tmp_path / "seen" / "sideways.jpg") as shown:
        assert shown.width == 300
        assert shown.height > 400
        assert shown.getpixel((250, 200))[0] > 200
        assert shown.getpixel((50, 200))[2] > 200
        assert shown.getpixel((150, 398))[2] > 200
    first, *others = json.loads(text)["top"]
    assert written == [
        [
            f"{first['class']}: {first['prob']:.2%}",
            ", ".join(f"{entry['class']}: {entry['prob']:.2%}" for entry in others),
        ]
    ]


@pytest.mark.parametrize("emit", ["probs", "logits"])
def test_unreadable_files_stay_errors_and_have_no_picture(
    emit: str, trained, printed, tmp_path: Path
) -> None:
    data, artefact = trained
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    named = (bad, data / "val", "--show", tmp_path / "seen", "--format", "jsonl", "--emit", emit)
    lines = printed("predict", artefact, *named, status=1).splitlines()
    records = [json.loads(line) for line in lines]
    assert records[0]["error"]
    assert len(records) == 16
    assert len(list((tmp_path / "seen").iterdir())) == 15  # 00.jpg of three classes among them


def test_show_is_an_option_of_the_function_too(trained, tmp_path: Path) -> None:
    data, artefact = trained
    found = predict(
        artefact, [data / "val" / "ants", Image.new("RGB", (20, 20))], show=tmp_path / "seen"
    )
    assert len(list((tmp_path / "seen").iterdir())) == len(found) == 6


def test_pictures_are_never_written_over_the_images(
    trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, artefact = trained
    before = {path: path.read_bytes() for path in pictures(data)}
    place = data / "val" / "ants"
    assert main(["predict", str(artefact), str(place), "--show", str(place)]) == 2
    assert "expected an empty or a new folder for the annotated pictures" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in pictures(data)} == before


MANIFESTS = {
    "plain.csv": "path,label\n{0},ants\n{1},bees\n",
    "only paths.CSV": "\ufeffid,path\n1,{0}\n2,{1}\n",
    "rows.jsonl": '{{"path": "{0}"}}\n\n{{"path": "{1}", "label": 3}}\n',
}


@pytest.mark.parametrize("name", list(MANIFESTS))
def test_a_manifest_stands_for_its_paths(name: str, trained, printed, tmp_path: Path) -> None:
    data, artefact = trained
    image = pictures(data)[0]
    (tmp_path / "near.jpg").write_bytes(image.read_bytes())
    (tmp_path / name).write_text(MANIFESTS[name].format("near.jpg", image), encoding="utf-8")
    lines = printed("predict", artefact, tmp_path / name, "--format", "jsonl")
    records = [json.loads(line) for line in lines.splitlines()]
    assert [record["path"] for record in records] == [str(tmp_path / "near.jpg"), str(image)]
    assert records[0]["top"] == records[1]["top"]
    assert [row.path for row in predict(artefact, tmp_path / name)] == [r["path"] for r in records]


@pytest.mark.parametrize(
    ("text", "message"),
    [("size,label\n7,x\n", "expected a column for each path in the first line of"),
     ("path,label\n,x\n", "expected a path in line 2 of")],
)  # fmt: skip
def test_a_manifest_without_paths_is_named(
    text: str, message: str, trained, tmp_path: Path, capsys
) -> None:
    (tmp_path / "list.csv").write_text(text)
    assert main(["predict", str(trained[1]), str(tmp_path / "list.csv")]) == 2
    assert message in capsys.readouterr().err


# evaluate


def test_json_has_the_documented_record(trained, printed) -> None:
    data, artefact = trained
    record = json.loads(printed("evaluate", artefact, data, "--json"))
    documented = {
        "split", "n", "top1", "top5", "nll", "brier", "ece", "temperature", "intervals",
        "per_class", "bad_files",
    }  # fmt: skip
    assert documented <= set(record)
    assert (record["split"], record["n"]) == ("val", 15)
    assert record["top1"] >= 0.6
    assert record["intervals"]["top1"][0] <= record["top1"] <= record["intervals"]["top1"][1]


def test_every_name_gets_a_record_even_if_it_stands_for_nothing(trained, printed, tmp_path) -> None:
    data, artefact = trained
    (tmp_path / "notes.txt").write_text("no picture")
    image, pattern = pictures(data)[0], tmp_path / "x*.jpg"
    lines = printed("predict", artefact, image, pattern, tmp_path, "--format", "jsonl", status=1)
    records = [json.loads(line) for line in lines.splitlines()]
    assert [record["path"] for record in records] == [str(p) for p in (image, pattern, tmp_path)]
    errors = [record["error"] for record in records]
    expected = [None, "a pattern that matches no file", "a folder without images"]
    assert errors == expected
    printed("predict", artefact, pattern, status=1)
    printed("predict", artefact, tmp_path, status=1)


def test_a_folder_that_lacks_a_class_shifts_nothing(
    trained, make_photos, printed, tmp_path: Path
) -> None:
    data, artefact = trained
    for path in pictures(data):
        if path.parent.name != "ants":  # the first, which would shift the others
            copy = tmp_path / "some" / path.relative_to(data / "val")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    whole = json.loads(printed("evaluate", artefact, data, "--json"))
    some = json.loads(printed("evaluate", artefact, tmp_path / "some", "--split", "all", "--json"))
    assert some["n"] == 10
    assert [row["recall"] for row in some["per_class"][1:]] == [
        row["recall"] for row in whole["per_class"][1:]
    ]


def test_all_of_a_folder_with_splits_is_every_split(trained, printed) -> None:
    data, artefact = trained
    record = json.loads(printed("evaluate", artefact, data, "--split", "all", "--json"))
    assert (record["split"], record["n"]) == ("all", 36 + 15)
    text = printed("evaluate", artefact, data, "--split", "all")
    assert text.startswith("51 images of all, 36 of them trained on, 3 classes\n")


def test_top5_of_few_classes_is_not_shown_and_one_image_is_no_plural(
    trained, printed, tmp_path: Path
) -> None:
    data, artefact = trained
    (tmp_path / "one" / "ants").mkdir(parents=True)
    (tmp_path / "one" / "ants" / "a.jpg").write_bytes(pictures(data)[0].read_bytes())
    text = printed("evaluate", artefact, tmp_path / "one", "--split", "all")
    assert "1 image of all, 3 classes" in text
    assert "top-1" in text
    assert "top-5" not in text  # of three classes the right one is always among the first five


def test_a_report_is_written_where_asked(trained, printed, tmp_path: Path) -> None:
    data, artefact = trained
    page = tmp_path / "page.html"
    assert f"report: {page}" in printed("evaluate", artefact, data, "--report", page)
    assert "Confusion" in page.read_text()


def test_foreign_weights_are_measured_on_their_own_classes(
    trained, printed, tmp_path: Path
) -> None:
    data, artefact = trained
    model, metadata = load(artefact)
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    torch.save({"state_dict": state, "best": 1}, tmp_path / "foreign.pth")
    options = ("--model", metadata.arch, "--weights", tmp_path / "foreign.pth", "--size", 16)
    foreign = json.loads(printed("evaluate", data, *options, "--json"))
    ours = json.loads(printed("evaluate", artefact, data, "--json"))
    assert foreign["temperature"] == 1.0
    assert foreign["top1"] == ours["top1"]
    assert foreign["nll"] == pytest.approx(ours["uncalibrated"]["nll"], rel=1e-6)


def test_weights_for_other_classes_are_refused(trained, tmp_path: Path, capsys) -> None:
    data, _ = trained
    torch.save(create_model("cifar_resnet20", num_classes=7).state_dict(), tmp_path / "a.pth")
    tokens = f"evaluate {data} --model cifar_resnet20 --weights {tmp_path / 'a.pth'}"
    assert main(tokens.split()) == 2
    assert "expected weights for 3 classes" in capsys.readouterr().err


# the folder of a run


@pytest.mark.parametrize("verb", ["evaluate", "predict", "inspect"])
def test_a_run_folder_is_taken_as_its_artefact_is(verb: str, trained, printed) -> None:
    data, artefact = trained
    images = {"evaluate": [data], "predict": pictures(data), "inspect": []}[verb]
    options = ["--format", "jsonl"] if verb == "predict" else ["--json"]
    expected = printed(verb, artefact, *images, *options)
    assert printed(verb, artefact.parent, *images, *options) == expected


def test_an_export_lies_beside_the_model_file_of_the_run(trained, printed) -> None:
    _, artefact = trained
    printed("export", artefact.parent, "--to", "torch", "--samples", 3)
    exported = artefact.with_suffix(".pt2")
    assert exported.is_file()
    exported.unlink()


def test_the_weights_of_a_run_are_evaluated_by_its_folder(trained, printed) -> None:
    data, artefact = trained
    model = ["--model", "cifar_resnet20", "--size", 16, "--json", "--weights"]
    assert printed("evaluate", data, *model, artefact.parent) == printed(
        "evaluate", data, *model, artefact
    )


def test_swapped_arguments_name_the_classifier(trained, capsys) -> None:
    data, artefact = trained
    for verb in ("evaluate", "predict"):
        assert main([verb, str(data), str(artefact)]) == 2
        assert "name the classifier first, then the images" in capsys.readouterr().err


# inspect, train


def test_inspect_shows_what_an_artefact_is(trained, printed) -> None:
    _, artefact = trained
    text = printed("inspect", artefact)
    for part in ("cifar_resnet20", "ants, bees, wasps", "size 16", "logits"):
        assert part in text
    record = json.loads(printed("inspect", artefact, "--json"))
    assert record["classes"] == ["ants", "bees", "wasps"]
    assert record["output"] == "logits"


def test_the_command_line_wins_over_the_toml_file(photos: Path, tmp_path: Path, printed) -> None:
    lines = ['model = "cifar_resnet20"', "size = 16", "epochs = 1", "lr = 0.5", "workers = 0"]
    (tmp_path / "a.toml").write_text("\n".join([f'data = "{photos}"', *lines]))
    printed("train", "--config", tmp_path / "a.toml", "--lr", 0.01, "--output", tmp_path / "run")
    saved = from_toml(tmp_path / "run" / "config.toml", TrainConfig)
    assert (saved.lr, saved.epochs, saved.model) == (0.01, 1, "cifar_resnet20")


@pytest.mark.parametrize(
    ("words", "before", "found"),
    [
        (["train"], None, "1"),
        (["train"], "0", "0"),  # somebody's own setting stays
        (["watch", "train.py"], None, None),  # and somebody else's program is left alone
    ],
)
def test_large_tensors_lie_in_huge_pages(
    monkeypatch: pytest.MonkeyPatch, words: list[str], before: str | None, found: str | None
) -> None:
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", before or "")
    if before is None:
        monkeypatch.delenv("THP_MEM_ALLOC_ENABLE")
    monkeypatch.setattr(sys, "argv", ["softonce", *words])
    monkeypatch.setattr(app, "main", lambda: 0)
    with pytest.raises(SystemExit):
        app.run()
    assert os.environ.get("THP_MEM_ALLOC_ENABLE") == found
