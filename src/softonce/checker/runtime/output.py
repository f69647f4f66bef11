"""What one call puts out: the kind of a network's scores, followed from operation to operation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softonce.checker.runtime.ledger import Ledger
from softonce.checker.runtime.mode import ScoreMode, put_on, take_off

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from softonce.checker.tags import Scores


def read_output(compute: Callable[[], Tensor]) -> tuple[Tensor, Scores | None]:
    """Run a computation, and return what it gives with what is known of that.

    Args:
        compute: a forward pass in eager mode.

    Returns:
        The tensor, unchanged, and its scores; None if the operations could not be followed.

    Example:
        >>> import torch
        >>> read_output(lambda: torch.zeros(2, 3).softmax(dim=1))[1].op
        'softmax'
    """
    mode = ScoreMode(Ledger(), _ignore, _ignore)
    put_on(mode)
    try:
        out = compute()
        return out, mode.scores_of(out)
    finally:
        take_off(mode)


def _ignore() -> None:
    """Do nothing: there is no loss to look at."""
