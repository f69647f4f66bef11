"""The two READMEs: their code runs, their commands are understood, their links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import page_runner
import pytest

from softonce.cli.app import build_app
from softonce.cli.watch import set_apart

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
KOREAN = ROOT / "README.ko.md"
both = pytest.mark.parametrize("page", [README, KOREAN], ids=lambda path: path.name)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


@both
def test_every_command_is_understood(page: Path) -> None:
    commands = [
        shlex.split(line, comments=True)
        for block in blocks(page, "sh")
        for line in block.splitlines()
        if line.startswith("softonce ")
    ]
    assert len(commands) >= 5
    for _, *tokens in commands:
        if "--resume" not in tokens and "--config" not in tokens:  # these read a file
            parsed = set_apart(tokens) if tokens[0] == "watch" else tokens
            build_app().parse_args(parsed, exit_on_error=False, print_error=False)


@both
def test_the_losses_example_runs(page: Path) -> None:
    for block in blocks(page, "python"):
        if "photos" not in block:  # that one trains, in test_readme_as_typed.py
            exec(compile(block, page.name, "exec"), {})


@both
def test_every_file_that_is_linked_exists(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", page.read_text()) if ":" not in link]
    assert len(links) >= 4
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_both_readmes_show_the_same_code_and_output() -> None:
    assert blocks(KOREAN, "text") == blocks(README, "text")
    for language in ("sh", "python"):
        assert without_comments(KOREAN, language) == without_comments(README, language)


def without_comments(page: Path, language: str) -> list[str]:
    lines = "".join(blocks(page, language)).splitlines()
    return [line.split("  #")[0].rstrip() for line in lines]


def test_both_readmes_show_the_same_figures() -> None:
    def figures(page: Path) -> list[set[str]]:
        section = re.split(r"^## ", page.read_text(), flags=re.MULTILINE)[-2]
        cells = [line.split("|")[2] for line in section.splitlines() if line.startswith("| ")]
        return [set(re.findall(r"\d+(?:[.,]\d+)*", cell)) for cell in cells[1:]]

    assert len(figures(README)) >= 10
    assert figures(KOREAN) == figures(README)


def test_the_lesson_on_one_row_prints_what_the_readme_shows() -> None:
    (shown,) = (text for text in blocks(README, "text") if text.startswith("$ softonce explain"))
    page = f"```console\n{shown}```\n"
    assert page_runner.replayed(page) == page
