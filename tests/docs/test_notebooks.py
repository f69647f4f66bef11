"""The committed notebooks are their pages, and print what is stored in them."""

from __future__ import annotations

from pathlib import Path

import nbformat
import notebooks
import pytest
from page_runner import is_same

DOCS = Path(__file__).parents[2] / "docs"
LARGEST_FILE = 120_000


def stored(name: str) -> nbformat.NotebookNode:
    return nbformat.read(DOCS / f"notebooks/{name}.ipynb", as_version=4)


@pytest.mark.parametrize("name", notebooks.PAGES)
def test_a_notebook_has_the_cells_of_its_page(name: str) -> None:
    path = DOCS / notebooks.PAGES[name]
    made = notebooks.notebook_of(path.read_text(encoding="utf-8"), notebooks.PAGES[name])
    assert [(cell.cell_type, cell.source) for cell in stored(name).cells] == [
        (cell.cell_type, cell.source) for cell in made.cells
    ]
    nbformat.validate(stored(name))


@pytest.mark.parametrize("name", notebooks.PAGES)
def test_a_notebook_is_small_and_its_links_lead_somewhere(name: str) -> None:
    assert (DOCS / f"notebooks/{name}.ipynb").stat().st_size < LARGEST_FILE
    for cell in stored(name).cells:
        if cell.cell_type == "markdown":
            for link in notebooks.LINK.finditer(cell.source):
                assert (DOCS / "notebooks" / link[1]).exists(), link[0]


@pytest.mark.site
@pytest.mark.parametrize("name", ["lesson", "train", "losses"])
def test_a_notebook_prints_what_is_stored_in_it(name: str) -> None:
    book = stored(name)
    kept = [notebooks.shown(cell) for cell in book.cells if cell.cell_type == "code"]
    ran = [cell for cell in notebooks.run(book).cells if cell.cell_type == "code"]
    for cell, before in zip(ran, kept, strict=True):
        varies = "figures vary" in cell.metadata
        assert is_same(notebooks.shown(cell), before, varies=varies), cell.source
