"""`softonce watch`: a program watched from its start to whichever end it takes."""

from __future__ import annotations

import shutil
import sys
from contextlib import ExitStack, contextmanager, nullcontext
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from softonce.checker.findings import Finding, Place, exit_status, to_json, to_text
from softonce.checker.in_children import Shared, children_watched, reports, told_first
from softonce.checker.runtime.endings import before_the_end
from softonce.checker.runtime.places import read_line
from softonce.checker.runtime.program import find_program
from softonce.checker.runtime.script import run_script
from softonce.checker.runtime.session import is_first_rank, print_line, watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class WatchOptions(NamedTuple):
    """How a program is watched.

    Attributes:
        steps: how many steps are looked at from the start.
        every: then one step in so many.
        fail: whether an error gives status 1.
        json: whether the report is one JSON array, and nothing is printed before it.
    """

    steps: int = 20
    every: int = 97
    fail: bool = False
    json: bool = False


def watch_program(
    name: str, arguments: Sequence[str], options: WatchOptions, *, is_module: bool = False
) -> int:
    """Run a program, watched; return its own status, or 1 if `fail` is set and an error is found.

    Raises:
        ArgumentError: if there is no such program.
    """
    program = find_program(name, is_module=is_module)
    if not is_first_rank():
        return run_script(program, arguments, nullcontext())
    watched = _Watched(options)
    status = run_script(program, arguments, watched.looking())
    return status or (exit_status(watched.findings) if options.fail else 0)


class _Watched:
    """One watched program: its own session, what its children saw, and the one report of both."""

    def __init__(self, options: WatchOptions) -> None:
        self.options = options
        self.session = watch(steps=options.steps, every=options.every, report=False)
        self.findings: list[Finding] = []
        self._is_reported = False

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look until the program ends, and report."""
        options = self.options
        with ExitStack() as cleanup:
            folder = cleanup.enter_context(TemporaryDirectory(prefix="softonce-watch-"))
            self.session.tell = None if options.json else self._tell_once(folder)
            cleanup.callback(self._report, folder)
            cleanup.enter_context(before_the_end(lambda: self._leave(folder)))
            shared = Shared(folder, options.steps, options.every, not options.json)
            cleanup.enter_context(children_watched(shared))
            cleanup.enter_context(self.session)
            yield

    def _leave(self, folder: str) -> None:
        """Report, and take the folder away: nothing else of this process will run."""
        self._report(folder)
        shutil.rmtree(folder, ignore_errors=True)

    def _tell_once(self, folder: str) -> Callable[[Finding], None]:
        def tell(finding: Finding) -> None:
            if told_first(folder, finding):
                print_line(finding)

        return tell

    def _report(self, folder: str) -> None:
        """Print what was found, once."""
        if self._is_reported:
            return
        self._is_reported = True
        children = reports(folder)
        own = self.session.ledger.findings()
        seen = {(f.code, f.place, f.made): f for f in own}
        for record in children:
            for found in map(_finding, record["findings"]):
                seen.setdefault((found.code, found.place, found.made), found)
        self.findings = sorted(seen.values(), key=lambda finding: finding.sort_key)
        sys.stdout.flush()
        text = to_json(self.findings) if self.options.json else self._text(children)
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - the report

    def _text(self, children: list[dict[str, object]]) -> str:
        remarks = self.session.remarks()
        if children:
            looks = sum(int(str(record["looks"])) for record in children)
            number = f"{len(children)} child process{'es' if len(children) > 1 else ''}"
            remarks = [*remarks[:1], f"and at {looks} calls of a loss in {number}"]
        return "\n".join([to_text(self.findings, read_line), *remarks])


def _finding(record: dict[str, object]) -> Finding:
    """Return a finding as a child wrote it."""

    def place(entry: object) -> Place | None:
        return Place(**entry) if isinstance(entry, dict) else None

    path = record["path"]
    return Finding(
        str(record["code"]),
        str(record["message"]),
        place(record["place"]) or Place(""),
        place(record["made"]),
        path=tuple(filter(None, map(place, path if isinstance(path, list) else []))),
        witness=str(record["witness"]),
    )
