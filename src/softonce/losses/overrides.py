"""What lets a function stand where one of torch's stands: its overrides, and its keyword."""

from __future__ import annotations

import inspect
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


def takes_input(function: Callable[P, R]) -> Callable[P, R]:
    """Let the first argument be called `input` as well, as torch calls it."""
    name = _scores(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **(_rename_input(kwargs, name) if "input" in kwargs else kwargs))

    return call


def overridable(function: Callable[P, R]) -> Callable[P, R]:
    """Let tensor subclasses and torch function modes see the call, as they see a call of torch.

    Without it they would see the operations inside, or nothing of an `autograd.Function`. The first
    argument may be called `input` as well.
    """
    name = _scores(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        named = _rename_input(kwargs, name) if "input" in kwargs else kwargs
        if has_torch_function((*args, *named.values())):
            tensors = [x for x in (*args, *named.values()) if isinstance(x, Tensor)]
            result: R = handle_torch_function(call, tensors, *args, **named)
            return result
        return function(*args, **named)

    return call


def _scores(function: Callable[P, R]) -> str:
    """Return the name of the first argument, beside `self`."""
    return next(name for name in inspect.signature(function).parameters if name != "self")


def _rename_input(kwargs: dict[str, Any], name: str) -> dict[str, Any]:
    if name in kwargs:
        return kwargs
    return {name if key == "input" else key: value for key, value in kwargs.items()}
