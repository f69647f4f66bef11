"""Paths in, findings out."""

from __future__ import annotations

import gc
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from softonce.checker.catalog import RULES
from softonce.checker.findings import Finding, Place
from softonce.checker.rule import Severity
from softonce.checker.static.interpreter import Interpreter
from softonce.checker.static.objects import Class, Function, FunctionNode, Module, has_any
from softonce.checker.static.project import Project
from softonce.checker.static.relevance import relevant_files
from softonce.checker.static.reporter import Reporter
from softonce.checker.static.sources import Source, read, walk

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable, Iterable, Iterator


NOT_FOLLOWED = "a part could not be followed, which is a fault of softonce"
RECURSION_LIMIT = 12_000
"""Source is walked recursively: a chain of calls takes more frames of ours than Python's 1,000."""


@dataclass(frozen=True)
class Settings:
    """What to check and how.

    Attributes:
        select: codes or beginnings of codes; empty for all that are on by default.
        ignore: codes or beginnings of codes to leave out.
        exclude: glob patterns of paths to leave out.
        softmax_addresses: the files that may normalise class scores (SO306).
        notes: whether notes are wanted.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    softmax_addresses: tuple[str, ...] = ()
    notes: bool = False

    def wants(self, finding: Finding) -> bool:
        """Return whether the finding is asked for."""
        code = finding.code
        if any(code.startswith(prefix) for prefix in self.ignore):
            return False
        chosen = any(code.startswith(prefix) for prefix in self.select)
        if code == "SO306" and self.softmax_addresses:
            return not self.select or chosen
        if finding.severity is Severity.NOTE and not self.notes and code not in self.select:
            return False
        return chosen if self.select else RULES[code].default


@dataclass(frozen=True)
class Checked:
    """The findings of a run, and the files that were read."""

    findings: tuple[Finding, ...]
    sources: dict[str, Source]
    project: Project | None = field(default=None, repr=False, compare=False)

    def leave_to_the_collector(self) -> None:
        """Free the trees only when garbage is collected next: see `run` of the command line."""
        cycle: list[object] = [self]
        cycle.append(cycle)

    def read_line(self, place: Place) -> str:
        """Return a line of one of the files."""
        source = self.sources.get(place.path)
        return source.line(place) if source else ""


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A module, and which of its functions and classes lead to a loss; None if all may."""

    module: Module
    names: frozenset[str] | None

    @property
    def leads_to_loss(self) -> bool:
        """Whether anything in it leads to a loss."""
        return self.names is None or bool(self.names)

    def leads(self, node: FunctionNode | ast.ClassDef) -> bool:
        """Return whether a function or a class leads to a loss."""
        return self.names is None or node.name in self.names

    def wants(self, node: FunctionNode | ast.ClassDef) -> bool:
        """Return whether a function or a class is worth running."""
        return self.leads(node) or self.mentions_scores(node)

    def mentions_scores(self, node: FunctionNode | ast.ClassDef) -> bool:
        """Return whether softmax or sigmoid stands in the lines of a node."""
        return has_any(self.module.score_lines, node.lineno, node.end_lineno)

    def num_functions(self) -> int:
        """Return how many functions and methods may be entered, roughly."""
        if self.names is None:
            return self.module.num_functions()
        return len(self.names)


def check_paths(paths: Iterable[str], settings: Settings = Settings()) -> Checked:
    """Check files and folders, together as one project.

    Example:
        >>> check_paths([]).findings
        ()
    """
    given = [str(path) for path in paths]
    sources = [read(path) for path in walk(given, settings.exclude)]
    return check_sources(sources, settings, on_disk=any(not Path(p).is_dir() for p in given))


def check_sources(sources: list[Source], settings: Settings, *, on_disk: bool = False) -> Checked:
    """Check files that have been read."""
    limit, collects = sys.getrecursionlimit(), gc.isenabled()
    sys.setrecursionlimit(max(limit, RECURSION_LIMIT))
    # Trees are many small objects that all stay: looking through them for garbage costs a third.
    gc.disable()
    try:
        reporter = Reporter()
        project = Project(sources, on_disk=on_disk)
        asked = {source.path for source in sources}
        _analyse(project, sources, reporter, settings)
    finally:
        sys.setrecursionlimit(limit)
        if collects:
            _enable_collection()
    by_path = {source.path: source for source in project.sources.values()}
    for source in sources:
        if source.problem:
            reporter.add("SO000", Place(source.path), reason=source.problem)
    kept = [
        finding
        for finding in reporter.findings.values()
        if (finding.place.path in asked or (finding.made and finding.made.path in asked))
        and settings.wants(finding)
        and not _is_silenced(finding, by_path)
    ]
    return Checked(tuple(sorted(kept, key=lambda f: f.sort_key)), by_path, project)


