"""The report page: complete, self-contained, escaped, and written whole."""

from __future__ import annotations

import dataclasses
import functools
import io
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import pytest
import torch
from PIL import Image

from softonce import metrics
from softonce.errors import StorageError
from softonce.report import Mistake, Report, charts, page, write_report
from softonce.report.page import ConfusedPictures, FirstBatch

if TYPE_CHECKING:
    from pathlib import Path

EVIL = "<script>alert(1)</script>"
CLASSES = ["airplane", "고양이", EVIL, "dog", "eel", "fish", "goat"]


def thumbnail() -> bytes:
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(picture, "JPEG")
    return picture.getvalue()


EVIL_MISTAKE = Mistake(
    path='a"><b onclick=1>',
    target=1,
    pred=2,
    prob=0.98,
    thumbnail=thumbnail(),
    lit=(thumbnail(), thumbnail()),
)


@functools.cache
def figures(num_classes: int = 7, *, temperature: float = 1.0, absent: int = 0) -> metrics.Figures:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(120, num_classes, generator=generator) * 2
    target = torch.randint(num_classes - absent, (120,), generator=generator)
    rows = metrics.score_rows(logits, target, temperature=temperature)
    classes = CLASSES if num_classes == 7 else [f"kind {index}" for index in range(num_classes)]
    return metrics.figures(rows, classes, num_resamples=20)


def history(*, lowest: float = 0.4) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for epoch in range(1, 6):
        loss = lowest + 2 / epoch
        common = {"step": 9 * epoch, "epoch": epoch}
        rows.append({**common, "split": "train", "loss": loss, "lr": 0.1})
        rows.append({**common, "split": "val", "nll": loss + 0.1, "top1": 0.5})
    return rows


def full_report(**changes: Any) -> Report:
    report = Report(
        title="Seven kinds",
        classes=CLASSES,
        headline={"model": "resnet20", "data": f"folder/{EVIL}"},
        figures=figures(temperature=1.3),
        uncalibrated=figures(),
        temperature=1.3,
        split="test",
        history=history(),
        first_batch=FirstBatch(thumbnail(), f"dog; {EVIL}"),
        mistakes=[EVIL_MISTAKE],
        about_light=f"Bright is where {EVIL} is.",
        confused=[ConfusedPictures({"target": 1, "pred": 2, "count": 3}, [EVIL_MISTAKE] * 2)],
        bad_files=[{"path": "data/사진.png", "reason": f"{EVIL} is no image"}],
        leaks=[("train/1.png", f"test/{EVIL}")],
        notes=[f"a note about {EVIL}"],
        config_toml=f'model = "{EVIL}"\n',
        versions={"torch": EVIL},
        speed={"evaluation": "1,234 img/s"},
    )
    return dataclasses.replace(report, **changes)


def bare_report(**changes: Any) -> Report:
    report = Report(
        title="Bare",
        classes=CLASSES,
        headline={},
        figures=figures(),
        temperature=1.0,
        split="val",
    )
    return dataclasses.replace(report, **changes)


