"""`watch`: when to look, for how long, and what is said at the end."""

from __future__ import annotations

import linecache
import os
import sys
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from softonce.checker.findings import Finding, to_text
from softonce.checker.runtime.compiled import stepping_aside
from softonce.checker.runtime.ledger import Ledger
from softonce.checker.runtime.mode import ScoreMode, put_on, take_off
from softonce.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

EVENTS_IN_A_WINDOW = 20_000
LOOKS_IN_A_WINDOW = 3
WINDOWS = 20
"""How often a change to eval mode is looked at, for a few losses each time."""


class watch:  # noqa: N801 - used as a function: `with watch():`
    """Watch what the tensors of scores are, and report which loss is given the wrong kind.

    The first steps are looked at call by call, then every so many-th; a step is an
    `optimizer.step`. Every value is returned unchanged, and compiled regions stay compiled.

    Args:
        steps: how many steps are looked at from the start.
        every: then one step in so many, for the loss and its targets.
        report: print the findings to standard error at the end.

    Raises:
        ArgumentError: where a number is less than 1.

    Example:
        >>> import torch
        >>> with watch(report=False) as watched:
        ...     probs = torch.zeros(4, 3, requires_grad=True).softmax(dim=1)
        ...     loss = torch.nn.functional.cross_entropy(probs, torch.tensor([0, 1, 2, 0]))
        >>> [finding.code for finding in watched.findings]
        ['SO101']
    """

    def __init__(self, *, steps: int = 20, every: int = 97, report: bool = True) -> None:
        if min(steps, every) < 1:
            raise ArgumentError(f"expected steps and every of at least 1, found {steps}, {every}")
        self.steps, self.every, self.report = steps, every, report
        self.findings: list[Finding] = []
        self.num_steps = self.num_looked_at = 0
        self.ledger = Ledger()
        self.mode = ScoreMode(self.ledger)
        self._cleanup = ExitStack()
        self._is_on = False
        self._windows = WINDOWS
        self._thread = 0

    def __enter__(self) -> Self:
        """Start to look; on ranks other than 0 of a distributed run, do nothing."""
        if os.environ.get("RANK", "0") != "0":
            return self
        self._thread = threading.get_ident()
        hooks = (
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        )
        for hook in hooks:
            self._cleanup.callback(hook.remove)
        self._cleanup.enter_context(stepping_aside(self._step_aside, self._come_back))
        self._cleanup.enter_context(_eval_seen_by(self))
        _SESSIONS.append(self)
        self._cleanup.callback(_SESSIONS.remove, self)
        self._turn(on=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take everything away, and report."""
        if not self._thread:
            return
        self._turn(on=False)
        self._cleanup.close()
        self.findings = self.ledger.findings()
        if self.report:
            print(self.summary(), file=sys.stderr)  # noqa: T201 - the report

    def summary(self) -> str:
        """Return the findings and what was looked at, as text."""
        ledger = self.ledger
        lines = [to_text(self.findings, lambda place: linecache.getline(place.path, place.line))]
        looked = f"{self.num_looked_at} of {self.num_steps} steps"
        lines.append(
            f"softonce watch: looked at {looked}, {ledger.num_looks} calls of a loss on "
            f"{len(ledger.sites)} lines"
        )
        if not ledger.sites:
            lines.append(
                "no loss was seen: it may run in a child process or a compiled region; "
                "use `with softonce.watch():` where the training is"
            )
        if ledger.num_blind:
            lines.append(f"{ledger.num_blind} calls could not be looked at")
        return "\n".join(lines)

    def _turn(self, *, on: bool) -> None:
        """Put the mode on the stack, or take it off."""
        self.mode.is_active = self._is_on = on
        if on:
            put_on(self.mode)
        else:
            take_off(self.mode)

    def _is_elsewhere(self) -> bool:
        return threading.get_ident() != self._thread

    def _step_aside(self) -> None:
        take_off(self.mode)

    def _come_back(self) -> None:
        if self._is_on:
            put_on(self.mode)

    def _before_step(self, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Leave for the optimizer's own arithmetic; with a closure, the network runs in there."""
        has_closure = any(callable(value) for value in (*args, *kwargs.values()))
        if self._is_on and not has_closure and not self._is_elsewhere():
            take_off(self.mode)

    def _after_step(self, *_: object) -> None:
        if self._is_elsewhere():
            return
        self.num_looked_at += self._is_on
        self.num_steps += 1
        self.ledger.step = self.num_steps
        on = self.num_steps < self.steps or self.num_steps % self.every == 0
        if on or self._is_on:
            self._turn(on=on)

    def see_eval(self) -> None:
        """Look at the next few losses: the network has just gone to eval mode."""
        if self._is_on or not self._windows or self._is_elsewhere():
            return
        self._windows -= 1
        self.mode.close_after(LOOKS_IN_A_WINDOW, EVENTS_IN_A_WINDOW)
        self._turn(on=True)


_SESSIONS: list[watch] = []


@contextmanager
def _eval_seen_by(session: watch) -> Iterator[None]:
    """Tell the session of every `module.eval()`."""
    original = torch.nn.Module.train

    def train(module: torch.nn.Module, mode: bool = True) -> torch.nn.Module:
        if not mode:
            session.see_eval()
        return original(module, mode)

    torch.nn.Module.train = train  # type: ignore[method-assign,assignment] # put back below
    try:
        yield
    finally:
        torch.nn.Module.train = original  # type: ignore[method-assign]


def _leave_child() -> None:
    """Leave a forked child, such as a loader's worker: nobody reads its report."""
    for session in _SESSIONS:
        take_off(session.mode)


os.register_at_fork(after_in_child=_leave_child)
