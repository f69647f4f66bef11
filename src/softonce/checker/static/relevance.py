"""Which files are worth running: found with regular expressions, before anything is parsed."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from softonce.checker.static.sources import Source

IMPORT_LEVELS = 2
# A file with one of these words is run as a whole, and so are the files that import it.
_LOSS_WORDS = re.compile(
    rb"[cC]ross_?[eE]ntropy|nll_loss|NLLLoss|BCE(?:With|Loss)|kl_div|KLDiv|ctc_loss|CTCLoss"
    rb"|SoftMarginLoss|soft_margin_loss|sigmoid_focal|NeuralNet|from_logits|LossFlat"
)
_SCORE_WORDS = re.compile(rb"softmax|sigmoid|softmin|expit", re.IGNORECASE)
_FROM = re.compile(rb"^[ \t]*from[ \t]+([\w.]+)[ \t]+import[ \t]+([^\n#]+)", re.MULTILINE)
_IMPORT = re.compile(rb"^[ \t]*import[ \t]+([\w., \t]+)", re.MULTILINE)
_WORD = re.compile(rb"[\w.]+")

# A file by its folder's path or by its folder's name, and by its own name.
_Key = tuple[str, str]


def relevant_files(sources: list[Source]) -> Iterator[tuple[Source, bool]]:
    """Yield the files worth running, and whether all of their functions are.

    A file that mentions a loss is, whole, and so are those that import it, over two levels: one of
    them may hold the network and the loop together. Of other files only the functions that mention
    softmax or sigmoid are.
    """
    whole = {s.path for s in sources if _LOSS_WORDS.search(s.raw)}
    imports: dict[str, set[_Key]] = {}
    fresh = set(whole)
    for _ in range(IMPORT_LEVELS):
        wanted = {key for path in fresh for key in _keys(path)}
        others = [s for s in sources if s.path not in whole] if wanted else []
        fresh = set()
        for source in others:
            if source.path not in imports:
                imports[source.path] = set(_imported(source))
            if not wanted.isdisjoint(imports[source.path]):
                fresh.add(source.path)
        whole |= fresh
    for source in sources:
        if source.path in whole:
            yield source, True
        elif _SCORE_WORDS.search(source.raw):
            yield source, False


def _keys(path: str) -> Iterator[_Key]:
    """Yield what an import may call the file: beside the importer, or below a folder's name."""
    folder, name = _split(path)
    if name == "__init__.py":
        folder, name = _split(folder)
    stem = name.rpartition(".")[0] or name
    yield folder + "/", stem
    yield folder.rpartition("/")[2], stem


def _split(path: str) -> tuple[str, str]:
    """Return the folder and the name; pathlib takes a tenth of a whole check for that."""
    folder, _, name = path.replace(os.sep, "/").rpartition("/")
    return folder or ".", name


def _imported(source: Source) -> Iterator[_Key]:
    folder, _ = _split(source.path)
    for found in _FROM.finditer(source.raw):
        module = found.group(1).decode("utf-8", "replace")
        yield from _named(folder, module)
        if module != "__future__":
            for name in _WORD.findall(found.group(2)):
                yield from _named(folder, f"{module.rstrip('.')}.{name.decode('utf-8', 'replace')}")
    for found in _IMPORT.finditer(source.raw):
        for name in _WORD.findall(found.group(1)):
            yield from _named(folder, name.decode("utf-8", "replace"))


def _named(folder: str, dotted: str) -> Iterator[_Key]:
    parts = [part for part in dotted.split(".") if part]
    if len(parts) == 1:
        yield folder + "/", parts[0]
    elif parts:
        yield parts[-2], parts[-1]
        if not dotted.startswith("."):  # a package beside the file is run before what is in it
            yield folder + "/", parts[0]
