"""What is wrong with the arguments of a loss, said before anything is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, get_args

import torch

from softonce.errors import ArgumentError
from softonce.losses.row_maths import HALF_DTYPES, IndexTarget, as_batch_of_indices, row_shape
from softonce.shapes import Reduction

if TYPE_CHECKING:
    from torch import Tensor

_DTYPES = (*HALF_DTYPES, torch.float32, torch.float64)
_RECORDS = torch._C._TorchDispatchModeKey.PROXY  # noqa: SLF001 - the dispatch mode of make_fx
_REDUCTIONS = get_args(Reduction)


def check_tensors(**values: object) -> None:
    """Raise if an argument that has to be a tensor is none."""
    for name, value in values.items():
        if not isinstance(value, torch.Tensor):
            raise ArgumentError(
                f"expected {name} to be a torch.Tensor, found {type(value).__name__}: "
                f"convert it with torch.as_tensor({name})"
            )


def check_options(reduction: str, label_smoothing: float = 0.0) -> None:
    """Raise if an option has a value that no loss knows."""
    if reduction not in _REDUCTIONS:
        raise ArgumentError(
            f"expected reduction to be one of {', '.join(_REDUCTIONS)}; found {reduction!r}"
        )
    if not 0.0 <= label_smoothing <= 1.0:
        raise ArgumentError(
            f"expected label_smoothing in [0, 1], found {label_smoothing}: "
            "pass the share of the target that is spread over all classes, 0 for none"
        )


def check_old_names(size_average: bool | None, reduce: bool | None) -> None:
    """Raise unless torch's old names of a reduction are left out."""
    if size_average is None and reduce is None:
        return
    wanted = "none" if reduce is False else "sum" if size_average is False else "mean"
    raise ArgumentError(
        f"expected no size_average and no reduce, which torch has deprecated; found {size_average} "
        f"and {reduce}: write reduction={wanted!r} instead"
    )


def check_scores(name: str, scores: Tensor, shape: torch.Size | None = None) -> None:
    """Raise unless `scores`, or logits of a `shape` made from them, are floats with a class."""
    shape = scores.shape if shape is None else shape
    check_floating(name, scores)
    if len(shape) == 0 or shape[:2][-1] == 0:
        raise ArgumentError(
            f"expected {name} of shape (C,) or (N, C, ...) with at least one class, "
            f"found {tuple(shape)}: pass one score per class"
        )


def check_floating(name: str, tensor: Tensor) -> None:
    """Raise unless the tensor has a floating point dtype that torch computes in."""
    if tensor.dtype not in _DTYPES:
        raise ArgumentError(
            f"expected floating point {name}, found {tensor.dtype}: "
            f"convert it with {name}.float(), or to one of {_names()}"
        )


def check_loss_dtype(dtype: torch.dtype) -> None:
    """Raise unless a loss can have this dtype."""
    if dtype not in _DTYPES:
        raise ArgumentError(
            f"expected dtype to be one of {_names()}; found {dtype}: "
            "leave it out, and the loss has the dtype of the logits"
        )


def _names() -> str:
    return ", ".join(str(dtype).removeprefix("torch.") for dtype in _DTYPES)


def check_index_target(name: str, shape: torch.Size, target: Tensor) -> None:
    """Raise unless `target` holds one class index for each row of scores of this `shape`."""
    expected = row_shape(shape)
    if target.shape != expected:
        raise ArgumentError(
            f"expected a target of shape {tuple(expected)} for {name} of shape {tuple(shape)}, "
            f"found {tuple(target.shape)}: pass one class index for each row"
        )
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
        raise ArgumentError(
            f"expected integer class indices in a target of shape {tuple(expected)}, "
            f"found {target.dtype}: convert them with target.long()"
        )


