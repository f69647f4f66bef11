"""Small projects as people write them: each guilty line is found, and nothing else.

A page of `projects/` holds one project a heading, each file below its path; the comment at the end
of a line names the rule that it breaks, and says so if it does on one branch only.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from softonce.checker.rule import Severity
from softonce.checker.static import Settings, check_paths

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = sorted((Path(__file__).parent / "projects").glob("*.md"))
FILE = re.compile(r"^`([^`\n]+)`\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXPECTED = re.compile(r"#\s*(SO\d{3})( on one branch)?$")
SETTINGS = Settings(ignore=("SO301",))

Lines = set[tuple[str, int, str, bool]]


def projects() -> Iterator[object]:
    for page in PAGES:
        for project in page.read_text(encoding="utf-8").split("\n## ")[1:]:
            title, _, body = project.partition("\n")
            yield pytest.param(dict(FILE.findall(body)), id=f"{page.stem}: {title}")


def expected_in(files: dict[str, str]) -> Lines:
    return {
        (path, number, found[1], bool(found[2]))
        for path, text in files.items()
        for number, line in enumerate(text.splitlines(), 1)
        if (found := EXPECTED.search(line))
    }


def found_in(files: dict[str, str], folder: Path) -> Lines:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    findings = check_paths([str(folder)], SETTINGS).findings
    return {
        (
            Path(f.place.path).resolve().relative_to(folder.resolve()).as_posix(),
            f.place.line,
            f.code,
            f.lowered,
        )
        for f in findings
        if f.severity is not Severity.NOTE
    }


@pytest.mark.parametrize("files", list(projects()))
def test_guilty_lines_are_found_and_innocent_lines_are_not(
    files: dict[str, str], tmp_path: Path
) -> None:
    assert files
    assert found_in(files, tmp_path) == expected_in(files)


def test_no_project_is_overlooked() -> None:
    headings = sum(page.read_text(encoding="utf-8").count("\n## ") for page in PAGES)
    assert len(list(projects())) == headings > 135
