"""`watch`: when to look, for how long, and what is reported."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from softonce.checker.findings import Finding, to_text
from softonce.checker.rule import Severity
from softonce.checker.runtime.compiled import stepping_aside
from softonce.checker.runtime.ledger import Ledger
from softonce.checker.runtime.mode import ScoreMode, put_on, take_off
from softonce.checker.runtime.places import layers_remembered, read_line, start_here
from softonce.checker.runtime.warned import lines_kept
from softonce.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

EVENTS_IN_A_WINDOW = 20_000
"""Calls after which a look ends even without a loss, so that a loop that only predicts runs at full
speed."""
LOOKS_IN_A_WINDOW = 3
"""Losses that one window sees: the first one names the line, and the others confirm it."""
WINDOWS = 20
"""How often a change to eval mode is looked at, for a few losses each time."""
EVENTS_WITHOUT_A_STEP = 500_000
"""After so many calls without a step, a second or two of looking, a program is not followed."""
_SEEN_AT_ONCE = frozenset({"SO601", "SO602"})
"""Rules that one look at the values proves."""


class watch:  # noqa: N801 - used as a function: `with watch():`
    """Watch what the tensors of scores are, and report which loss is given the wrong kind.

    The first steps are looked at call by call, then every so many-th; a step is an
    `optimizer.step`, without an optimizer a `backward`, without that a loss. Every value is
    returned unchanged, and compiled regions stay compiled.

    Args:
        steps: how many steps are looked at from the start.
        every: then one step in so many, for the loss and its targets.
        report: print a finding to standard error when it becomes certain, and all at the end.

    Raises:
        ArgumentError: if a number is less than 1.

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
        self.tell: Callable[[Finding], None] | None = print_line if report else None
        self.findings: list[Finding] = []
        self.num_steps = self.num_looked_at = 0
        self.ledger = Ledger()
        self.mode = ScoreMode(self.ledger, self._before_loss, self._close)
        self._cleanup = ExitStack()
        self._is_on = False
        self._windows = WINDOWS
        self._thread = 0
        self._has_optimizer = self._is_step_open = False
        self._told: set[tuple[object, ...]] = set()
        self._looked_over = 0

    def __repr__(self) -> str:
        """Return the report, as a notebook shows it."""
        return self.summary()

    def __enter__(self) -> Self:
        """Start to look; on ranks other than 0 of a distributed run, do nothing."""
        if not is_first_rank():
            return self
        self._thread = threading.get_ident()
        start_here()
        hooks = (
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        )
        for hook in hooks:
            self._cleanup.callback(hook.remove)
        self._cleanup.enter_context(stepping_aside(self._step_aside, self._come_back))
        self._cleanup.enter_context(_told_to(self))
        self._cleanup.enter_context(layers_remembered())
        self._cleanup.enter_context(lines_kept())
        _SESSIONS.append(self)
        self._cleanup.callback(_SESSIONS.remove, self)
        self.mode.close_after(self.steps, EVENTS_WITHOUT_A_STEP)
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

    def abandon(self) -> None:
        """Take everything away in a forked child, whose parent goes on looking."""
        take_off(self.mode)
        self._cleanup.close()

    def summary(self) -> str:
        """Return the findings and what was looked at, as text."""
        return "\n".join([to_text(self.findings, read_line), *self.remarks()])

    def remarks(self) -> list[str]:
        """Return what was looked at, and what was not."""
        ledger = self.ledger
        losses = _counted(ledger.num_looks, "call", " of a loss")
        text = f"{losses} on {_counted(len(ledger.sites), 'line')}"
        if self.num_steps:
            noun = "step" if self._has_optimizer else "backward call"
            looked = f"{self.num_looked_at} of {_counted(self.num_steps, noun)}"
            text = f"{looked}, {text}"
        lines = [f"softonce watch: looked at {text}"]
        if not ledger.sites and ledger.num_by_hand:
            lines.append(
                "no loss function of torch was called; losses written by hand are followed as far "
                "as log_softmax and log"
            )
        elif not ledger.sites:
            lines.append(
                "no loss was seen: it may run in another thread, in a compiled region, or in a "
                "form that is not followed; use `with softonce.watch():` where the training is"
            )
        for (op, place), number in ledger.blind.most_common(3):
            lines.append(f"{_counted(number, 'call')} of {op} at {place} could not be looked at")
        return lines

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

    def _close(self) -> None:
        """Leave at the next call of a module: the mode cannot take itself off while it is asked."""

        def leave(*_: object) -> None:
            if not self._is_elsewhere():
                handle.remove()
                if not self._is_on or not self.mode.is_active:
                    self._turn(on=False)

        handle = register_module_forward_pre_hook(leave)
        self._cleanup.callback(handle.remove)

    def _before_step(self, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Leave for the optimizer's own arithmetic; with a closure, the network runs in there."""
        has_closure = any(callable(value) for value in (*args, *kwargs.values()))
        if self._is_on and not has_closure and not self._is_elsewhere():
            take_off(self.mode)

    def _after_step(self, *_: object) -> None:
        if self._is_elsewhere():
            return
        if not self._has_optimizer:  # what came before were parts of its first step
            self._has_optimizer, self.num_steps, self.num_looked_at = True, 0, 0
        self._count_step()

    def after_backward(self) -> None:
        """Count a step at the next `backward`, if no optimizer has taken one by then."""
        if self._has_optimizer or self._is_elsewhere():
            return
        if self._is_step_open:
            self._count_step(is_asked=self._is_on)
        self._is_step_open = True

    def _count_step(self, *, is_asked: bool = False) -> None:
        """Decide about the next step; `is_asked` if a call is just going through the mode."""
        self.num_looked_at += self._is_on
        self.num_steps += 1
        self.ledger.step = self.num_steps
        on = self.num_steps < self.steps or self.num_steps % self.every == 0
        if on or self._is_on:
            self.mode.stay_open()
            self._look_over()
            if not is_asked:
                self._turn(on=on)
            elif not on:
                self.mode.is_active = self._is_on = False
                self._close()

    def see_eval(self) -> None:
        """Look at the next few losses: the network has just gone to eval mode."""
        if self._is_on or not self._windows or self._is_elsewhere():
            return
        self._windows -= 1
        self.mode.close_after(LOOKS_IN_A_WINDOW, EVENTS_IN_A_WINDOW)
        self._turn(on=True)

    def _before_loss(self) -> None:
        """Look over what came before, if no steps are counted."""
        if self.num_steps == 0:
            # A second softmax just before this loss is the loss's own story, which comes now.
            self._look_over(frozenset({"SO202"}))

    def _look_over(self, open_rules: frozenset[str] = frozenset()) -> None:
        """Tell what has become certain since the last step, or the last loss without steps."""
        if self.tell is None or self.ledger.num_changes == self._looked_over:
            return
        self._looked_over = self.ledger.num_changes
        for finding in self.ledger.findings():
            key = (finding.code, finding.place, finding.made)
            is_sure = finding.witness in ("tag", "grad_fn") or finding.code in _SEEN_AT_ONCE
            is_sure = is_sure and finding.severity is not Severity.NOTE
            if is_sure and key not in self._told and finding.code not in open_rules:
                self._told.add(key)
                self.tell(finding)


def print_line(finding: Finding) -> None:
    """Print a finding in one line, while the script runs."""
    text = f"softonce watch: {finding.place}: {finding.severity.value} {finding.code}"
    print(f"{text} {finding.message}", file=sys.stderr, flush=True)  # noqa: T201 - the report


def is_first_rank() -> bool:
    """Return whether this process is the one of a distributed run that reports."""
    return os.environ.get("RANK", "0") == "0"


def _counted(number: int, noun: str, rest: str = "") -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}{rest}"


_SESSIONS: list[watch] = []


@contextmanager
def _told_to(session: watch) -> Iterator[None]:
    """Tell the session of every `module.eval()` and of every `backward`."""
    original, backward = torch.nn.Module.train, torch.autograd.backward

    def train(module: torch.nn.Module, mode: bool = True) -> torch.nn.Module:
        if not mode:
            session.see_eval()
        return original(module, mode)

    def run_backward(*args: Any, **kwargs: Any) -> None:
        backward(*args, **kwargs)
        session.after_backward()

    torch.nn.Module.train = train  # type: ignore[method-assign,assignment] # put back below
    torch.autograd.backward = run_backward
    try:
        yield
    finally:
        torch.nn.Module.train = original  # type: ignore[method-assign]
        torch.autograd.backward = backward


def _leave_child() -> None:
    """Leave a forked child, such as a loader's worker."""
    while _SESSIONS:
        _SESSIONS[-1].abandon()


os.register_at_fork(after_in_child=_leave_child)
