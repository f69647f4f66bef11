"""Which files are run, and what in them: what leads to a loss, and nothing else."""

from __future__ import annotations

import pytest

from softonce.checker.static.relevance import relevant_files
from softonce.checker.static.sources import Source

LOSS = "from torch import nn\ncriterion = nn.CrossEntropyLoss()\ndef other(): ...\n"
TABLE = """\
LOSSES = {}
def register(f):
    LOSSES[f.__name__] = f
def build(name): return LOSSES[name]
"""
FOCAL = """\
from table import register
@register
class Focal:
    def forward(self): nll_loss()
"""


def leading(**files: str) -> dict[str, set[str] | None]:
    """Return the files that lead to a loss, and what in them does; None for all of it."""
    return leading_of({f"{name}.py": text for name, text in files.items()})


def leading_of(files: dict[str, str]) -> dict[str, set[str] | None]:
    sources = [Source(path, text) for path, text in files.items()]
    found = {each.source.path: each.names for each in relevant_files(sources)}
    return {path: names and set(names) for path, names in found.items() if names != frozenset()}


def test_a_file_that_mentions_a_loss_is_run_as_a_whole() -> None:
    assert leading(a=LOSS) == {"a.py": None}


@pytest.mark.parametrize(
    "prose", ['"""No CrossEntropyLoss."""', "# cross_entropy", "'''nll_loss'''"]
)
def test_a_loss_in_prose_is_none(prose: str) -> None:
    assert leading(a=f"{prose}\nx = 1\n") == {}


def test_a_loss_that_is_chosen_by_its_name_is_one() -> None:
    assert leading(a="loss = getattr(nn, 'CrossEntropyLoss')\n") == {"a.py": None}


@pytest.mark.parametrize(
    "text",
    [
        "from a import criterion\ndef f(): criterion()\ndef g(): ...\n",
        "from a import criterion as c\ndef f(): c()\n",
        "from a import (\n    other,\n    criterion,\n)\ndef f(): criterion()\n",
        "from a import *\ndef f(): criterion()\n",
        "import a\ndef f(): a.criterion()\ndef g(): a.other()\n",
        "import a as losses\ndef f(): losses.criterion()\n",
        "from . import a\ndef f(): a.criterion()\n",
        "from .a import criterion\ndef f(): criterion()\n",
        "import a\ndef f(name): getattr(a, name)()\n",
        "import a\ndef f(name): a.__dict__[name]()\n",
        "from a import criterion\nclass f:\n    def g(self): criterion()\n",
        "try:\n    from a import criterion\nexcept ImportError:\n    pass\ndef f(): criterion()\n",
    ],
)
def test_what_mentions_a_name_that_leads_to_a_loss_leads_to_it(text: str) -> None:
    assert leading(a=LOSS, b=text) == {"a.py": None, "b.py": {"f"}}


@pytest.mark.parametrize(
    "text", ["from a import other\ndef f(): other()\n", "import a\ndef f(): a.other()\n"]
)
def test_an_import_of_something_else_leads_nowhere(text: str) -> None:
    assert leading(a=LOSS, b=text) == {"a.py": None}


def test_names_are_followed_within_a_file_and_over_two_imports() -> None:
    found = leading(
        a=LOSS,
        b="from a import criterion\ndef make(): return criterion\nmade = make()\n",
        c="from b import made\ndef train(net): made(net)\ndef main(): train(None)\n",
        d="from c import main\ndef run(): main()\n",
    )
    assert found == {"a.py": None, "b.py": {"make", "made"}, "c.py": {"train", "main"}}


def test_a_package_hands_names_on() -> None:
    found = leading_of(
        {
            "p/__init__.py": "from .a import criterion\n",
            "p/a.py": LOSS,
            "b.py": "from p import criterion\ndef f(): criterion()\n",
        }
    )
    assert found == {"p/a.py": None, "b.py": {"f"}}


def test_what_reads_a_table_of_losses_leads_to_them() -> None:
    found = leading(
        table=TABLE,
        a=FOCAL,
        b="from table import build\ndef f(name): build(name)()\n",
        c="from table import register\n@register\nclass Net: ...\n",
    )
    assert found == {"a.py": None, "table.py": {"LOSSES", "build"}, "b.py": {"f"}}
