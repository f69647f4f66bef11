"""What the report draws and tells of a run: its curves, its images, what val has chosen."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from reports import bare_report, figures, full_report, history, written

from softonce.report import Report, charts, page

LOSS = {"train": "loss", "val": "nll"}
UP = "\N{UPWARDS ARROW}"


def loss_curve(rows: list[dict[str, Any]], floor: float | None = None) -> str:
    return charts.curve(
        charts.Lines.of(rows, LOSS), name="loss", label="loss", floor=floor, cuts_outlier=True
    )


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
