"""CONTRIBUTING is true: what it names exists, and its recipes, followed to the letter, work."""

from __future__ import annotations

import builtins
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BASES = ("", "src/softonce", "tests", "src/softonce/checker")

MODEL = """
from softonce.models.blocks import BasicBlock
from softonce.models.registry import register
from softonce.models.resnet import ResNet


@register
def resnet10(**options):
    return ResNet(BasicBlock, (1, 1, 1, 1), **options)
"""
SOURCE = """
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from softonce.data.names import Names
from softonce.data.sources.source import Listing


@dataclass(frozen=True)
class Flags:
    size: int
    remedy: ClassVar[str] = "there are always two"

    def splits(self):
        return ("all",)

    def list_split(self, split):
        names = Names.pack(b"%d.pgm" % number for number in range(self.size))
        return Listing("flags", names, np.arange(self.size) % 2, ("dark", "light"))

    def read(self, name):
        number = int(name.removesuffix(b".pgm"))
        return b"P5 8 8 255\\n" + bytes([200 * (number % 2) + number]) * 64

    def where(self, name):
        return name.decode()

    def stamps(self, names):
        return np.array([(75, int(name.removesuffix(b".pgm"))) for name in names]).reshape(-1, 2)
"""
CONFIG = '''
from dataclasses import dataclass

from cyclopts import Parameter


@Parameter(name="*")
@dataclass(frozen=True)
class GreetConfig:
    """Greet somebody."""

    name: str
    """Who is greeted."""
'''
VERB = '''
from softonce.config.greet import GreetConfig


def greet(config: GreetConfig) -> None:
    """Greet somebody."""
    print(f"hello, {config.name}")
'''
COMMAND = """COMMANDS = {
    "greet": Command(
        "Greet somebody.",
        "NAME",
        (("softonce greet you", "says hello"), ("softonce greet me", "says it again")),
        FIND,
        "docs/start.md",
    ),
"""
PROGRAM = """
import contextlib, io, json, tomllib
import softonce
from softonce.cli.app import main
from softonce.data.sources import open_source
from softonce.training.recipes import recipe_names

def said(*words):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(list(words))
    return status, out.getvalue() + err.getvalue()

result = softonce.train("flags:16", model="resnet10", weights="none", recipe="brief", epochs=1,
                        size=32, batch_size=4, output="run", quiet=True)
print(json.dumps({
    "model": "resnet10" in softonce.list_models(),
    "source": open_source("flags:16").list_split("all").classes,
    "classes": result.classifier.classes,
    "recipe": "brief" in recipe_names(),
    "smoothing": tomllib.load(open("run/config.toml", "rb"))["label_smoothing"],
    "verb": said("greet", "you"),
    "help": said("help"),
    "flag": said("train", "flags:16", "--learnrate", "1"),
}))
"""


def edit(path: Path, before: str, after: str) -> None:
    """Put `after` in the place of `before`, which the file must have once."""
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, path
    path.write_text(text.replace(before, after), encoding="utf-8")


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a copy of the package says after a stranger has added one of each kind to it."""
    copy = tmp_path_factory.mktemp("copy")
    package = copy / "softonce"
    shutil.copytree(ROOT / "src/softonce", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "models/short.py").write_text(MODEL)
    models = package / "models/__init__.py"
    line = "from softonce.models.state_dicts import LoadReport\n"
    edit(models, line, f"import softonce.models.short\n{line}")
    (package / "data/sources/flags.py").write_text(SOURCE)
    line = "    if text.startswith(IDX):\n"
    new = '    if text.startswith("flags:"):\n        return Flags(int(text[6:]))\n'
    edit(package / "data/sources/__init__.py", line, new + line)
    line = "    from softonce.data.sources.folder import Folder\n"
    new = "    from softonce.data.sources.flags import Flags\n"
    edit(package / "data/sources/__init__.py", line, new + line)
    (package / "recipes/brief.toml").write_text("label_smoothing = 0.25\n")
    (package / "config/greet.py").write_text(CONFIG)
    (package / "cli/greet.py").write_text(VERB)
    edit(package / "cli/commands.py", "COMMANDS = {\n", COMMAND)
    line = '    "--data-dir": _DATA,\n'
    edit(package / "config/other_names.py", line, f'{line}    "--learnrate": "--lr",\n')
    environment = os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_model_is_found_and_trained(followed: dict[str, Any]) -> None:
    assert followed["model"]


def test_a_source_of_data_is_read_and_trained_on(followed: dict[str, Any]) -> None:
    assert followed["source"] == ["dark", "light"]
    assert followed["classes"] == ["dark", "light"]


def test_a_recipe_is_found_and_fills_in_what_was_left_open(followed: dict[str, Any]) -> None:
    assert followed["recipe"]
    assert followed["smoothing"] == 0.25


def test_a_verb_runs_and_is_in_the_list(followed: dict[str, Any]) -> None:
    assert followed["verb"] == [0, "hello, you\n"]
    assert "Greet somebody." in followed["help"][1]


def test_a_flag_of_another_script_is_answered_with_ours(followed: dict[str, Any]) -> None:
    status, text = followed["flag"]
    assert status == 2
    assert "--learnrate is --lr here" in text


def test_every_file_that_the_guide_names_exists() -> None:
    named = set(re.findall(r"`([\w./-]+/[\w./-]*|[\w-]+\.(?:py|toml|md|cff|yml))`", GUIDE))
    paths = named - {"build/site"}  # which `make docs` writes
    assert len(paths) > 40
    missing = [path for path in paths if not any((ROOT / base / path).exists() for base in BASES)]
    assert missing == []


def test_every_name_that_the_guide_gives_is_in_the_code() -> None:
    names = set(re.findall(r"`([A-Z][A-Za-z_]{3,}|[a-z]+_[a-z_]+)(?:\([^)`]*\))?`", GUIDE))
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    assert len(names) > 15
    assert [
        name for name in names if not (hasattr(builtins, name) or re.search(rf"\b{name}\b", code))
    ] == []
