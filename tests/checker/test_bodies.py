"""A file whose functions are parsed when they are run is the file that Python parses at once."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import softonce
from softonce.checker.static import Settings, check_sources
from softonce.checker.static.bodies import can_be_dropped, drop_body, parse_heads
from softonce.checker.static.sources import Source

PACKAGE = Path(softonce.__file__).parent
FUNCTION = """\
def f(x):
    a = x
    b = a
    c = b
    return c
"""
HARD = {
    "a comment at the edge": """\
def f(x):
    a = x
    b = a
    c = b
    return c
# the end

""",
    "a comment at the edge within": """\
def f(x):
    a = x
# why
    b = a
    return b
    # no
""",
    "a text at the edge": """\
def f(x):
    \"\"\"One
Two
\"\"\"
    a = x
    b = a
    return b
""",
    "quotes in a comment": """\
def f(x):
    # it's \"\"\"
    a = x
    b = a
    return '''
'''
""",
    "a bracket that closes at the edge": """\
def f(x):
    a = (
        x,
    )
    b = [
]
    return b
""",
    "a head of several lines": """\
def f(
    x=(1, (2,)),  # why
) -> int:
    a = x
    b = a

    return b
""",
    "brackets in a default": """\
def f(x='('):
    a = x
    b = a
    c = b
    return c
""",
    "a bracket at the edge": """\
def f(x):
    a = g(
x,
    )
    b = a
    return b
""",
    "a continued line": """\
def f(x):
    a = x
    b = a
    c = b
    return c + \\
x
""",
    "methods": """\
class A:
    def f(self):
        a = 1
        b = a
        c = b
        return c
""",
    "under a condition": """\
if x:
    def f():
        a = 1
        b = a
        c = b
        return c
""",
    "async": """\
async def f(x):
    a = await x
    b = a
    async with b:
        pass
    return b
""",
    "a function in a function": """\
def f(x):
    a = x
    def g():
        return a
    return g
""",
    "Windows": FUNCTION.replace("\n", "\r\n"),
    "tabs": FUNCTION.replace("    ", "\t"),
    "no last line end": FUNCTION.rstrip(),
}


def dumped(tree: ast.Module) -> str:
    """Return the tree as text, without the columns on which statements end: nobody reads them."""
    text = re.sub(r", end_col_offset=\d+", "", ast.dump(tree, include_attributes=True))
    return re.sub(r"\bDeferred(\w*)Function\(", r"\1FunctionDef(", text)


def assert_the_same(text: str, heads: ast.Module) -> None:
    whole = ast.parse(text)
    last_lines = [(node.lineno, node.end_lineno) for node in heads.body]
    assert last_lines == [(node.lineno, node.end_lineno) for node in whole.body]
    functions = [node for node in ast.walk(heads) if can_be_dropped(node)]
    assert dumped(heads) == dumped(whole)
    for node in functions:
        drop_body(node)
    assert dumped(heads) == dumped(whole)


@pytest.mark.parametrize("name", HARD)
def test_bodies_parsed_one_by_one_make_the_tree_of_the_file(name: str) -> None:
    heads = parse_heads(HARD[name], ast.parse)
    if heads is not None:
        assert_the_same(HARD[name], heads)


def test_bodies_of_real_files_are_found() -> None:
    texts = [path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))[::6]]
    heads = [(text, parse_heads(text, ast.parse)) for text in texts if text.count("def ") > 4]
    assert sum(tree is not None for _, tree in heads) > 0.9 * len(heads)
    for text, tree in heads:
        if tree is not None:
            assert_the_same(text, tree)


def test_a_body_is_parsed_when_it_is_read() -> None:
    parsed: list[str] = []

    def parse(text: str) -> ast.Module:
        parsed.append(text)
        return ast.parse(text)

    tree = parse_heads(FUNCTION, parse)
    assert tree is not None
    assert not parsed
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    assert len(function.body) == 4
    assert len(parsed) == 1


LOSS = "import torch.nn.functional as F\n\n\ndef train(net, x, y):\n    p = F.softmax(net(x), 1)\n"


def test_a_body_that_is_no_python_leaves_the_other_functions_to_be_checked() -> None:
    text = f"{LOSS}    a = p\n    b = a\n    return F.cross_entropy(b, y)\n\n\n"
    text += "def broken(x):\n    a = x\n    b = a\n    c = b\n    return = c\n"
    checked = check_sources([Source("a.py", text)], Settings(notes=True))
    assert {"SO000", "SO101"} <= {finding.code for finding in checked.findings}


def test_a_body_of_python_2_is_read_as_such() -> None:
    text = f"{LOSS}    loss = F.cross_entropy(p, y)\n    print 'loss', loss\n    return loss\n"
    checked = check_sources([Source("a.py", text)], Settings(notes=True))
    assert {"SO000", "SO101"} <= {finding.code for finding in checked.findings}
    assert not any(finding.edits for finding in checked.findings)
