"""torch's own protocol of overrides, for functions that stand where one of torch's stands."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


def overridable(function: Callable[P, R]) -> Callable[P, R]:
    """Let tensor subclasses and torch function modes see the call, as they see a call of torch.

    Without it they would see the operations inside, or nothing of an `autograd.Function`.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        tensors = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
        if has_torch_function(tensors):
            result: R = handle_torch_function(call, tensors, *args, **kwargs)
            return result
        return function(*args, **kwargs)

    return call