def check_probs_target(target: Tensor, shape: torch.Size, ignore_index: int) -> None:
    """Raise unless `target` may be class probabilities for logits of this `shape`."""
    if target.shape != shape:
        raise ArgumentError(
            f"expected a target of shape {tuple(shape)} if it is class probabilities, found "
            f"{target.dtype} of shape {tuple(target.shape)}: pass one probability for each class "
            f"of each row, or class indices of shape {tuple(row_shape(shape))}"
        )
    if target.dtype not in _DTYPES:
        raise ArgumentError(
            f"expected floating point class probabilities in a target of the logits' shape "
            f"{tuple(target.shape)}, found {target.dtype}: pass one class index for each row, "
            "or convert the probabilities with target.float()"
        )
    if ignore_index >= 0:
        raise ArgumentError(
            f"expected no ignore_index with a target of class probabilities, found {ignore_index}: "
            "leave it out; a row of zero probabilities contributes nothing"
        )


def index_target(target: Tensor, num_classes: int, ignore_index: int) -> IndexTarget:
    """Widen, check and mask a target that has a class index for each row, of any shape."""
    wanted = as_batch_of_indices(target).long().unsqueeze(1)
    unseen = IndexTarget.unseen(wanted, num_classes, ignore_index)
    if is_recorded():
        return IndexTarget(*unseen.parts)
    if not _has_values(wanted):
        return unseen
    index = wanted.clamp(0, num_classes - 1)
    is_in_range = _is_equal(index, wanted)
    if is_in_range is None:
        return unseen
    if is_in_range and not 0 <= ignore_index < num_classes:
        return IndexTarget(index)
    index, ignored, outside = unseen.parts
    if outside is not None and outside.any():
        _raise_out_of_range(target, outside.reshape(target.shape), num_classes, ignore_index)
    return IndexTarget(index, ignored)


def check_weight(weight: Tensor | None, num_classes: int, scores: Tensor) -> None:
    """Raise unless there is one floating point weight for each class, where the scores are."""
    if weight is None:
        return
    if tuple(weight.shape) != (num_classes,) or weight.dtype not in _DTYPES:
        raise ArgumentError(
            f"expected a floating point weight of shape ({num_classes},), "
            f"found {weight.dtype} of shape {tuple(weight.shape)}: pass one weight for each class"
        )
    check_device("weight", weight, scores)


def check_device(name: str, tensor: Tensor, scores: Tensor) -> None:
    """Raise unless `tensor` is on the device of the scores."""
    if tensor.device != scores.device:
        raise ArgumentError(
            f"expected {name} on {scores.device}, where the scores are, found it on "
            f"{tensor.device}: move it with {name}.to({str(scores.device)!r})"
        )


def is_recorded() -> bool:
    """Return whether the operations are recorded, to be run again with other values."""
    if torch.compiler.is_compiling() or torch._C._is_tracing():  # noqa: SLF001 - in the public way there is a warning
        return True
    if torch._C._get_dispatch_mode(_RECORDS) is not None:  # noqa: SLF001 - make_fx has no public question
        return True
    return torch._C._dispatch_tls_is_dispatch_key_included(torch._C.DispatchKey.PreDispatch)  # noqa: SLF001 - nor before dispatch


def _has_values(wanted: Tensor) -> bool:
    """Return whether to look at values costs no wait for a device."""
    return wanted.device.type == "cpu"


def _is_equal(index: Tensor, wanted: Tensor) -> bool | None:
    """Compare values; None if there are none to read, as in vmap and of fake tensors."""
    try:
        return torch.equal(index, wanted)
    except RuntimeError:
        return None


def _raise_out_of_range(
    target: Tensor, wrong: Tensor, num_classes: int, ignore_index: int
) -> NoReturn:
    if target.dim() == 0:
        target, wrong = target.unsqueeze(0), wrong.unsqueeze(0)
    position = tuple(wrong.nonzero()[0].tolist())
    row = position[0] if len(position) == 1 else position
    raise ArgumentError(
        f"expected class indices in [0, {num_classes}) or ignore_index {ignore_index}, "
        f"found {int(target[position])} in row {row} of the target "
        f"(the first of {int(wrong.sum())} such rows): "
        "check the labels against the number of classes"
    )
