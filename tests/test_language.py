"""The language of docstrings, comments, messages and pages: English as the field writes it."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PAGES = [
    page
    for page in [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
    if not {"generated", "ko"} & {*page.parts, *page.name.split(".")}
]

INSTEAD = {
    r"(?:Error|Exit): +where\b": "if: `ArgumentError: if the shapes do not match`",
    r"\b(?:None|True|False|unknown|empty|nothing|else|0|1|\"\"|\{\})[,;]? where\b": "if",
    r"\bwhere (?:that|this|there|nobody|none) (?:is|are|was|has|have|does|can)\b": "if, or when",
    r"\bno numbers?\b(?! of)": "NaN, or not finite",
    r"\blest\b": "so that ... not",
    r"\bfor ever\b": "forever",
    r"\bshall\b": "must, or is to",
    r"\b(?:tensors|logits|values|weights|probabilities|it|this|one) alone\b": "only",
    r"\b(?:an?|no|networks|scripts?) (?:\w+ )?of (?:yours|theirs)\b": "your own, their own",
    r"\bgoes by\b(?! w)": "is chosen by, uses",
    r"\bat the door\b|\bthe doors?\b": "the API, the public functions",
    r"\b[Ss]ay whether\b": "return whether",
    r"(?<!there )\bis no (?:error|image|picture|file|classifier|loss)\b": "is not a(n)",
}
"""What an engineer of the field does not write -> what to write. Each was frequent here once."""

TEXTS = (tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING))
"""From Python 3.12 on the text of an f-string is tokens of its own."""


def find_words(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the comments and strings of a source file with their lines."""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type in TEXTS and " " in token.string:
            yield token.start[0], token.string


def find_prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the paragraphs of a page without its code, with their lines."""
    code = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
    text = code.sub(lambda block: "\n" * block[0].count("\n"), path.read_text())
    number = 1
    for paragraph in text.split("\n\n"):
        yield number, re.sub(r"`[^`]*`", "`", paragraph)
        number += paragraph.count("\n") + 2


def find_mistakes(path: Path, pieces: Iterator[tuple[int, str]]) -> list[str]:
    found = []
    for line, text in pieces:
        plain = re.sub(r"\s+#?\s*", " ", text)
        for pattern, instead in INSTEAD.items():
            if hit := re.search(pattern, plain):
                around = plain[max(0, hit.start() - 30) : hit.end() + 30]
                found.append(f"{path.relative_to(ROOT)}:{line}: {around!r}: write {instead}")
    return found


def test_docstrings_comments_and_messages() -> None:
    assert not [m for path in SOURCES for m in find_mistakes(path, find_words(path))]


def test_pages() -> None:
    assert not [m for path in PAGES for m in find_mistakes(path, find_prose(path))]