def _enable_collection() -> None:
    """Collect garbage again, but not at once among all that has been made since.

    The two calls move it to the oldest generation, which is looked through last.
    """
    if gc.get_freeze_count() == 0:  # else somebody else has frozen what has to stay so
        gc.freeze()
        gc.unfreeze()
    gc.enable()


def _is_silenced(finding: Finding, sources: dict[str, Source]) -> bool:
    places = [finding.place, finding.made] if finding.made else [finding.place]
    return any(
        place.path in sources and sources[place.path].is_silenced(place, finding.code)
        for place in places
    )


def _analyse(
    project: Project, sources: list[Source], reporter: Reporter, settings: Settings
) -> None:
    run = Interpreter(project, reporter, settings.softmax_addresses)
    loaded = _loaded(project, sources)
    run.share_steps(sum(part.num_functions() for part in loaded))
    for part in loaded:
        _guarded(run, part.module, lambda part=part: run.start(part.module))
    _enter(run, loaded, lambda node: node not in run.called)
    _take_other_choices(run, [part for part in loaded if part.leads_to_loss])
    reporter.surely_only = True
    _enter(run, loaded, run.has_unseen)
    reporter.surely_only = False
    run.rules.finish()
    reporter.settle()


def _loaded(project: Project, sources: list[Source]) -> list[_Loaded]:
    """Return the modules worth running, and what in them is."""
    pairs = [(project.module(each.source.path), each.names) for each in relevant_files(sources)]
    return [_Loaded(module, names) for module, names in pairs if module is not None]


def _enter(
    run: Interpreter, loaded: list[_Loaded], is_wanted: Callable[[FunctionNode], bool]
) -> None:
    """Run the functions that are wanted as if called from nowhere."""
    for part in loaded:
        for function in _entries(run, part):
            if is_wanted(function.node):  # type: ignore[arg-type] # no entry is a lambda
                _guarded(run, part.module, lambda function=function: run.enter(function))
        run.drop_bodies(part.module)
    for node, functions in list(run.nested.items()):
        if is_wanted(node):  # type: ignore[arg-type] # nor is a nested one that is defined
            for function in functions:
                _guarded(run, function.module, lambda function=function: run.enter(function))


def _take_other_choices(run: Interpreter, loaded: list[_Loaded]) -> None:
    """Run what nobody calls and depends on options once more, with options that somebody sets."""
    entries = run.option_readers - run.called
    run.assumes_defaults = False
    for part in loaded:
        if part.module.reads_options:
            _guarded(run, part.module, lambda part=part: run.rerun(part.module))
    _enter(run, loaded, lambda node: node in entries)


def _guarded(run: Interpreter, module: Module, action: object) -> None:
    """Do one part of the work; if that fails, the rest goes on, and a note says so."""
    try:
        action()  # type: ignore[operator]
    except RecursionError:
        run.heap.clear()
        run.reporter.add("SO000", Place(module.path), reason="nested too deep")
    except Exception as error:  # noqa: BLE001 - one file of a thousand must not hide the others
        run.heap.clear()
        reason = f"{NOT_FOLLOWED}: {type(error).__name__}: {error}"
        run.reporter.add("SO000", Place(module.path), reason=reason)


def _entries(run: Interpreter, part: _Loaded) -> Iterator[Function]:
    """Yield the functions and methods of a module as they are called from nowhere."""
    for node in part.module.functions():
        if part.wants(node):
            yield Function(node, part.module)
    for definition in part.module.classes():
        cls = run.classes.get(definition)
        if cls is not None and part.wants(definition):
            yield from _methods(run, part, cls)


def _methods(run: Interpreter, part: _Loaded, cls: Class) -> Iterator[Function]:
    constructor, whole = cls.methods.get("__init__"), part.leads(cls.node)
    if constructor is not None and (whole or part.mentions_scores(constructor)):
        _guarded(run, cls.module, lambda: run.some_instance(cls))
    for method in cls.methods.values():
        if method.name != "__init__" and (whole or part.mentions_scores(method)):
            instance = run.some_instance(cls)
            yield Function(method, cls.module, (), cls, instance)
    if whole and cls.methods:
        yield from _inherited(run, cls)


def _inherited(run: Interpreter, cls: Class) -> Iterator[Function]:
    """Yield the methods of the bases that call a loss, for the network that this class puts in."""
    seen = set(cls.methods)
    for base in cls.order()[1:]:
        for name, method in base.loss_methods().items():
            if name not in seen:
                yield Function(method, base.module, (), base, run.some_instance(cls))
        seen |= base.methods.keys()
