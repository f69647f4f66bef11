"""Which files are worth running, and what in them: found by text, before anything is parsed.

A file that mentions a loss is run as a whole. One that imports it may hold the network and the
loop together, but only if what it imports leads to the loss: a large library imports all of
itself. So names are followed. A unit of a file that mentions a loss carries it, and so does one
that mentions what carries it, in its own file or over `IMPORT_LEVELS` imports. What is registered
is carried by its table as well, and by what reads that.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from softonce.checker.static.units import ANY, Unit, units

if TYPE_CHECKING:
    from collections.abc import Iterator

    from softonce.checker.static.sources import Source

# From a loop to its loss: a registry's reader in between is one, and a script another.
IMPORT_LEVELS = 2
# In lower case: `in` is ten times as quick as one regular expression of all.
_LOSS_WORDS = (
    "crossentropy", "cross_entropy", "nll_loss", "nllloss", "bcewith", "bceloss", "kl_div",
    "kldiv", "ctc_loss", "ctcloss", "softmarginloss", "soft_margin_loss", "sigmoid_focal",
    "neuralnet", "from_logits", "lossflat",
)  # fmt: skip
_SCORE_WORDS = ("softmax", "sigmoid", "softmin", "expit")
_FROM = re.compile(
    r"^[ \t]*from[ \t]+(\.*)([\w.]*)[ \t]+import[ \t]+(\([^)]*\)|(?:\\\r?\n|[^\n#])+)", re.MULTILINE
)
_IMPORT = re.compile(r"^[ \t]*import[ \t]+([\w., \t]+)", re.MULTILINE)
_ALIASED = re.compile(r"([\w.]+|\*)(?:[ \t]+as[ \t]+(\w+))?")

_Key = tuple[str, str]
"""A file by its folder's path or by its folder's name, and by its own name."""


@dataclass(frozen=True, slots=True)
class Relevant:
    """A file worth running.

    Attributes:
        source: the file.
        names: the functions and classes that lead to a loss; None if all are worth running.
    """

    source: Source
    names: frozenset[str] | None


@dataclass(slots=True)
class _Import:
    """A name that a file imports from a module; the module itself if the name is empty."""

    key: _Key
    name: str
    alias: str


@dataclass(slots=True)
class _File:
    """A file, as far as it has been looked at.

    Attributes:
        source: the file.
        mentions_loss: whether it does itself.
        carries: the names that lead to a loss in it.
        defines: what of these it defines.
        leads: whether any statement of it does.
        tables: the names that keep what does.
    """

    source: Source
    mentions_loss: bool = False
    carries: set[str] = field(default_factory=set)
    defines: set[str] = field(default_factory=set)
    leads: bool = False
    tables: set[str] = field(default_factory=set)
    _imports: list[_Import] | None = None
    _units: list[Unit] | None = None

    @property
    def imports(self) -> list[_Import]:
        """What it imports."""
        if self._imports is None:
            self._imports = list(_imported(self.source))
        return self._imports

    @property
    def units(self) -> list[Unit]:
        """The parts that are not known to lead to a loss yet."""
        if self._units is None:
            self._units = list(units(self.source.text))
        return self._units

    def find_loss(self) -> bool:
        """Look for units that mention a loss; return whether there are any."""
        rest = []
        for unit in self.units:
            if mentions_loss(unit.code.lower()):
                self._take(unit)
            else:
                rest.append(unit)
        self.mentions_loss = len(rest) < len(self.units)
        self._units = rest
        return self.mentions_loss

    def spread(self) -> None:
        """Let units that mention what leads to a loss lead to it."""
        before = -1
        while before != len(self.carries):
            before, rest = len(self.carries), []
            for unit in self.units:
                if self.carries.isdisjoint(unit.mentioned):
                    rest.append(unit)
                else:
                    self._take(unit)
            self._units = rest

    def _take(self, unit: Unit) -> None:
        self.leads = True
        self.carries |= unit.names
        self.defines |= unit.names
        self.tables |= unit.tables

    def keep(self, table: str) -> None:
        """Let what reads a table lead to a loss; a function that fills one names the table."""
        filler = next((u for u in self.units if u.is_definition and table in u.names), None)
        if filler is None:
            self.carries.add(table)
        else:
            self.carries |= {
                name
                for unit in self.units
                for name in unit.names
                if not unit.is_definition and name in filler.mentioned
            }
            self.units.remove(filler)
        self.spread()


def relevant_files(sources: list[Source]) -> Iterator[Relevant]:
    """Yield the files worth running.

    Of files that neither mention a loss nor lead to one, only the functions that mention softmax or
    sigmoid are.
    """
    files = {source.path: _File(source) for source in sources}
    lowered = {source.path: source.text.lower() for source in sources}
    fresh = [file for path, file in files.items() if mentions_loss(lowered[path])]
    fresh = [file for file in fresh if file.find_loss()]
    for file in fresh:
        file.spread()
    relevant = {file.source.path for file in fresh}
    fresh += _with_tables(files, fresh)
    for _ in range(IMPORT_LEVELS):
        by_key: dict[_Key, list[_File]] = {}
        for file in fresh:
            for key in _keys(file.source.path):
                by_key.setdefault(key, []).append(file)
        others = [file for path, file in files.items() if path not in relevant] if by_key else []
        fresh = [file for file in others if _leads(file, by_key)]
        relevant |= {file.source.path for file in fresh}
    for path, file in files.items():
        # A package that hands on what leads to a loss is run too: circular imports need its order.
        if file.leads or (path in relevant and path.endswith("__init__.py")):
            yield Relevant(file.source, None if file.mentions_loss else frozenset(file.defines))
        elif any(word in lowered[path] for word in _SCORE_WORDS):
            yield Relevant(file.source, frozenset())


def _with_tables(files: dict[str, _File], carriers: list[_File]) -> list[_File]:
    """Return the files whose tables keep what leads to a loss in the carriers."""
    by_key: dict[_Key, list[_File]] = {}
    for path, file in files.items():
        for key in _keys(path):
            by_key.setdefault(key, []).append(file)
    found = []
    for carrier in carriers:
        for table in carrier.tables - carrier.carries:
            carrier.keep(table)
            for each in carrier.imports:
                if each.alias == table and each.name:
                    for file in by_key.get(each.key, ()):
                        file.keep(each.name)
                        found.append(file)
    return found


def _leads(file: _File, by_key: dict[_Key, list[_File]]) -> bool:
    """Return whether what a file imports leads to a loss; note the names that do."""
    for each in file.imports:
        for carrier in by_key.get(each.key, ()):
            if each.name == "*":
                file.carries |= carrier.carries
            elif each.name in carrier.carries:
                file.carries.add(each.alias)
            elif not each.name:
                file.carries |= {f"{each.alias}.{name}" for name in (*carrier.carries, ANY)}
                if file.source.path.endswith("__init__.py"):
                    file.carries.add(each.alias)  # others read it as an attribute of the package
    if file.carries:
        file.spread()
    return bool(file.carries)


def mentions_loss(lowered: str) -> bool:
    """Return whether a text in lower case has the name of a loss."""
    found = [word for word in _LOSS_WORDS if word in lowered]
    # `torch.distributions.kl_divergence` takes no scores.
    return bool(found) and (found != ["kl_div"] or "kl_div" in lowered.replace("kl_divergence", ""))


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


def _imported(source: Source) -> Iterator[_Import]:
    folder, _ = _split(source.path)
    for dots, module, listed in _FROM.findall(source.text):
        key = _key(folder, module, len(dots))
        for name, alias in _ALIASED.findall(listed) if module != "__future__" else ():
            yield _Import(key, name, alias or name)
            inner = f"{module}.{name}" if module else name
            yield _Import(_key(folder, inner, len(dots)), "", alias or name)
    for listed in _IMPORT.findall(source.text):
        for name, alias in _ALIASED.findall(listed):
            yield _Import(_key(folder, name, 0), "", alias or name)


def _key(folder: str, dotted: str, level: int) -> _Key:
    """Return the key of a module: by its folder's name, or from the importer's folder if none."""
    outer, _, name = dotted.rpartition(".")
    if outer:
        return outer.rpartition(".")[2], name
    for _ in range(level - 1):
        folder = _split(folder)[0]
    return (folder + "/", name) if name else (_split(folder)[0] + "/", _split(folder)[1])
