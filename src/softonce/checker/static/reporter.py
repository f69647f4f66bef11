"""Collects findings: each pair of lines once, and the surest of what is said about it."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from softonce.checker.catalog import RULES
from softonce.checker.findings import Edit, Finding
from softonce.checker.kinds import Kind
from softonce.checker.static.values import Maker, Scores, Value

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterator, Sequence

    from softonce.checker.findings import Place
    from softonce.checker.static.frame import Frame

_Key = tuple[str, str, str, str]
_UNSEEN = "An option decides the one and a condition the other; both were not seen to hold."
_TWO = frozenset({"SO101", "SO202", "SO207"})
_RAW_NAME = re.compile(r"(^|_)logits?($|_)", re.IGNORECASE)
_PROBS_NAME = re.compile(r"(^|_)(probs?|probabilities)($|_)", re.IGNORECASE)
_READABLE = {
    "comparison": "a comparison",
    "linear": "a linear layer",
    "backbone": "the network",
    "add": "a sum",
    "sub": "a difference",
}


def described(op: str) -> str:
    """Return an operation's name as a message has it."""
    if op.startswith("conv"):
        return "a convolution"
    return _READABLE.get(op, op)


class _Conditions(NamedTuple):
    tests: frozenset[ast.expr]
    surely_only: bool


class Reporter:
    """The findings so far."""

    def __init__(self) -> None:
        self.findings: dict[_Key, Finding] = {}
        self.outcomes: dict[ast.expr, set[bool]] = {}
        self.surely_only = False
        self._conditional: dict[_Key, _Conditions] = {}
        self._is_deliberate = False
        self._left_out: set[tuple[str, int, int]] = set()

    def add(
        self,
        code: str,
        place: Place,
        maker: Maker | None = None,
        *,
        lowered: bool = False,
        on_one_branch: bool = False,
        tests: frozenset[ast.expr] = frozenset(),
        edits: Sequence[Edit] = (),
        **fields: object,
    ) -> None:
        """Report a broken rule; the fields fill in the rule's message.

        `lowered` says that the kind is one of several, `on_one_branch` that it is certain there.
        `tests` decided that the kind was made, and others that are unknown that the loss is
        reached: if the former go both ways in the program, the two may exclude each other.
        """
        if (lowered and self.surely_only) or (self._is_deliberate and code in _TWO):
            return
        if (place.path, place.cell, place.line) in self._left_out:
            return
        made = maker.place if maker else None
        near = made is not None and made.path == place.path
        where = made.spot if near and made else str(made)
        fields = {"made": where, "op": described(maker.op) if maker else "", "floor": "", **fields}
        message = RULES[code].message.format(**fields)
        if lowered or on_one_branch:
            message += " This happens on one branch only."
        path = tuple(p for p in maker.path if p not in (made, place)) if maker else ()
        if made == place:
            made = None
        key = (code, place.spot, place.path, str(made))
        old = self.findings.get(key)
        surer = old is not None and key in self._conditional and not tests and not lowered
        if old is None or (old.lowered and not lowered) or surer:
            self._conditional.pop(key, None)
            if tests:
                self._conditional[key] = _Conditions(tests, surely_only=self.surely_only)
            self.findings[key] = Finding(
                code, message, place, made, lowered=lowered, path=path, edits=tuple(edits)
            )

    def settle(self) -> None:
        """Lower what needs two conditions that were not seen to hold together."""
        for key, (tests, surely_only) in self._conditional.items():
            finding = self.findings.get(key)
            if finding is None or all(len(self.outcomes[test]) < 2 for test in tests):
                continue
            if surely_only:
                del self.findings[key]
            elif not finding.lowered:
                message = f"{finding.message} {_UNSEEN}"
                self.findings[key] = replace(finding, message=message, lowered=True, edits=())

    @contextmanager
    def deliberate(self) -> Iterator[None]:
        """Leave second softmaxes of the block unreported."""
        before, self._is_deliberate = self._is_deliberate, True
        yield
        self._is_deliberate = before

    def leave_out(self, first: Place, count: int) -> None:
        """Report nothing on a line and so many below it, whose mistakes are there to be refused.

        What they call is another matter: it is remembered, and others may call it, too.
        """
        lines = range(first.line, first.line + count + 1)
        self._left_out |= {(first.path, first.cell, line) for line in lines}

    def drop(self, code: str, place: Place) -> None:
        """Take back what a graver finding says better."""
        for key, finding in list(self.findings.items()):
            if finding.code == code and finding.place == place:
                del self.findings[key]

    def named(self, frame: Frame, target: ast.Name, value: Value) -> None:
        """Report a name that says logits and holds probabilities, or the other way about."""
        if not isinstance(value, Scores) or value.kind == Kind.OTHER or not value.known:
            return
        raw = _RAW_NAME.search(target.id) and value.kind in (Kind.P, Kind.BP, Kind.LOGP)
        probs = _PROBS_NAME.search(target.id) and value.kind in (Kind.LOGITS, Kind.LOGP)
        log_name = target.id.lower().startswith("log_")
        if raw or (probs and not (log_name and value.kind == Kind.LOGP)):
            self.add("SO305", frame.place(target), value.maker(value.kind), name=target.id)
