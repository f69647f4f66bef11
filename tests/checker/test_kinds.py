"""Every row of the transfer table is true of torch: the claimed kind holds of real tensors."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from kind_witnesses import C, N, holds, sample
from torch import Tensor

from softonce import losses
from softonce.checker.kinds import (
    JOINS,
    KL_TARGET_RULES,
    METHODS,
    PAIRS,
    ROWS,
    SINKS,
    Axis,
    Kind,
    broken_rules,
    transfer,
    transfer_pair,
)
from softonce.checker.names import MODULES, canonical

INDICES = torch.tensor([0, 2, 1])
# Operation -> how to call it; an operation that is absent is called as `x.op()` or `F.op(x)`.
CALLS = {
    "linear": lambda x: F.linear(x.float(), torch.randn(4, C)),
    "bilinear": lambda x: F.bilinear(x.float(), x.float(), torch.randn(4, C, C)),
    **{
        f"conv{d}d": lambda x, d=d: getattr(F, f"conv{d}d")(
            x.float().reshape(N, C, *[1] * d), torch.randn(3, C, *[1] * d)
        )
        for d in (1, 2, 3)
    },
    **{
        f"conv_transpose{d}d": lambda x, d=d: getattr(F, f"conv_transpose{d}d")(
            x.float().reshape(N, C, *[1] * d), torch.randn(C, 3, *[1] * d)
        )
        for d in (1, 2, 3)
    },
    "batch_norm": lambda x: F.batch_norm(x.float(), None, None, training=True),
    "layer_norm": lambda x: F.layer_norm(x.float(), (C,)),
    "group_norm": lambda x: F.group_norm(x.float(), 1),
    "instance_norm": lambda x: F.instance_norm(x.float().reshape(1, N, C)),
    **{
        name: lambda x, name=name: getattr(F, name)(x.float(), dim=1)
        for name in ("softmax", "softmin", "log_softmax", "gumbel_softmax")
    },
    "logsumexp": lambda x: x.float().logsumexp(1, keepdim=True),
    "one_hot": lambda x: F.one_hot(x.argmax(1), C),
    "prelu": lambda x: F.prelu(x.float(), torch.tensor(0.25)),
    "numpy": lambda x: torch.from_numpy(x.numpy()),
    "from_numpy": lambda x: torch.from_numpy(x.numpy()),
    "tensor": lambda x: torch.tensor(x.tolist()),
    "as_tensor": torch.as_tensor,
    "data": lambda x: x.data,
    "to": lambda x: x.to(torch.float64),
    "cuda": lambda x: x,  # a copy to another device
    "type": lambda x: x.type(torch.float64),
    "type_as": lambda x: x.type_as(torch.zeros(1, dtype=torch.float64)),
    "identity": torch.nn.Identity(),
    "requires_grad_": lambda x: x.double().requires_grad_().detach(),
    "dropout": lambda x: F.dropout(x.float(), 0.5, training=True),
    "masked_fill": lambda x: x.masked_fill(x > x.double().mean(), 0),
    "clamp": lambda x: x.clamp(1e-7, 1),
    "clamp_min": lambda x: x.clamp_min(1e-7),
    "view": lambda x: x.contiguous().view(N, C, 1),
    "reshape": lambda x: x.reshape(N, C, 1),
    "flatten": lambda x: x.flatten(1),
    "unflatten": lambda x: x.unflatten(0, (N, 1)).squeeze(1),
    "unsqueeze": lambda x: x.unsqueeze(-1),
    "squeeze": lambda x: x.unsqueeze(-1).squeeze(-1),
    "transpose": lambda x: x.transpose(0, 1).transpose(0, 1),
    "permute": lambda x: x.permute(1, 0).permute(1, 0),
    "movedim": lambda x: x.movedim(0, 1).movedim(0, 1),
    "t": lambda x: x.t().t(),
    "T": lambda x: x.T.T,
    "mT": lambda x: x.mT.mT,
    "expand": lambda x: x.expand(3, N, C)[0],
    "expand_as": lambda x: x.expand_as(torch.zeros(3, N, C))[0],
    "view_as": lambda x: x.contiguous().view_as(torch.zeros(N, C)),
    "reshape_as": lambda x: x.reshape_as(torch.zeros(N, C)),
    "flip": lambda x: x.flip(1),
    "roll": lambda x: x.roll(1, 1),
    "stack": lambda x: torch.stack([x, x])[0],
    "select": lambda x: x.select(0, 0)[None],
    "narrow": lambda x: x.narrow(0, 0, 3),
    "index_select": lambda x: x.index_select(0, INDICES),
    "getitem": lambda x: x[1:4],
    "split": lambda x: x.split(3)[0],
    "chunk": lambda x: x.chunk(2)[0],
    "unbind": lambda x: x.unbind(0)[0][None],
    "cat": lambda x: torch.cat([x, x], 0),
    "gather": lambda x: x.gather(0, torch.zeros(2, C, dtype=torch.long)),
    "take_along_dim": lambda x: x.take_along_dim(torch.zeros(2, C, dtype=torch.long), 0),
    "masked_select": lambda x: x.masked_select(torch.ones(N, C, dtype=torch.bool)),
    "topk": lambda x: x.topk(2, 0).values,
    "sort": lambda x: x.sort(0).values,
    "max": lambda x: x.max(0).values,
    "min": lambda x: x.min(0).values,
    "amax": lambda x: x.amax(0),
    "amin": lambda x: x.amin(0),
    "mean": lambda x: x.double().mean(0, keepdim=True),
    "sum": lambda x: x.sum(0, keepdim=True),
    **{
        f"{kind}_pool{d}d": lambda x, kind=kind, d=d: getattr(F, f"{kind}_pool{d}d")(
            x.float().reshape(1, N, C, *[1] * (d - 1)), (2, *[1] * (d - 1))
        )
        for kind in ("avg", "max")
        for d in (1, 2, 3)
    },
    "interpolate": lambda x: F.interpolate(x.float().unsqueeze(-1), scale_factor=3, mode="linear"),
    "add_number": lambda x: x + 2.5,
    "mul_number": lambda x: x * 2.5,
    "div_number": lambda x: x / 2.5,
    "add_epsilon": lambda x: x + 1e-8,
    "one_minus": lambda x: 1 - x.float(),
    **{name: lambda x, name=name: getattr(x, name)(0.5) for name in ("gt", "ge", "lt", "le")},
    "eq": lambda x: x.eq(0.5),
    "ne": lambda x: x.ne(0.5),
    "argmax": lambda x: x.argmax(1),
    "argmin": lambda x: x.argmin(1),
    "logit": lambda x: x.logit(1e-6),
    "round": lambda x: x.float().round(),
    **{name: lambda x, name=name: getattr(F, name)(x.float()) for name in ("relu6", "hardtanh")},
}
# Operation -> the same along the axis of the classes.
ALONG = {
    "select": lambda x: x.select(1, 0),
    "narrow": lambda x: x.narrow(1, 0, 3),
    "index_select": lambda x: x.index_select(1, INDICES),
    "getitem": lambda x: x[:, 1:3],
    "split": lambda x: x.split(2, 1)[0],
    "chunk": lambda x: x.chunk(2, 1)[0],
    "unbind": lambda x: x.unbind(1)[0],
    "cat": lambda x: torch.cat([x, x], 1),
    "gather": lambda x: x.gather(1, torch.zeros(N, 2, dtype=torch.long)),
    "take_along_dim": lambda x: x.take_along_dim(torch.zeros(N, 2, dtype=torch.long), 1),
    "masked_select": CALLS["masked_select"],
    "topk": lambda x: x.topk(2, 1).values,
    "sort": lambda x: x.sort(1).values,
    "max": lambda x: x.max(1).values,
    "min": lambda x: x.min(1).values,
    "amax": lambda x: x.amax(1),
    "amin": lambda x: x.amin(1),
    "mean": lambda x: x.double().mean(1),
}


def call(name: str, scores: Tensor) -> Tensor:
    if name in CALLS:
        return CALLS[name](scores)
    method = getattr(scores, name, None)
    return method() if method is not None else getattr(F, name)(scores.float())


@pytest.mark.parametrize("name", sorted(ROWS))
def test_row_holds_of_random_tensors(name: str) -> None:
    for kind in Kind:
        claimed = transfer(name, kind)
        if claimed is not Kind.OTHER:
            out = call(name, sample(kind))
            dim = -1 if name == "one_hot" else 1
            assert any(holds(bit, out, dim) for bit in claimed), (kind, claimed)


@pytest.mark.parametrize("name", sorted(name for name, row in ROWS.items() if row.along))
def test_row_holds_along_the_axis_of_the_classes(name: str) -> None:
    for kind in Kind:
        claimed = transfer(name, kind, along=True)
        if claimed is not Kind.OTHER:
            assert any(holds(bit, ALONG[name](sample(kind))) for bit in claimed), (kind, claimed)


@pytest.mark.parametrize(("name", "left", "right"), sorted(PAIRS))
def test_pair_holds_of_random_tensors(name: str, left: Kind, right: Kind) -> None:
    a, b = sample(left), sample(right)
    if right is Kind.LSE:
        b = a.logsumexp(1, keepdim=True)
    if name == "matmul":
        b = sample(right, (C, 3))
    assert holds(transfer_pair(name, left, right), getattr(torch, name)(a, b))


@pytest.mark.parametrize("name", sorted(JOINS - {"cat", "stack"}))
def test_a_join_is_one_of_its_arguments_entry_by_entry(name: str) -> None:
    a, b = sample(Kind.LOGITS), sample(Kind.P)
    out = torch.where(a > b, a, b) if name == "where" else getattr(torch, name)(a, b)
    assert bool(((out == a) | (out == b)).all())


def test_the_witness_can_fail() -> None:
    assert not holds(Kind.P, sample(Kind.LOGITS))
    assert not holds(Kind.LOGP, sample(Kind.P))
    assert not holds(Kind.NONNEG, sample(Kind.LOGITS))


@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_module_is_a_class_of_torch_and_its_operation_is_known(name: str) -> None:
    assert hasattr(torch.nn, name)
    assert MODULES[name] in ROWS.keys() | SINKS.keys()


@pytest.mark.parametrize("name", sorted(SINKS.keys() - {"sigmoid_focal_loss"}))
def test_every_loss_is_a_function_of_torch_or_of_ours(name: str) -> None:
    assert hasattr(F, name) or hasattr(losses, name)


def test_every_rule_of_a_sink_is_in_the_catalogue() -> None:
    from softonce.checker.catalog import RULES

    codes = {code for sink in SINKS.values() for code in sink.broken_by.values()}
    assert codes | set(KL_TARGET_RULES.values()) <= RULES.keys()


def test_an_unknown_operation_makes_other_and_other_is_never_reported() -> None:
    assert transfer("no_such_operation", Kind.P) is Kind.OTHER
    assert broken_rules("cross_entropy", Kind.P | Kind.OTHER) == {}


def test_in_place_and_operator_spellings_have_one_name() -> None:
    spellings = ("sigmoid_", "__rsub__", "__truediv__", "true_divide", "requires_grad_")
    assert [canonical(name) for name in spellings] == [
        "sigmoid", "sub", "div", "div", "requires_grad_",
    ]  # fmt: skip


def test_the_methods_that_make_something_of_anything_are_those_of_torch() -> None:
    of_anything = {name for name, row in ROWS.items() if Kind.OTHER not in row.rest}
    assert {name for name in of_anything if hasattr(Tensor, name)} == METHODS


def test_every_axis_is_used() -> None:
    assert {row.axis for row in ROWS.values()} == set(Axis)
