"""What a loss is asked for beside its tensors: one record, from the public functions down."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from softonce.errors import ArgumentError
from softonce.losses.rows.checks import check_loss_dtype, check_options

if TYPE_CHECKING:
    import torch

    from softonce.shapes import Reduction


@dataclass(frozen=True)
class LossOptions:
    """The options of a loss, which `cross_entropy` and `linear_cross_entropy` explain.

    Args:
        reduction: `mean`, `sum` or `none`.
        ignore_index: the class index of rows that count nothing.
        label_smoothing: the share of the target that is spread over all classes.
        softcap: the bound of the logits, which become `softcap tanh(logits / softcap)`; None is
            none.
        return_lse: whether the log-sum-exp of the rows is returned beside the loss.
        return_pred: whether their predicted classes are, too.
        dtype: of the loss; None is that of the logits.
    """

    reduction: Reduction = "mean"
    ignore_index: int = -100
    label_smoothing: float = 0.0
    softcap: float | None = None
    return_lse: bool = False
    return_pred: bool = False
    dtype: torch.dtype | None = None

    def check(self) -> None:
        """Raise if an option has a value that no loss knows."""
        check_options(self.reduction, self.label_smoothing)
        if self.softcap is not None and not 0 < self.softcap < math.inf:
            raise ArgumentError(
                f"expected a softcap above 0, found {self.softcap}: "
                "pass the bound of the logits, or leave it out"
            )
        if self.dtype is not None:
            check_loss_dtype(self.dtype)
