"""Whatever lies in a folder: a note, and on it goes."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from softonce.checker.static import Checked, Settings, check_paths
from softonce.checker.static.check import NOT_FOLLOWED

NOTES = Settings(notes=True)
GUILTY = "import torch.nn.functional as F\nloss = F.cross_entropy(F.softmax(x, dim=1), y)\n"
CASES = Path(__file__).parent / "cases"
BROKEN = {
    "python2.py": b"import torch.nn as nn\nprint 'loss', nn.CrossEntropyLoss\n",
    "null.py": b"import torch\x00\nloss = 1\n",
    "encoding.py": b"# -*- coding: no-such-encoding -*-\nloss = 1\n",
    "latin.py": b"loss = 'softmax \xe9'\n",
    "binary.py": bytes(range(256)) * 20 + b"softmax cross_entropy",
    "huge.py": b"cross_entropy = 1\n" * 300_000,
    "notebook.ipynb": b'{"cells": "softmax cross_entropy"}',
    "cut.ipynb": b'{"cells": [{"cell_type": "code", "source": ["cross_entropy',
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_a_note_and_the_others_are_checked(tmp_path: Path, name: str) -> None:
    raw = BROKEN[name]
    (tmp_path / name).write_bytes(raw if b"cross" in raw else raw + b"cross_entropy\n")
    (tmp_path / "guilty.py").write_text(GUILTY)
    codes = sorted(f.code for f in check_paths([str(tmp_path)], NOTES).findings)
    assert codes == ["SO000", "SO101"]


def test_an_unreadable_file_is_a_note(tmp_path: Path) -> None:
    missing = tmp_path / "missing.py"
    (finding,) = check_paths([str(missing)], NOTES).findings
    assert "no such file" in finding.message
    dangling = tmp_path / "dangling.py"
    dangling.symlink_to(missing)
    assert [f.code for f in check_paths([str(tmp_path)], NOTES).findings] == ["SO000"]


def test_links_in_circles_end_and_a_file_counts_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "guilty.py").write_text(GUILTY)
    (tmp_path / "a" / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "copy.py").symlink_to(tmp_path / "a" / "guilty.py")
    assert len(check_paths([str(tmp_path)], NOTES).findings) == 1


@pytest.mark.parametrize(
    "deep",
    [
        "x = " + "(" * 150 + "softmax" + ")" * 150,
        "x = " + "-" * 5_000 + "softmax",
        "x = softmax" + ".cross_entropy" * 20_000,
        "x = " + " + ".join(["cross_entropy"] * 20_000),
        "x = softmax" + "[0]" * 3_000 + "  # cross_entropy",
    ],
    ids=["brackets", "signs", "attributes", "sum", "items"],
)
def test_deep_nesting_is_survived(tmp_path: Path, deep: str) -> None:
    (tmp_path / "deep.py").write_text(deep + "\n")
    (tmp_path / "guilty.py").write_text(GUILTY)
    codes = {f.code for f in check_paths([str(tmp_path)], NOTES).findings}
    assert "SO101" in codes


def test_recursion_of_the_checked_code_ends(tmp_path: Path) -> None:
    (tmp_path / "loop.py").write_text(
        "import torch.nn.functional as F\n"
        "def a(x):\n    return b(F.softmax(x, 1))\n"
        "def b(x):\n    return a(x) if x else F.cross_entropy(x, y)\n"
        "class C(D):\n    pass\n"
        "class D(C):\n    pass\n"
        "import loop\n"
        "C().forward(a(x))\n"
    )
    assert all(f.code != "SO000" for f in check_paths([str(tmp_path)], NOTES).findings)


PYTHON2 = """\
import torch.nn as nn
import torch.nn.functional as F

def train(net, x, y):
\ttry:
\t\tprobs = F.softmax(net(x), 1)
        \tloss = nn.CrossEntropyLoss()(probs, y)
\texcept RuntimeError, error:
\t\traise ValueError, 'no loss'
\tprint 'loss: %.4f (%d)' % (
\t\tloss.data[0], len(x))   # both
\tprint >>log, loss
\tprint
\tprint('done')
\tif y is not None: print 'y', y
"""


def test_python_2_is_read_and_never_repaired(tmp_path: Path) -> None:
    path = tmp_path / "old.py"
    path.write_text(PYTHON2)
    note, found = check_paths([str(path)], NOTES).findings
    assert note.code == "SO000"
    assert note.message.endswith("read as Python 2")
    assert (found.code, found.place.line, found.made and found.made.line) == ("SO101", 7, 6)
    guilty = path.with_name("inline.py")
    guilty.write_text(GUILTY + "print loss\n")
    (inline,) = check_paths([str(guilty)]).findings
    assert (inline.code, inline.edits) == ("SO101", ())


def mutated(text: bytes, chance: random.Random) -> bytes:
    """Return the text with a few bytes or lines changed, moved or lost."""
    raw = bytearray(text)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(raw))
        kind = chance.randrange(4)
        if kind == 0:
            raw[at] = chance.randrange(256)
        elif kind == 1:
            del raw[at : at + chance.randint(1, 80)]
        elif kind == 2:
            raw[at:at] = raw[chance.randrange(len(raw)) :][: chance.randint(1, 60)]
        else:
            lines = bytes(raw).split(b"\n")
            chance.shuffle(lines)
            raw = bytearray(b"\n".join(lines))
        raw = raw or bytearray(b"x")
    return bytes(raw)


def mutate_and_check(folder: Path, count: int, seed: int) -> None:
    chance = random.Random(seed)
    originals = [path.read_bytes() for path in sorted(CASES.rglob("*.py"))]
    for number in range(count):
        (folder / f"m{number}.py").write_bytes(mutated(chance.choice(originals), chance))
    assert_followed(check_paths([str(folder)], NOTES))
    for number in range(0, count, 10):
        assert_followed(check_paths([os.fspath(folder / f"m{number}.py")], NOTES))


def assert_followed(checked: Checked) -> None:
    assert [f for f in checked.findings if NOT_FOLLOWED in f.message] == []


def test_mutated_files_do_not_stop_it(tmp_path: Path) -> None:
    mutate_and_check(tmp_path, 150, seed=1)


@pytest.mark.slow
def test_2000_mutated_files_do_not_stop_it(tmp_path: Path) -> None:
    mutate_and_check(tmp_path, 2_000, seed=2)


def test_a_named_tuple_with_a_field_called_as_a_keyword_is_unknown(tmp_path: Path) -> None:
    text = 'from collections import namedtuple\nOut = namedtuple("Out", "is class", rename=True)\n'
    (tmp_path / "a.py").write_text(text + GUILTY)
    assert [f.code for f in check_paths([str(tmp_path)], NOTES).findings] == ["SO101"]
