"""The losses as modules: they store options, call the function of the same name, nothing else."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from torch import nn

from softonce.losses.functional import cross_entropy, log_softmax, nll_loss, softmax
from softonce.losses.linear import linear_cross_entropy
from softonce.losses.overrides import takes_input
from softonce.losses.rows.checks import check_old_names
from softonce.losses.rows.options import LossOptions

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from softonce.shapes import ClassIndex, Features, Logits, LogProbs, Probs, Reduction


class Softmax(nn.Softmax):
    """`softmax` along a fixed dimension; never in front of `CrossEntropyLoss`, which holds one.

    Args:
        dim: the dimension whose entries sum to 1.
    """

    dim: int

    def __init__(self, dim: int) -> None:
        super().__init__(dim)

    @takes_input
    def forward(self, logits: Tensor) -> Tensor:
        """Return `softmax(logits, dim)`."""
        return softmax(logits, self.dim)


class LogSoftmax(nn.LogSoftmax):
    """`log_softmax` along a fixed dimension; what `NLLLoss` wants in front of it.

    Args:
        dim: the dimension whose probabilities sum to 1.
    """

    dim: int

    def __init__(self, dim: int) -> None:
        super().__init__(dim)

    @takes_input
    def forward(self, logits: Tensor) -> Tensor:
        """Return `log_softmax(logits, dim)`."""
        return log_softmax(logits, self.dim)


class _Options(nn.Module):
    """The options that losses store; the class weight is a buffer, and moves with the module.

    A loss is also an instance of torch's class of its name, so that whoever asks for one takes it;
    its constructor is not torch's, which would accept what is refused here.
    """

    weight: Tensor | None
    reduction: Any  # torch's classes declare any string

    def __init__(
        self,
        weight: Tensor | None,
        ignore_index: int | None,
        reduction: Reduction,
        label_smoothing: float = 0.0,
        softcap: float | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        nn.Module.__init__(self)
        LossOptions(
            reduction, label_smoothing=label_smoothing, softcap=softcap, dtype=dtype
        ).check()
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.label_smoothing = label_smoothing
        self.softcap = softcap

    def extra_repr(self) -> str:
        """Return the options as they stand in the constructor."""
        more = {"label_smoothing": self.label_smoothing or None, "softcap": self.softcap}
        shown = "".join(f", {name}={value}" for name, value in more.items() if value is not None)
        return f"ignore_index={self.ignore_index}, reduction={self.reduction!r}{shown}"


class NLLLoss(_Options, nn.NLLLoss):
    """`nll_loss` with fixed options; arguments and state as `torch.nn.NLLLoss`, which it is.

    Args:
        weight: a factor for each class.
        size_average: torch's old name of a reduction; refused with what to write instead.
        ignore_index: rows with this target have loss 0 and gradient 0.
        reduce: as `size_average`.
        reduction: `mean`, `sum` or `none`.
    """

    ignore_index: int

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: None = None,
        ignore_index: int = -100,
        reduce: None = None,
        reduction: Reduction = "mean",
    ) -> None:
        check_old_names(size_average, reduce)
        super().__init__(weight, ignore_index, reduction)

    @takes_input
    def forward(self, log_probs: LogProbs, target: ClassIndex) -> Tensor:
        """Return `nll_loss(log_probs, target)` with the stored options."""
        return nll_loss(
            log_probs,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


class CrossEntropyLoss(_Options, nn.CrossEntropyLoss):
    """`cross_entropy` with fixed options; as `torch.nn.CrossEntropyLoss`, which it is.

    Args:
        weight: a factor for each class.
        size_average: torch's old name of a reduction; refused with what to write instead.
        ignore_index: rows with this class index have loss 0 and gradient 0.
        reduce: as `size_average`.
        reduction: `mean`, `sum` or `none`.
        label_smoothing: the share of the target that is spread evenly over all classes.
        softcap: the bound of the logits, as in `cross_entropy`.
        dtype: of the loss, and to compute in; None is that of the logits.
    """

    ignore_index: int

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: None = None,
        ignore_index: int = -100,
        reduce: None = None,
        reduction: Reduction = "mean",
        label_smoothing: float = 0.0,
        *,
        softcap: float | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_old_names(size_average, reduce)
        super().__init__(weight, ignore_index, reduction, label_smoothing, softcap, dtype)
        self.dtype = dtype

    def extra_repr(self) -> str:
        """Return the options as they stand in the constructor."""
        return super().extra_repr() + ("" if self.dtype is None else f", dtype={self.dtype}")

    @takes_input
    def forward(self, logits: Logits, target: ClassIndex | Probs) -> Tensor:
        """Return `cross_entropy(logits, target)` with the stored options."""
        return cross_entropy(
            logits,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
            softcap=self.softcap,
            dtype=self.dtype,
        )


if TYPE_CHECKING or hasattr(nn, "LinearCrossEntropyLoss"):  # torch has it from 2.13 on
    _TorchsLinearLoss = nn.LinearCrossEntropyLoss
else:
    _TorchsLinearLoss = nn.Module


class LinearCrossEntropyLoss(_Options, _TorchsLinearLoss):
    """A `Linear` head and its `linear_cross_entropy`; as `torch.nn.LinearCrossEntropyLoss`.

    Args:
        in_features: D, the number of features that the head takes.
        num_classes: C, the number of classes.
        out_features: the sizes of further positions, each with a target of its own.
        bias: whether the head adds a bias.
        device: where the parameters lie.
        dtype: of the parameters.
        reduction: `mean`, `sum` or `none`.
        weight: a factor for each class.
        ignore_index: rows with this class index have loss 0 and gradient 0; None is -100.
        label_smoothing: the share of the target that is spread evenly over all classes.
        options: taken as in `linear_cross_entropy`.
        softcap: the bound of the logits, as in `cross_entropy`.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        reduction: Reduction = "mean",
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: nn.LinearCrossEntropyOptions | None = None,
        softcap: float | None = None,
    ) -> None:
        super().__init__(weight, ignore_index, reduction, label_smoothing, softcap)
        self.num_classes = num_classes
        self.out_features = out_features
        self.options = options
        rows = math.prod(out_features, start=num_classes)
        self.linear = nn.Linear(in_features, rows, bias=bias, device=device, dtype=dtype)

    @takes_input
    def forward(self, features: Features, target: ClassIndex | Probs) -> Tensor:
        """Return `linear_cross_entropy(features, linear.weight, target)` with the options."""
        rows = (self.num_classes, *self.out_features)
        bias = self.linear.bias
        return linear_cross_entropy(
            features,
            self.linear.weight.reshape(*rows, -1),
            target,
            linear_bias=None if bias is None else bias.reshape(rows),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
            softcap=self.softcap,
        )
