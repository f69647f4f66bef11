"""The two READMEs: their code runs, their commands are understood, their links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import page_runner
import pytest

from softonce.cli.app import build_app, main
from softonce.cli.watch import set_apart

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
KOREAN = ROOT / "README.ko.md"
both = pytest.mark.parametrize("page", [README, KOREAN], ids=lambda path: path.name)
GUILTY = """\
import torch
import torch.nn.functional as F
net = torch.nn.Linear(4, 3)
loss = F.cross_entropy(F.softmax(net(torch.randn(8, 4)), 1), torch.randint(3, (8,)))
loss.backward()
"""


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
def test_every_file_that_is_linked_exists(page: Path) -> None:
    found = re.findall(r"\]\(([^)]+)\)", page.read_text())
    links = [link.partition("#")[0] for link in found if ":" not in link]
    assert len(links) >= 20
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_both_readmes_show_the_same_code_and_output() -> None:
    assert blocks(KOREAN, "text") == blocks(README, "text")
    for language in ("sh", "python"):
        assert without_comments(KOREAN, language) == without_comments(README, language)


def without_comments(page: Path, language: str) -> list[str]:
    lines = "".join(blocks(page, language)).splitlines()
    return [line.split("  #")[0].rstrip() for line in lines]


@both
def test_the_losses_print_what_the_readme_shows(page: Path) -> None:
    (example,) = re.findall(
        r"```python\nimport torch\n.*?```\n```text\n.*?```\n", page.read_text(), re.DOTALL
    )
    assert page_runner.replayed(example) == example


def test_the_checker_prints_what_the_readme_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (shown,) = (text for text in blocks(README, "text") if "SO101" in text)
    (tmp_path / "train.py").write_text(GUILTY)
    monkeypatch.chdir(tmp_path)
    assert main(["check", "."]) == 1
    assert capsys.readouterr().out == shown
