"""The parts of programs that tests of the checker put together at random."""

from __future__ import annotations

HEAD = """\
import torch
import torch.nn as nn
import torch.nn.functional as F


def softened(x, dim=1):
    return F.softmax(x, dim=dim)


class Head(nn.Module):
    def __init__(self, last=None):
        super().__init__()
        self.linear = nn.Linear(5, 5, dtype=torch.float64)
        self.last = last

    def forward(self, x):
        x = self.linear(x)
        return x if self.last is None else self.last(x)


x = torch.randn(7, 5, dtype=torch.float64)
y = x
"""
# Each keeps a (7, 5) tensor a (7, 5) tensor.
EXPRESSIONS = (
    "F.softmax({a}, dim=1)", "{a}.softmax(-1)", "softened({a})", "softened({a}, dim=0)",
    "F.log_softmax({a}, dim=1)", "{a}.log_softmax(dim=0)", "torch.sigmoid({a})", "{a}.sigmoid()",
    "F.logsigmoid({a})", "F.relu({a})", "torch.tanh({a})", "F.leaky_relu({a})", "F.gelu({a})",
    "Head()({a})", "Head(nn.Softmax(dim=1))({a})", "nn.Sequential(nn.ReLU(), nn.Sigmoid())({a})",
    "{a}.log()", "{a}.exp()", "1 - {a}", "{a} * 2.5", "{a} / 2", "{a} + 1e-9", "{a} + 3", "-{a}",
    "{a}.detach()", "{a}.clone().contiguous()", "{a}.reshape(35).view(7, 5)", "{a}.flip(1)",
    "{a}.unsqueeze(0).squeeze(0)", "{a}.t().contiguous().t()", "{a}[:, [0, 1, 2, 3, 4]]",
    "{a}[torch.arange(7)]", "torch.cat([{a}[:3], {a}[3:]], dim=0)",
    "torch.cat([{a}[:, :2], {a}[:, 2:]], 1)", "torch.stack([{a}, {a}]).mean(0)",
    "{a}.mean(dim=1, keepdim=True).expand(7, 5)", "{a}.max(dim=1, keepdim=True)[0].expand(7, 5)",
    "{a} - {a}.logsumexp(1, keepdim=True)", "{a} + {b}", "{a} * {b}", "{a} - {b}",
    "torch.where({a} > 0, {a}, {b})", "torch.maximum({a}, {b})", "({a} > 0.5).double()",
    "{a}.round()", "{a}.clamp(1e-9, 1)", "F.one_hot({a}.argmax(1), 5).double()",
    "{a} if flag else {b}", "({a}, {b})[1]", "{{'p': {a}, 'q': {b}}}['q']",
    "{a}.exp() / {a}.exp().sum(1, keepdim=True)", "{a} - {a}.exp().sum(1, keepdim=True).log()",
    "{a}.sub(torch.logsumexp({a}, dim=1)[:, None])",
    "{a}.gt(0.5).double()", "(0.5 < {a}).double()", "({a} == {b}).double()", "{a}.long().double()",
    "{a}.abs()", "F.softplus({a})", "F.softmin({a}, dim=1)", "F.hardsigmoid({a})", "{a}.div(2)",
    "{a}.sum(dim=1, keepdim=True).expand(7, 5)",
    "torch.logsumexp({a}, 1, keepdim=True).expand(7, 5)",
    "F.avg_pool1d({a}, 3, 1, 1)", "F.dropout({a}, 0.5, training=True)", "{a}.square()",
)  # fmt: skip
