"""The mode: it sees every call of torch, tags what comes out, and shows losses to the ledger."""

# mypy: disable-error-code="no-untyped-call"
# torch's stack of modes and its weak dictionaries carry no annotations.
from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._C import _is_tracing, _len_torch_function_stack
from torch.overrides import TorchFunctionMode, _pop_mode, _push_mode
from torch.utils._device import DeviceContext
from torch.utils.weak import WeakTensorKeyDictionary

from softonce.checker.flow import apply, normalised_again
from softonce.checker.kinds import SINKS, SPOILT, Kind, overwritten
from softonce.checker.runtime.events import (
    KEEPS,
    call_of,
    is_swapped,
    is_tempering,
    name_of,
)
from softonce.checker.runtime.places import origin, user_lines
from softonce.checker.runtime.sites import SOMEWHERE
from softonce.checker.tags import Call, Scores

if TYPE_CHECKING:
    from collections.abc import Callable

    from softonce.checker.runtime.ledger import Ledger
    from softonce.checker.runtime.sites import Site

_WITH_INDICES = frozenset({"topk", "sort", "max", "min"})
_OF_A_SOFTMAX = frozenset({"exp", "logsumexp"})
"""What a softmax, or its logarithm, is written of; the same tensor is read once more after it."""
_CASTS = frozenset({"to", "type", "type_as"})


_Stored = list[tuple[Tensor, Scores | None]]
"""Tensors that an assignment changes, and what is known of each after it."""


