"""`softonce watch`: a program watched from its start to whichever end it takes."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager, nullcontext
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from softonce.checker.findings import Finding, Place, exit_status, to_json, to_text
from softonce.checker.in_children import Shared, children_watched, reports, told_first
from softonce.checker.runtime.endings import before_the_end
from softonce.checker.runtime.places import read_line
from softonce.checker.runtime.program import find_program
from softonce.checker.runtime.script import run_script
from softonce.checker.runtime.session import is_first_rank, print_line, watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from softonce.config.watch import WatchConfig


def watch_program(config: WatchConfig) -> int:
    """Run a program, watched; return its own status, or 1 if `fail` is set and an error is found.

    Raises:
        ArgumentError: if there is no such program.
    """
    program = find_program(str(config.script), is_module=config.module)
    if not is_first_rank():
        return run_script(program, config.arguments, nullcontext())
    watched = _Watched(config)
    status = run_script(program, config.arguments, watched.looking())
    return status or (exit_status(watched.findings) if config.fail else 0)


class _Watched:
    """One watched program: its own session, what its children saw, and the one report of both."""

    def __init__(self, config: WatchConfig) -> None:
        self.config = config
        self.session = watch(steps=config.steps, every=config.every, report=False)
        self.findings: list[Finding] = []
        self._is_reported = False

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look until the program ends, and report."""
        config = self.config
        with ExitStack() as cleanup:
            # Under /dev/shm or /tmp: a child may be started by any means, in any folder.
            folder = cleanup.enter_context(TemporaryDirectory(prefix="softonce-watch-"))
            self.session.tell = None if config.json else self._tell_once(folder)
            cleanup.callback(self._report, folder)
            cleanup.enter_context(before_the_end(lambda: self._report(folder)))
            shared = Shared(folder, config.steps, config.every, not config.json)
            cleanup.enter_context(children_watched(shared))
            cleanup.enter_context(self.session)
            yield

    def _tell_once(self, folder: str):  # type: ignore[no-untyped-def]
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
        text = to_json(self.findings) if self.config.json else self._text(children)
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
