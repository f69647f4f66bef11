"""The committed pictures are those that their scripts draw, and show the run's numbers."""

from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pictures
import pytest
from PIL import Image

from softonce.floors import double_softmax_floor

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("language", "suffix"), [("en", ""), ("ko", ".ko")])
def test_the_picture_of_the_lesson_is_what_the_script_draws(language: str, suffix: str) -> None:
    path = DOCS / f"pictures/softmax_once{suffix}.svg"
    assert path.read_text(encoding="utf-8") == pictures.softmax_once(pictures.WORDS[language])


@pytest.mark.parametrize("path", sorted((DOCS / "pictures").glob("*.svg")), ids=lambda p: p.stem)
def test_a_picture_has_a_title_and_loads_nothing(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    root = ET.fromstring(text)
    assert root.get("aria-label") == root[0].text
    assert "href" not in text
    assert "prefers-color-scheme: dark" in text


@pytest.mark.site
def test_the_curves_are_those_of_the_example() -> None:
    once, twice = pictures.second_softmax()
    drawn = (DOCS / "pictures/curves.svg").read_text(encoding="utf-8")
    again = pictures.curves(pictures.WORDS["en"], once, twice)
    numbers = [
        [
            float(n)
            for points in re.findall(r'points="([^"]+)"', text)
            for n in re.split("[ ,]", points)
        ]
        for text in (drawn, again)
    ]
    assert len(numbers[0]) == 2 * 2 * 2 * 40  # x and y, of two runs in two charts, an epoch
    assert numbers[0] == pytest.approx(numbers[1], abs=0.11)  # a coordinate has one decimal


@pytest.mark.parametrize("page", ["cheat_sheet.md", "ko/cheat_sheet.md"])
def test_the_sheet_is_of_the_page_as_it_is(page: str) -> None:
    sheets = pytest.importorskip("sheets", reason="playwright prints it")
    path = DOCS / page
    with Image.open(DOCS / f"pictures/{sheets.SHEETS[path]}.png") as picture:
        assert picture.info["source"] == sheets.digest(path)


@pytest.mark.parametrize("page", ["cheat_sheet.md", "ko/cheat_sheet.md"])
def test_the_sheet_s_floors_are_the_library_s(page: str) -> None:
    rows = [
        [cell.strip() for cell in line.split("|")[2:-1]]
        for line in (DOCS / page).read_text(encoding="utf-8").splitlines()
        if re.match(r"\| .*(\d\.\d{3} \| ){3}|\| .* \| 2 \| 3 ", line)
    ]
    classes = [int(cell) for cell in rows[0]]
    assert rows[1] == [f"{double_softmax_floor(count):.3f}" for count in classes]
    assert rows[2] == [f"{math.log(count):.3f}" for count in classes]