class Page(HTMLParser):
    """What a browser would see: the elements with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data + " "

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)

    def values(self, attribute: str) -> list[str]:
        return [attrs[attribute] or "" for _, attrs in self.elements if attribute in attrs]


def written(report: Report, folder: Path) -> Page:
    write_report(report, folder / "report.html")
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_page_asks_for_nothing_and_runs_nothing(tmp_path: Path) -> None:
    seen = written(full_report(), tmp_path)
    tags = {tag for tag, _ in seen.elements}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    addresses = [*seen.values("src"), *seen.values("href"), *seen.values("xlink:href")]
    assert addresses
    assert all(address.startswith(("data:image/jpeg;base64,", "#")) for address in addresses)
    assert not any(name.startswith("on") for _, attrs in seen.elements for name in attrs)
    assert "@import" not in seen.text
    assert "url(" not in seen.text
    assert "default-src 'none'" in seen.values("content")[2]


def test_text_of_the_user_is_shown_and_never_markup(tmp_path: Path) -> None:
    seen = written(full_report(), tmp_path)
    assert seen.text.count(EVIL) >= 9
    assert 'a"><b onclick=1>' in seen.text
    assert "고양이" in seen.text
    assert seen.count("script") == 0
    raw = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in raw


def test_every_section_is_there(tmp_path: Path) -> None:
    seen = written(full_report(), tmp_path)
    raw = (tmp_path / "report.html").read_text(encoding="utf-8")
    headings = [part.split("</h2>")[0] for part in raw.split("<h2>")[1:]]
    assert headings == [
        "Figures",
        "Training",
        "Calibration",
        "Confusion",
        "Worst mistakes",
        "Classes",
        "Data",
        "Notes",
        "Speed",
        "Configuration",
        "Versions",
    ]
    assert "The network ends in logits and has no softmax of its own" in seen.text
    assert seen.count("svg") == 5
    assert len(seen.values("aria-label")) == 5


def test_a_bare_report_leaves_out_what_it_does_not_have(tmp_path: Path) -> None:
    seen = written(bare_report(), tmp_path)
    for absent in ("Training", "Worst mistakes", "Notes", "Configuration", "At temperature 1"):
        assert absent not in seen.text
    assert "Every file could be read." in seen.text
    assert "No image was found in two splits." in seen.text
    assert seen.count("svg") == 1


def test_figures_stand_beside_their_intervals_and_explanations(tmp_path: Path) -> None:
    report = full_report()
    text = written(report, tmp_path).text
    assert f"{100 * report.figures.top1:.1f} % are classified correctly" in text
    low, high = report.figures.intervals["nll"]
    assert f"{report.figures.nll:.4f} {low:.4f} to {high:.4f}" in text
    assert f"{report.uncalibrated.ece:.4f}" in text
    assert "1.946 is what guessing evenly costs" in text
    assert "of the answers given with 80 % confidence, 80 % are right" in text


def test_top5_is_left_out_where_it_is_always_right(tmp_path: Path) -> None:
    few = bare_report(figures=figures(5), classes=[f"kind {index}" for index in range(5)])
    assert "Top-5" not in written(few, tmp_path).text
    assert "Top-5" in written(bare_report(), tmp_path).text


def test_figures_without_intervals_have_no_word_about_them(tmp_path: Path) -> None:
    plain = dataclasses.replace(figures(), intervals={})
    assert "bootstrap" not in written(bare_report(figures=plain), tmp_path).text


def test_ids_of_the_charts_are_unique_and_their_references_resolve(tmp_path: Path) -> None:
    seen = written(full_report(), tmp_path)
    ids = seen.values("id")
    assert len(ids) == len(set(ids))
    assert {address[1:] for address in seen.values("xlink:href") if address[0] == "#"} <= set(ids)


def test_the_same_report_gives_the_same_bytes(tmp_path: Path) -> None:
    write_report(full_report(), tmp_path / "one.html")
    write_report(full_report(), tmp_path / "two.html")
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_confusion_is_a_heat_map_of_every_cell(tmp_path: Path) -> None:
    report = full_report()
    seen = written(report, tmp_path)
    cells = [style for style in seen.values("style") if style.startswith("--shade")]
    assert len(cells) == 49
    assert f"고양이 → dog: {report.figures.confusion[1][3]} " in " ".join(seen.values("title"))


def test_many_classes_show_the_most_confused_pairs_and_the_weakest_classes(tmp_path: Path) -> None:
    classes = [f"kind {index}" for index in range(50)]
    result = figures(50, absent=3)
    seen = written(bare_report(figures=result, classes=classes), tmp_path)
    pair = result.confused_pairs[0]
    assert f"{classes[pair['target']]} {classes[pair['pred']]} {pair['count']}" in seen.text
    assert "The 20 classes with the lowest F1:" in seen.text
    assert "All 50 classes, by F1" in seen.text
    assert not any(style.startswith("--shade") for style in seen.values("style"))


def test_very_many_classes_are_cut_off_and_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "MAX_CLASS_ROWS", 30)
    classes = [f"kind {index}" for index in range(50)]
    seen = written(bare_report(figures=figures(50), classes=classes), tmp_path)
    assert "The 30 classes with the lowest F1, of 50" in seen.text


def test_weakest_classes_come_first_and_absent_ones_last() -> None:
    per_class = figures(50, absent=40).per_class
    ranked = [row["f1"] for row in page._weakest(per_class)]
    defined = [f1 for f1 in ranked if f1 is not None]
    assert ranked[: len(defined)] == sorted(defined)


def test_a_perfect_classifier_of_many_classes_has_no_confusion(tmp_path: Path) -> None:
    rows = metrics.score_rows(torch.eye(41) * 9, torch.arange(41))
    classes = [f"kind {index}" for index in range(41)]
    perfect = metrics.figures(rows, classes, num_resamples=0)
    seen = written(bare_report(figures=perfect, classes=classes), tmp_path)
    assert "No image was confused with another class." in seen.text


def test_undefined_figures_are_a_dash(tmp_path: Path) -> None:
    rows = metrics.score_rows(torch.eye(7), torch.zeros(7, dtype=torch.long))
    lone = metrics.figures(rows, CLASSES, num_resamples=0)
    assert "dog 0 0.0 % – 0.0" in written(bare_report(figures=lone), tmp_path).text


def test_long_lists_are_cut_off_and_counted(tmp_path: Path) -> None:
    bad_files = [{"path": f"{index}.png", "reason": "no image"} for index in range(1234)]
    seen = written(bare_report(bad_files=bad_files), tmp_path)
    assert "1,234 files could not be read" in seen.text
    assert "And 1,034 more." in seen.text
    assert "200.png" not in seen.text


def test_a_file_name_that_is_no_utf8_is_shown_as_an_escape(tmp_path: Path) -> None:
    bad_files = [{"path": b"caf\xe9.png".decode("utf-8", "surrogateescape"), "reason": "no image"}]
    assert r"caf\udce9.png" in written(bare_report(bad_files=bad_files), tmp_path).text


def test_a_mistake_without_a_thumbnail_has_no_picture(tmp_path: Path) -> None:
    mistakes = [Mistake(path="gone.png", target=0, pred=3, prob=0.9, thumbnail=b"")]
    seen = written(bare_report(mistakes=mistakes), tmp_path)
    assert seen.count("img") == 0
    assert "dog, 90.0 % is airplane gone.png" in seen.text


def test_a_mistake_shows_where_the_evidence_for_each_class_lies(tmp_path: Path) -> None:
    """Without a script: radio buttons stand before the pictures, and the style follows them."""
    seen = written(full_report(), tmp_path)
    inputs = [attrs for tag, attrs in seen.elements if tag == "input"]
    assert [attrs["type"] for attrs in inputs] == ["radio"] * 3
    assert ["checked" in attrs for attrs in inputs] == [True, False, False]
    assert seen.values("for") == [attrs["id"] for attrs in inputs]
    assert {f"Evidence for {EVIL}", "Evidence for 고양이"} <= set(seen.values("alt"))


def test_why_it_is_not_known_where_the_network_looked_is_told(tmp_path: Path) -> None:
    plain = dataclasses.replace(EVIL_MISTAKE, lit=())
    about = "Where the network looked is not shown: an exported file."
    seen = written(bare_report(mistakes=[plain], about_light=about), tmp_path)
    assert about in seen.text
    assert seen.count("input") == 0


def test_confused_pairs_are_shown_with_pictures(tmp_path: Path) -> None:
    text = written(full_report(), tmp_path).text
    assert f"고양이 taken for {EVIL}: 3 images" in text
    assert "taken for" not in written(bare_report(), tmp_path).text


def test_every_picture_has_a_text_in_its_place_or_is_named_beside(tmp_path: Path) -> None:
    seen = written(full_report(), tmp_path)
    assert seen.count("img") == len(seen.values("alt")) == 6
    assert f"Training images with their classes: dog; {EVIL}" in seen.values("alt")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([], "after cropping and augmentation."),
        (["label smoothing 0.1"], "after cropping and augmentation."),
        (["mixup"], "after cropping, augmentation and mixing."),
    ],
)
def test_caption_of_the_first_batch_tells_what_was_done(
    parts: list[str], words: str, tmp_path: Path
) -> None:
    assert words in written(full_report(loss_parts=parts), tmp_path).text


def test_page_is_replaced_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old", encoding="utf-8")
    assert written(bare_report(), tmp_path).count("h1") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_an_old_page_stays_where_the_new_one_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old", encoding="utf-8")
    broken = bare_report(bad_files=[{"path": "a record without a reason"}])
    with pytest.raises(Exception, match="has no attribute 'reason'"):
        write_report(broken, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == "old"


def test_a_folder_that_is_not_there_is_an_error_of_storage(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="expected to write"):
        write_report(bare_report(), tmp_path / "nowhere" / "report.html")


# training


def caption(report: Report, folder: Path) -> str:
    text = written(report, folder).text
    return text[text.index("Training ") : text.index("Calibration ")]


def only(split: str) -> list[dict[str, Any]]:
    return [row for row in history() if row["split"] == split]


def loss_line(svg: str, variable: str) -> bool:
    return f"stroke: var(--{variable})" in svg


def test_loss_of_train_and_val_stand_in_one_chart(tmp_path: Path) -> None:
    context = page._training(full_report())
    assert "loss (nats)" in context["curves"][0]
    assert loss_line(context["curves"][0], "first")
    assert loss_line(context["curves"][0], "second")
    text = caption(full_report(), tmp_path)
    assert "The loss of val is the negative log-likelihood after the epoch" in text
    assert "If val rises again while train falls, the network overfits." in text


@pytest.mark.parametrize(("split", "other"), [("train", "val"), ("val", "train")])
def test_caption_tells_only_of_the_lines_that_are_drawn(
    split: str, other: str, tmp_path: Path
) -> None:
    text = caption(full_report(history=only(split)), tmp_path)
    assert f"The loss of {split} is" in text
    assert f"The loss of {other} is" not in text
    assert "overfits" not in text


def test_caption_names_what_else_the_loss_of_train_contains(tmp_path: Path) -> None:
    parts = ["label smoothing 0.1", "mixup"]
    text = caption(full_report(loss_parts=parts, history=history(lowest=1.0)), tmp_path)
    assert "contains label smoothing 0.1, mixup." in text
    assert "at temperature 1 and without these." in text
    assert "contains" not in caption(full_report(), tmp_path)


@pytest.mark.parametrize(("lowest", "drawn"), [(1.5, True), (0.9, True), (1.0, True), (9.0, False)])
def test_floor_of_a_doubled_softmax_is_marked_and_told_where_the_loss_comes_near(
    lowest: float, drawn: bool, tmp_path: Path
) -> None:
    report = full_report(history=history(lowest=lowest))
    assert ("two softmaxes: 1.165" in page._training(report)["curves"][0]) == drawn
    assert ("1.165" in caption(report, tmp_path)) == drawn


def test_a_loss_of_other_parts_has_another_floor() -> None:
    report = full_report(history=history(lowest=1.0), loss_parts=["mixup"])
    assert page._training(report)["floor"] is None


def test_floor_above_every_loss_is_left_out() -> None:
    assert not charts.Lines.of(history(lowest=0.0), LOSS).reaches(2.5)


# what val has chosen, images of each class


def test_selection_is_told_before_the_figures(tmp_path: Path) -> None:
    text = written(full_report(selection="Val chose the epoch (3 of 9)."), tmp_path).text
    assert text.index("Val chose the epoch (3 of 9).") < text.index("Figures")


def test_images_of_every_class_and_split_are_counted(tmp_path: Path) -> None:
    images = {"train": [70, 7, 7, 7, 7, 7, 1200], "val": [1, 2, 3, 4, 5, 6, 7]}
    text = written(full_report(images=images), tmp_path).text
    assert (
        "Train holds between 7 and 1,200 images of a class: the largest class has 171 times" in text
    )
    assert "Class train val" in text
    assert "airplane 70 1" in text
    assert "goat 1,200 7" in text


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ([5, 5], "Train holds 5 images of each class."),
        ([1, 1], "Train holds 1 image of each class."),
        ([9, 10], "Train holds between 9 and 10 images of a class."),
        ([5, 10], "Train holds between 5 and 10 images of a class: the largest class has 2 times"),
    ],
)
def test_evenness_of_the_classes_is_one_sentence(counts: list[int], sentence: str) -> None:
    assert page._spread(counts).startswith(sentence)


def test_of_many_classes_the_smallest_are_shown_first_and_all_are_there(tmp_path: Path) -> None:
    classes = [f"kind {index}" for index in range(1000)]
    images = {"train": [2000 - index for index in range(1000)]}
    report = bare_report(figures=figures(1000), classes=classes, images=images)
    text = written(report, tmp_path).text
    data = text[text.index("Train holds between 1,001 and 2,000 images of a class") :]
    assert data.index("kind 999 1,001") < data.index("kind 980 1,020")
    assert "these are the 20 classes with the fewest images" in data
    first, rest = data.split("All 1,000 classes, by their number of images")
    assert "kind 979 1,021" not in first
    assert "kind 0 2,000" in rest


# charts

LOSS = {"train": "loss", "val": "nll"}
UP = "\N{UPWARDS ARROW}"


def loss_curve(rows: list[dict[str, Any]], floor: float | None = None) -> str:
    return charts.curve(
        charts.Lines.of(rows, LOSS), name="loss", label="loss", floor=floor, cuts_outlier=True
    )


def test_a_curve_without_values_is_nothing() -> None:
    missing = charts.Lines.of(history(), {"train": "ece"})
    assert charts.curve(missing, name="ece", label="ECE") == ""
    assert loss_curve([]) == ""


def test_values_that_are_not_finite_are_left_out() -> None:
    rows = history()
    healthy = loss_curve(rows)
    bad = [{**rows[0], "epoch": 6, "loss": value} for value in (math.nan, math.inf)]
    assert loss_curve([*rows, bad[0], {**bad[1], "epoch": 7}]) == healthy


def test_a_first_epoch_that_is_far_off_does_not_hide_the_later_ones() -> None:
    rows = history()
    assert charts.Lines.of(rows, LOSS).outlier() is None
    assert UP not in loss_curve(rows)
    far = [{**row, "nll": 99.0} if row.get("nll") and row["epoch"] == 1 else row for row in rows]
    assert charts.Lines.of(far, LOSS).outlier() == (1, 99.0)
    svg = loss_curve(far)
    assert f"99 {UP}" in svg
    ticks = [float(tick) for tick in re.findall(r">(\d\.\d)<", svg)]
    assert len(ticks) >= 3  # the axis is that of the others, not in tens
    assert max(ticks) < 4


def test_only_the_loss_is_cut_off() -> None:
    rates = [{**row, "lr": 0.1**epoch} for epoch, row in enumerate(only("train"))]
    curves = page._training(full_report(history=[*rates, *only("val")]))["curves"]
    assert len(curves) == 3
    assert not any(UP in svg for svg in curves)


@pytest.mark.parametrize("values", [[9.0], [9.0, 9.0], [0.0, 0.0], [5.0, -1.0], [1.0, 9.0]])
def test_a_short_or_flat_curve_is_drawn_whole(values: list[float]) -> None:
    rows = [{"step": n, "epoch": n, "split": "val", "nll": v} for n, v in enumerate(values)]
    assert charts.Lines.of(rows, LOSS).outlier() is None
    assert "<svg" in loss_curve(rows)


def test_a_curve_counts_epochs_where_each_has_one_row_and_steps_elsewhere() -> None:
    rows = history()
    assert ">epoch<" in loss_curve(rows)
    denser = [*rows, {"step": 50, "epoch": 5, "split": "train", "loss": 0.3}]
    assert ">step<" in loss_curve(denser)


def test_no_label_of_a_curve_is_turned_or_cut_off() -> None:
    """A browser's font may be wider than the one that matplotlib measures with."""
    svg = charts.curve(
        charts.Lines.of(history(), {"val": "top1"}), name="top1", label="top-1", as_percent=True
    )
    assert "rotate(-90)" not in svg
    assert ">top-1<" in svg
    assert "%<" in svg


def test_charts_take_their_colours_from_the_page() -> None:
    svg = loss_curve(history(), floor=1.461)
    for variable in ("--ink", "--muted", "--first", "--second"):
        assert f"var({variable})" in svg
    assert "#01010" not in svg


def test_charts_leave_matplotlib_as_it_was() -> None:
    before = dict(mpl.rcParams)
    with mpl.rc_context({"axes.facecolor": "red"}):
        charts.reliability(figures().reliability, name="one", title="one")
        assert mpl.rcParams["axes.facecolor"] == "red"
    assert dict(mpl.rcParams) == before


def test_writing_a_report_needs_no_pyplot() -> None:
    code = "import sys, softonce.report; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_long_history_is_drawn_without_a_warning() -> None:
    rows = [
        {"step": step, "epoch": 1, "split": "train", "loss": math.sin(step)}
        for step in range(20_000)
    ]
    svg = loss_curve(rows)
    assert ">step<" in svg
    assert len(svg) < 2_000_000
