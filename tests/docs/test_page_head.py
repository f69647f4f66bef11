"""Addresses that only a publisher knows: with them in the environment, pages link by them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
CONF = f"""
import sys
sys.path.insert(0, {str(DOCS)!r})
extensions = ["myst_parser", "page_head"]
html_theme, language, version = "furo", "en", "0.2.0"
templates_path = [{str(DOCS / "_templates")!r}]
html_sidebars = {{"**": ["versions.html"]}}
"""
KNOWN = {
    "SOFTONCE_DOCS_URL": "https://docs.example.org/softonce/",
    "SOFTONCE_DOCS_VERSIONS": "0.2.0 0.1.0",
    "SOFTONCE_REPOSITORY": "https://github.com/owner/name",
}

pytestmark = pytest.mark.site


def built(folder: Path, known: dict[str, str]) -> tuple[str, str]:
    """Return the HTML of a start page and of the page of notebooks."""
    (folder / "conf.py").write_text(CONF)
    (folder / "index.md").write_text("# Start\n\nA sentence.\n\n```{toctree}\nnotebooks\n```\n")
    (folder / "notebooks").mkdir()
    (folder / "notebooks/lesson.ipynb").write_text("{}")
    (folder / "notebooks.md").write_text("# Notebooks\n\n[lesson.ipynb](notebooks/lesson.ipynb)\n")
    command = [sys.executable, "-m", "sphinx", "-q", str(folder), str(folder / "out")]
    clean = {name: text for name, text in os.environ.items() if name not in KNOWN}
    subprocess.run(command, env=clean | known, check=True, capture_output=True, timeout=120)
    pages = (folder / f"out/{name}.html" for name in ("index", "notebooks"))
    start, notebooks = (page.read_text(encoding="utf-8") for page in pages)
    return start, notebooks


def test_known_addresses_are_linked(tmp_path: Path) -> None:
    start, notebooks = built(tmp_path, KNOWN)
    metadata = dict(re.findall(r'<meta (?:name|property)="([^"]+)" content="([^"]*)"', start))
    assert metadata["og:url"] == "https://docs.example.org/softonce/index.html"
    assert metadata["og:image"] == "https://docs.example.org/softonce/_static/preview.png"
    assert 'rel="canonical" href="https://docs.example.org/softonce/index.html"' in start
    assert "https://github.com/owner/name/edit/main/docs/index.md" in start
    assert re.findall(r'<option value="([^"]+)"', start) == [
        "https://docs.example.org/softonce/v/0.1.0/"
    ]
    place = "https://colab.research.google.com/github/owner/name/blob/main"
    assert f'href="{place}/docs/notebooks/lesson.ipynb"' in notebooks


def test_without_them_a_page_has_no_link_to_a_guess(tmp_path: Path) -> None:
    start, notebooks = built(tmp_path, {})
    for page in (start, notebooks):
        assert not re.search(r"og:url|og:image|canonical|/edit/|colab|<option", page)
        assert 'property="og:title"' in page
    assert "0.2.0" in start
