"""The report page: complete, self-contained, escaped, and written whole."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from reports import (
    CLASSES,
    EVIL,
    EVIL_MISTAKE,
    bare_report,
    figures,
    full_report,
    written,
)

from softonce import metrics
from softonce.errors import StorageError
from softonce.report import Mistake, charts, page, write_report


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
    assert "No image was found in two splits or in two classes." in seen.text
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


def test_accuracy_against_coverage_is_drawn_to_its_last_point(tmp_path: Path) -> None:
    points = [(index / 5000, 1 - index / 50_000) for index in range(1, 5001)]
    seen = written(bare_report(coverage=points), tmp_path)
    assert seen.count("svg") == 2
    assert "Accuracy against coverage" in seen.values("aria-label")
    assert "finds the threshold that promises an accuracy" in seen.text
    svg = charts.coverage(points, name="coverage")
    assert len(svg) < 40_000
    assert charts.coverage(points[:-1], name="coverage") != svg


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
