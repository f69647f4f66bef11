"""Graphs put together at random over every operation of the transfer table."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from kind_witnesses import holds
from torch import Tensor, nn
from torch.nn import functional as F

from softonce.checker.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SIZES = ((7, 5), (5, 5), (4, 2), (6, 1))
# Row of the table -> ways to call it: {a} and {b} are tensors of one shape, {d} is an axis, {e}
# another one, {k} an entry of axis {d}.
EVERYWHERE: dict[str, tuple[str, ...]] = {
    "linear": ("F.linear({a}, torch.ones(5, {a}.shape[-1]) / 3)", "{a} @ weight({a}.shape[-1])"),
    "layer_norm": ("F.layer_norm({a}, {a}.shape[-1:])",),
    "softmax": ("{a}.softmax({d})", "F.softmax({a}, dim={d})", "torch.softmax({a}, {d})"),
    "softmin": ("F.softmin({a}, dim={d})",),
    "log_softmax": ("{a}.log_softmax({d})", "F.log_softmax({a}, {d})"),
    "sigmoid": ("{a}.sigmoid()", "torch.sigmoid({a})"),
    "hardsigmoid": ("F.hardsigmoid({a})",),
    "logsigmoid": ("F.logsigmoid({a})",),
    "logsumexp": (
        "{a}.logsumexp({d}, keepdim=True)",
        "{a}.logsumexp({d})",
        "{a} - {a}.logsumexp({d}, keepdim=True)",
        "{b} - {a}.logsumexp({d}, keepdim=True)",
        "{a} - {a}.logsumexp({d}).unsqueeze({d})",
    ),
    "one_hot": ("F.one_hot({a}.argmax({d}), {a}.shape[{d}]).float()",),
    **{name: (f"F.{name}({{a}})",) for name in ("relu", "relu6", "softplus", "softsign")},
    "abs": ("{a}.abs()",),
    "square": ("{a}.square()",),
    "tanh": ("{a}.tanh()",),
    "hardtanh": ("F.hardtanh({a})", "F.hardtanh({a}, 0, 4)", "F.hardtanh({a}, -3.0, 2.0)"),
    **{name: (f"F.{name}({{a}})",) for name in ("elu", "celu", "leaky_relu", "selu", "gelu")},
    **{name: (f"F.{name}({{a}})",) for name in ("silu", "mish", "hardswish")},
    "prelu": ("F.prelu({a}, torch.full((1,), 0.25))",),
    "detach": ("{a}.detach()",),
    "clone": ("{a}.clone()",),
    "contiguous": ("{a}.contiguous()",),
    "to": ("{a}.to(torch.float32)", "{a}.to(torch.int64).float()"),
    "float": ("{a}.float()",),
    "masked_fill": ("{a}.masked_fill({b} > 0, 0.0)",),
    "clamp": (
        "{a}.clamp(1e-7, 1)",
        "{a}.clamp(0.2, 0.6)",
        "{a}.clamp(min=0.5)",
        "{a}.clamp(-1, 2)",
    ),
    "clamp_min": ("{a}.clamp_min(1e-9)",),
    "view": ("{a}.contiguous().view(-1, {a}.shape[-1])", "{a}.contiguous().view(1, *{a}.shape)"),
    "reshape": (
        "{a}.reshape(-1)",
        "{a}.reshape({a}.shape[-1], -1)",
        "{a}.reshape(*{a}.shape[::-1])",
        "{a}.reshape(*{a}.shape, 1)",
    ),
    "flatten": ("{a}.flatten(-2)", "{a}.flatten(0, 1)"),
    "unflatten": ("{a}.unflatten({d}, ({a}.shape[{d}], 1))", "{a}.unflatten({d}, (2, -1))"),
    "squeeze": ("{a}.squeeze({d})", "{a}.unsqueeze({d}).squeeze({d})"),
    "unsqueeze": ("{a}.unsqueeze({d})",),
    "transpose": ("{a}.transpose({d}, {e})",),
    "permute": ("{a}.permute(*range(1, {a}.ndim), 0)",),
    "movedim": ("{a}.movedim({d}, {e})",),
    "t": ("{a}.t()",),
    "mT": ("{a}.mT",),
    "expand": ("{a}.expand(2, *{a}.shape)", "{a}.sum({d}, keepdim=True).expand({a}.shape)"),
    "expand_as": ("{a}.mean({d}, keepdim=True).expand_as({b})",),
    "flip": ("{a}.flip({d})",),
    "roll": ("{a}.roll(1, {d})", "{a}.roll(1)"),
    "stack": ("torch.stack([{a}, {b}], {d})", "torch.stack([1 - {a}, {a}], {d})"),
    "select": ("{a}.select({d}, {k})",),
    "narrow": ("{a}.narrow({d}, {k}, 1)", "{a}.narrow({d}, 0, {a}.shape[{d}])"),
    "index_select": ("{a}.index_select({d}, torch.tensor([{k}, 0]))",),
    "getitem": (
        "{a}[0]",
        "{a}[..., 0]",
        "{a}[:, {a}.shape[1] - 1:]",
        "{a}[None]",
        "{a}[..., None]",
        "{a}[:, :]",
        "{a}[1:]",
        "{a}[:, 0]",
        "{a}[0, ..., None]",
    ),
    "split": ("{a}.split(2, {d})[0]", "{a}.split(1)[0]"),
    "chunk": ("{a}.chunk(2, {d})[0]",),
    "unbind": ("{a}.unbind({d})[{k}]",),
    "cat": (
        "torch.cat([{a}, {b}], {d})",
        "torch.cat([1 - {a}, {a}], {d})",
        "torch.cat([{a}[..., None], 1 - {a}[..., None]], -1)",
    ),
    "gather": ("{a}.gather({d}, torch.zeros_like({a}, dtype=torch.int64))",),
    "topk": ("{a}.topk(1, {d}).values", "{a}.topk(2, {d})[0]"),
    "sort": ("{a}.sort({d})[0]",),
    "max": ("{a}.max({d})[0]", "{a}.max()", "{a}.max({d}, keepdim=True).values"),
    "min": ("{a}.min({d})[0]",),
    "amax": ("{a}.amax({d})", "{a} - {a}.amax({d}, keepdim=True)"),
    "amin": ("{a}.amin({d}, keepdim=True)",),
    "mean": (
        "{a}.mean({d})",
        "{a}.mean({d}, keepdim=True)",
        "torch.stack([{a}, {b}]).mean(0)",
        "({a} + {b}) / 2",
        "0.3 * {a} + {b} * 0.7",
        "({a} + {b} + {a}) / 3",
        "({a} + {b}) * 0.5",
    ),
    "sum": ("{a}.sum({d})", "{a}.sum({d}, keepdim=True)", "torch.stack([{a}, {b}]).sum(0) / 2"),
    "log": ("{a}.log()",),
    "exp": (
        "{a}.exp()",
        "{a}.exp() / {a}.exp().sum({d}, keepdim=True)",
        "(lambda e: e / e.sum({d}, keepdim=True))(({a} - {a}.amax({d}, keepdim=True)).exp())",
        "(lambda e: e / e.sum({d}).unsqueeze({d}))({a}.exp())",
        "(lambda e: e / e.sum({d}))({a}.exp())",
        "{a} - {a}.exp().sum({d}, keepdim=True).log()",
    ),
    "neg": ("-{a}",),
    "add_number": ("{a} + 3.0", "{a} - 1.5", "2 - {a}"),
    "mul_number": ("{a} * 2.0", "0.5 * {a}", "{a} * -1"),
    "div_number": ("{a} / 2.0", "{a} / 0.25"),
    "add_epsilon": ("{a} + 1e-8", "{a} - 1e-8", "1e-8 + {a}"),
    "one_minus": ("1 - {a}", "1.0 - {a}"),
    **{name: (f"({{a}}.{name}(0.3)).float()",) for name in ("gt", "ge", "lt", "le")},
    "eq": ("({a} == {b}).float()",),
    "ne": ("({a} != 0.5).float()",),
    "round": ("{a}.round()",),
    "argmax": ("{a}.argmax({d}).float()",),
    "argmin": ("{a}.argmin({d}).float()",),
    "long": ("{a}.long().float()",),
    "where": (
        "torch.where({a} > {b}, {a}, {b})",
        "torch.where({a}.sum({d}, keepdim=True) > 0, {a}, {b})",
        "torch.where({a} > 0, {a}, -1e9)",
    ),
    "maximum": ("torch.maximum({a}, {b})", "torch.max({a}, {b})"),
    "minimum": ("torch.minimum({a}, {b})",),
    "add": ("{a} + {b}", "torch.add({a}, {b}, alpha=2)", "{a} + {a}"),
    "sub": ("{a} - {b}",),
    "mul": ("{a} * {b}",),
    "div": ("{a} / {b}", "{a} / {a}.sum({d}, keepdim=True)"),
    "matmul": ("{a} @ {b}.transpose(-1, -2)", "{a}.transpose(-2, -1) @ {b}"),
}
# These need a shape of their own, or no file holds them.
RUN_TIME: dict[str, tuple[str, ...]] = {
    "bilinear": ("F.bilinear({a}, {b}, torch.ones(3, {a}.shape[-1], {a}.shape[-1]))",),
    **{
        f"conv{n}d": (f"F.conv{n}d(nd({{a}}, {n}), weight({{a}}.shape[1], {n}))",)
        for n in (1, 2, 3)
    },
    **{
        f"conv_transpose{n}d": (
            f"F.conv_transpose{n}d(nd({{a}}, {n}), weight({{a}}.shape[1], {n}).transpose(0, 1))",
        )
        for n in (1, 2, 3)
    },
    "batch_norm": ("F.batch_norm({a}, None, None, training=True)",),
    "group_norm": ("F.group_norm({a}, 1)",),
    "instance_norm": ("F.instance_norm({a}[None])",),
    "gumbel_softmax": ("F.gumbel_softmax({a}, dim={d})",),
    "rrelu": ("F.rrelu({a}, training=True)",),
    "dropout": ("F.dropout({a}, 0.5, training=True)", "F.dropout({a}, 0.5, training=False)"),
    "logit": ("{a}.logit(1e-6)",),
    "nan_to_num": ("{a}.nan_to_num()",),
    "identity": ("nn.Identity()({a})",),
    "cpu": ("{a}.cpu()",),
    "data": ("{a}.data",),
    "double": ("{a}.double().float()",),
    "type": ("{a}.type(torch.float64).float()",),
    "type_as": ("{a}.type_as({b})",),
    "requires_grad_": ("{a}.detach().requires_grad_().detach()",),
    "numpy": ("torch.from_numpy({a}.numpy())",),
    "from_numpy": ("torch.from_numpy({a}.numpy().copy())",),
    "tensor": ("torch.tensor({a}.tolist())",),
    "as_tensor": ("torch.as_tensor({a})",),
    "view_as": ("{a}.contiguous().view_as({b})",),
    "reshape_as": ("{a}.reshape_as({b})",),
    "T": ("{a}.T",),
    "take_along_dim": ("{a}.take_along_dim({a}.argsort({d}), {d})",),
    "masked_select": ("{a}.masked_select({a} == {a})",),
    "int": ("{a}.int().float()",),
    "getitem": (
        "{a}[:, [0]]",
        "{a}[[0, 0]]",
        "{a}[torch.tensor([0, 1])]",
        "{a}[{a}.sum(-1) > 0]",
        "{a}[torch.arange(2), 0]",
        "{a}[:, torch.tensor([[0, 0]])]",
        "{a}[{a} == {a}]",
    ),
    **{f"avg_pool{n}d": (f"F.avg_pool{n}d(nd({{a}}, {n}), 1)",) for n in (2, 3)},
    **{f"max_pool{n}d": (f"F.max_pool{n}d(nd({{a}}, {n}), 1)",) for n in (2, 3)},
    "avg_pool1d": ("F.avg_pool1d({a}, 2, 1)",),
    "max_pool1d": ("F.max_pool1d({a}, 2, 1)",),
    "interpolate": ("F.interpolate({a}[None], scale_factor=2)", "F.interpolate({a}[..., None], 3)"),
}
WATCHED = {
    name: EVERYWHERE.get(name, ()) + RUN_TIME.get(name, ())
    for name in (*EVERYWHERE, *(name for name in RUN_TIME if name not in EVERYWHERE))
}
"""What a running script may call."""
ELSEWHERE = frozenset({"cuda", "half", "bfloat16"})
"""What neither of them calls: copies to another device, or to so few digits that sums drift."""


def weight(channels: int, dims: int = 0) -> Tensor:
    """Return a weight; a parameter, as matmul takes it for scores if it is not one."""
    shape = (4, channels, *[1] * dims) if dims else (channels, 4)
    return nn.Parameter(torch.linspace(-1, 1, 4 * channels).reshape(shape), requires_grad=False)


def nd(tensor: Tensor, dims: int) -> Tensor:
    """Give a tensor so many axes behind its second one."""
    return tensor.reshape(*tensor.shape[:2], *[1] * dims)


SCOPE = {"torch": torch, "F": F, "nn": nn, "weight": weight, "nd": nd}


@dataclass
class RandomGraph:
    """A program in single assignments, and its first tensor."""

    x0: Tensor
    lines: list[str]

    @property
    def names(self) -> list[str]:
        return [f"x{number}" for number in range(1, len(self.lines) + 1)]

    def __call__(self, x0: Tensor) -> list[Tensor]:
        """Return the value of every line."""
        scope = {**SCOPE, "x0": x0}
        exec("\n".join(self.lines), scope)
        return [scope[name] for name in self.names]


class AsModule(nn.Module):
    """Several graphs as one network, every value of which is an output."""

    def __init__(self, graphs: Sequence[RandomGraph]) -> None:
        super().__init__()
        self.graphs = graphs

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        return {
            f"g{number}_{name}": value
            for number, (graph, x0) in enumerate(zip(self.graphs, inputs, strict=True))
            for name, value in zip(graph.names, graph(x0), strict=True)
        }


def random_graph(
    seed: int,
    *,
    length: int = 8,
    table: Mapping[str, tuple[str, ...]] = EVERYWHERE,
) -> RandomGraph:
    """Return a graph of so many operations of the table that torch can run."""
    choice = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    x0 = torch.randn(choice.choice(SIZES), generator=generator) * 2
    forms = list(table.values())
    graph = RandomGraph(x0, ["x1 = x0.softmax(-1)" if seed % 2 else "x1 = F.linear(x0, x0)"])
    values = [x0, *graph(x0)]
    while len(graph.lines) < length:
        line = f"x{len(values)} = {_form(choice, values, choice.choice(forms))}"
        scope = {**SCOPE, **{f"x{number}": value for number, value in enumerate(values)}}
        try:
            exec(line, scope)
        except (RuntimeError, IndexError, TypeError, ValueError):
            continue  # not for tensors of this shape
        value = scope[f"x{len(values)}"]
        if value.ndim > 5 or value.numel() > 5000 or value.numel() == 0:
            continue
        graph.lines.append(line)
        values.append(value)
    return graph


def _form(choice: random.Random, values: Sequence[Tensor], forms: Sequence[str]) -> str:
    at = choice.randrange(max(1, len(values) - 3), len(values))
    rank = values[at].ndim
    d, e = (choice.randrange(-rank, rank) if rank else 0 for _ in "de")
    same = [n for n, value in enumerate(values) if value.shape == values[at].shape]
    k = choice.randrange(values[at].shape[d]) if rank else 0
    names = {"a": f"x{at}", "b": f"x{choice.choice(same)}", "d": d, "e": e, "k": k}
    return choice.choice(forms).format(**names)


def is_true(kind: Kind, axis: int | None, value: Tensor) -> bool:
    """Return whether one of the possibilities holds along the axis, or along any if it is open."""
    if Kind.OTHER in kind or not value.double().isfinite().all():
        return True
    value = value.reshape(1) if value.ndim == 0 else value
    axes = range(value.ndim) if axis is None or axis < -value.ndim else [value.ndim + axis]
    if axis is not None and axis < -value.ndim:
        return False
    return any(holds(bit, value, dim) for bit in kind for dim in axes)