class ScoreMode(TorchFunctionMode):
    """Follows kinds from call to call; what it cannot follow has no tag."""

    def __init__(
        self, ledger: Ledger, before_loss: Callable[[], None], on_close: Callable[[], None]
    ) -> None:
        super().__init__()
        self.ledger = ledger
        self._before_loss, self._on_close = before_loss, on_close
        self.is_active = True
        self.num_events = 0
        self._last_event = self._last_look = sys.maxsize
        self._tags = WeakTensorKeyDictionary()
        self._negated = WeakTensorKeyDictionary()
        self._tempered = WeakTensorKeyDictionary()
        self._names: dict[Any, str] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call the function, and look at what goes in and comes out."""
        kwargs = kwargs or {}
        op = self._names.get(func)
        if op is None:
            op = self._names[func] = name_of(func)
        self.num_events += 1
        if self.num_events > self._last_event or self.ledger.num_looks >= self._last_look:
            self.is_active = False
            self.stay_open()
            self._on_close()
        if not op or not self.is_active or _is_tracing():
            return func(*args, **kwargs)
        seen = self._guarded(op, self._before, op, func, args, kwargs)
        result = func(*args, **kwargs)
        if seen is not None:
            self._guarded(op, self._after, seen, args, result)
        return result

    def close_after(self, looks: int, events: int) -> None:
        """Look at so many losses or calls, whichever comes first, and then at nothing."""
        self._last_look = self.ledger.num_looks + looks
        self._last_event = self.num_events + events

    def stay_open(self) -> None:
        """Look without end."""
        self._last_event = self._last_look = sys.maxsize

    def _guarded(self, op: str, look: Any, *arguments: Any) -> Any:
        """Look, and never let that hurt the script; what could not be looked at is counted."""
        try:
            with torch.no_grad():
                return look(*arguments)
        except Exception:  # noqa: BLE001 - tensors of other makers raise anything
            self.ledger.blind[op, next(iter(user_lines()), SOMEWHERE)] += 1
            return None

    def _before(
        self, op: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Call | Site | _Stored | None:
        if op == "setitem":
            return self._stored(*args)
        if op in SINKS:
            self._before_loss()
            self._note_tempered(op, args)
            return self.ledger.look(op, args, kwargs, self.scores_of)
        if op in _OF_A_SOFTMAX and isinstance(args[0], Tensor) and self.tag_of(args[0]) is None:
            self._tag(args[0], Scores(Kind.OTHER))  # the token by which it is known again
        call = call_of(op, args, kwargs, self.tag_of, swapped=is_swapped(func))
        if call.op not in KEEPS:
            call = call._replace(made=origin())
        if op in ("add", "sub") and 1.0 in call.operands:
            self._pardon(args)
        code = normalised_again(call)
        if op in SPOILT and self._note_tempered(op, args):
            return call
        if code is not None:
            self.ledger.note_call(code, call)
        elif op in ("gt", "ge", "lt", "le", "round"):
            self.ledger.note_threshold(call, args)
        self.ledger.num_by_hand += op == "log_softmax" and torch.is_grad_enabled()
        return call

    def _stored(self, tensor: Tensor, _: Any, value: Any) -> _Stored:
        """Return what `tensor[i] = value` leaves in a tensor, and in the one that it is a view of.

        A view that was taken before other entries were stored holds entries of its base still.
        """
        part = None
        for holder in (value, getattr(value, "_base", None)):
            part = part or (self.tag_of(holder) if isinstance(holder, Tensor) else None)
        held = [each for each in (tensor, getattr(tensor, "_base", None)) if each is not None]
        return [(each, _overwritten(self.tag_of(each), part)) for each in held]

    def _note_tempered(self, op: str, args: tuple[Any, ...]) -> bool:
        """Keep a call on probabilities that were divided by a temperature."""
        tempered = self._tempered.get(args[0]) if args and op in SPOILT else None
        if tempered is None:
            return False
        place = next(iter(user_lines()), None)
        self.ledger.note_call("SO206", Call(op, (tempered,), made=place))
        return True

    def _after(self, seen: Call | Site | _Stored, args: tuple[Any, ...], result: Any) -> None:
        if isinstance(seen, list):
            for tensor, scores in seen:
                self._tag(tensor, scores)
            return
        if not isinstance(seen, Call):
            seen.record_loss(result)
            self.ledger.num_changes += seen.nan is not None
            if seen.loss == "nll_loss" and isinstance(result, Tensor):
                self._negated[result] = seen
            return
        first = args[0] if args else None
        if result is first and isinstance(first, Tensor) and self.tag_of(first) is not None:
            return  # handed through as it was
        parts = result if isinstance(result, (tuple, list)) else (result,)
        for position, part in enumerate(parts):
            if not isinstance(part, Tensor):
                continue
            tempered = (
                seen.operands[0] if is_tempering(seen) else self._tempered_before(seen, first)
            )
            if tempered is not None:
                self._tempered[part] = tempered
            is_cut = seen.op in _CASTS and not part.is_floating_point()
            made = apply(seen._replace(op="long" if is_cut else seen.op, after=tuple(part.shape)))
            if position == 1 and seen.op in _WITH_INDICES:
                made = Scores(Kind.INDEX, op=seen.op, made=seen.made)
            self._tag(part, made)

    def _tempered_before(self, seen: Call, first: Any) -> Any:
        """Return the probabilities that were tempered, of a view or a copy of the quotient."""
        is_copy = seen.op in KEEPS and isinstance(first, Tensor)
        return self._tempered.get(first) if is_copy else None

    def _pardon(self, args: tuple[Any, ...]) -> None:
        """Take `1 + nll_loss(probs)` for what it is: one minus the probability of the target."""
        for value in args:
            site = self._negated.get(value) if isinstance(value, Tensor) else None
            if site is not None:
                site.pardoned.add("SO102")

    def _tag(self, tensor: Tensor, scores: Scores | None) -> None:
        if scores is not None:
            self._tags[tensor] = (scores, _version(tensor))
        elif tensor in self._tags:
            del self._tags[tensor]

    def tag_of(self, tensor: Tensor) -> Scores | None:
        """Return what is known of a tensor, unless it was changed in place since."""
        entry = self._tags.get(tensor)
        return entry[0] if entry is not None and entry[1] == _version(tensor) else None

    def scores_of(self, tensor: Tensor) -> Scores | None:
        """Return the kind of a tensor, if it is known."""
        tag = self.tag_of(tensor)
        return None if tag is None or tag.kind == Kind.OTHER else tag


def _overwritten(whole: Scores | None, part: Scores | None) -> Scores | None:
    if whole is None or part is None:
        return None
    kind = overwritten(whole.kind, part.kind)
    if kind == Kind.OTHER:
        return None
    return Scores(kind, whole.axis, whole.op, whole.made, direct=False)


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version  # noqa: SLF001 - its public name


def put_on(mode: ScoreMode) -> None:
    """Put the mode at the bottom of this thread's stack, where no `with` of the script pops it."""
    above = [_pop_mode() for _ in range(_len_torch_function_stack())]
    if mode not in above:
        # torch wants the default device, if there is one, below all others.
        at = len(above) - 1 if above and isinstance(above[-1], DeviceContext) else len(above)
        above.insert(at, mode)
    for other in reversed(above):
        _push_mode(other)


def take_off(mode: ScoreMode) -> None:
    """Take the mode off this thread's stack, wherever it is."""
    above = [_pop_mode() for _ in range(_len_torch_function_stack())]
    for other in reversed(above):
        if other is not mode:
            _push_mode(other)
