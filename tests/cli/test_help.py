"""Each help begins with two examples that work, in whole words, in the order of the work."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from generate import command_line_page

from softonce.cli.app import build_app, main
from softonce.cli.commands import COMMANDS

ROOT = Path(__file__).parents[2]
WIDTHS = (80, 100, 120)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Return `shown(*tokens, width)`: the help as a terminal of that width shows it."""

    def run(*tokens: str, width: int = 80) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        assert main([*tokens, "--help"]) == 0
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("name", COMMANDS)
def test_a_help_begins_with_two_examples_and_ends_with_a_guide(name: str, shown) -> None:
    lines = shown(name).splitlines()
    usage = lines.index(f"Usage: softonce {name} {COMMANDS[name].usage}")
    examples = [line for line in lines[1:usage] if line.startswith(f"  softonce {name}")]
    assert lines[0] == "Examples:"
    assert len(examples) == 2
    page = lines[-1].removeprefix("Guide: ")
    assert (ROOT / page).is_file()


@pytest.mark.parametrize(
    "example", [example for command in COMMANDS.values() for example, _ in command.examples]
)
def test_an_example_is_understood(example: str) -> None:
    tokens = shlex.split(example.partition(" > ")[0])
    assert tokens[0] == "softonce"
    if tokens[1:3] == ["watch", "train.py"]:
        tokens.insert(2, "--")
    if "--resume" in tokens:
        return  # reads the run
    _, bound, _ = build_app().parse_args(tokens[1:], exit_on_error=False, print_error=False)
    assert bound.arguments or tokens[1:] == ["demo"]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", COMMANDS)
def test_no_word_is_broken_and_nothing_leaks(name: str, width: int, shown) -> None:
    text = shown(name, width=width)
    assert max(map(len, text.splitlines())) <= max(width, 80)
    words = set(re.findall(r"[^\s│,.;:]+", shown(name, width=400)))
    narrow = set(re.findall(r"[^\s│,.;:]+", text))
    assert narrow - words <= {"╭─", "─╮"} | {word for word in narrow if "─" in word}
    for leak in ("--empty-", "--PATHS", "[default: ()]", "[default: False]"):
        assert leak not in text


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_is_one_line_if_there_is_room(name: str, shown) -> None:
    rows = [line for line in shown(name, width=1000).splitlines() if line.startswith("│")]
    assert rows
    assert [row for row in rows if row.startswith("│  ")] == []


def test_the_commands_stand_in_the_order_of_work(shown) -> None:
    listed = re.findall(r"^│ (\w+) ", shown(), flags=re.MULTILINE)
    assert listed == list(COMMANDS)


def test_recipe_is_explained_once_where_it_is_used(shown) -> None:
    text = shown("train")
    assert text.count("[recipe]") > 15
    assert text.count("[recipe]: ") == 1
    assert "[recipe]" not in shown("evaluate")


def test_the_reference_has_every_command_with_its_examples() -> None:
    page = command_line_page()
    for name, command in COMMANDS.items():
        assert f"softonce {name} {command.usage}\n" in page
        assert all(example in page for example, _ in command.examples)
    assert f"{name} {name}" not in page
    assert "[default: ()]" not in page


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed(shell: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "softonce", "--install-completion", "--shell", shell],
        env={"HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "src"), "SHELL": f"/bin/{shell}"},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    scripts = [path for path in tmp_path.rglob("*softonce*") if path.is_file()]
    assert len(scripts) == 1
    assert "--label-smoothing" in scripts[0].read_text()
