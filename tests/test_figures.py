"""One source of figures: the pages say what the dated results say, and nothing else is a figure."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest

from benchmarks import figures

ROOT = Path(__file__).parents[1]
RESULTS = figures.read_results()
TABLES = ["figures short", "figures long", "trainers short", "losses short", "checkers short"]
MEASURED = re.compile(r"\d[\d.,]*\s?(?:%|x\b|배|ms\b|s\b|초|MiB\b|images/s|img/s)")
pages = pytest.mark.parametrize("name", figures.PAGES)


@pages
def test_a_page_says_what_the_results_say(name: str) -> None:
    page = (ROOT / name).read_text(encoding="utf-8")
    again = figures.fill_page(page, figures.PAGES[name], RESULTS)
    assert again == page, "run: python benchmarks/figures.py --write"


@pages
def test_a_figure_stands_in_a_generated_table_only(name: str) -> None:
    prose = figures._BLOCK.sub("", (ROOT / name).read_text(encoding="utf-8"))
    prose = re.sub(r"```.*?```", "", prose, flags=re.DOTALL)  # output, which other tests execute
    assert MEASURED.findall(prose) == []


def test_another_result_makes_another_page() -> None:
    changed = copy.deepcopy(RESULTS)
    vars(changed).pop("figures", None)
    for _, record in changed.newest.values():
        record["ratios"] = {name: 1.1 * ratio for name, ratio in record["ratios"].items()}
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert figures.fill_page(page, "en", changed) != page


@pytest.mark.parametrize("table", TABLES)
def test_both_languages_have_the_same_numbers_in_the_same_cells(table: str) -> None:
    numbers = [
        [
            re.findall(r"\d+(?:[.,]\d+)*", cell)
            for line in figures.tables_of(RESULTS, table, language).splitlines()
            for cell in line.split("|")
        ]
        for language in ("en", "ko")
    ]
    assert [sorted(cell) for cell in numbers[0]] == [sorted(cell) for cell in numbers[1]]


def test_every_figure_is_shown_somewhere() -> None:
    text = (ROOT / "benchmarks/tables.toml").read_text(encoding="utf-8")
    assert [name for name in RESULTS.tables["figure"] if f"{{{name}}}" not in text] == []


def test_the_evidence_that_lies_here_exists() -> None:
    text = (ROOT / "benchmarks/tables.toml").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:tests|benchmarks|docs)/[\w./]+)`", text)
    assert len(paths) >= 15
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_table_has_a_row_that_another_tool_wins() -> None:
    for name, table in RESULTS.tables["compare"].items():
        lost = [
            row
            for row in table["rows"]
            if "ko" in row
            and row["cells"][0].startswith(("no", "not"))
            and any(cell.startswith("yes") for cell in row["cells"][1:])
        ]
        assert lost, name


def test_a_row_has_a_cell_for_each_tool() -> None:
    for table in RESULTS.tables["compare"].values():
        assert {len(row["cells"]) for row in table["rows"]} == {len(table["tools"])}
