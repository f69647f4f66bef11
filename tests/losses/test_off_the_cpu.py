"""On an accelerator no value is read, which would wait for it: a meta tensor has none to read.

A kernel that computes nothing stands for the one of the device.
"""

import itertools
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from softonce.losses import cross_entropy, linear_cross_entropy
from softonce.losses.head import row_chunks
from softonce.losses.kernels import choice, products
from softonce.losses.kernels.interface import Rows
from softonce.losses.rows import autograd

META = torch.device("meta")


def forward_rows(logits, mass, *, scale=None, dlogits=None, loss_only=False):
    return Rows(*logits.new_empty((4, len(logits)), dtype=torch.float32).unbind())


@pytest.fixture
def _kernel(monkeypatch):
    stub = SimpleNamespace(forward_rows=forward_rows, backward_rows=lambda *_, **__: None)
    for place in (choice, autograd):
        monkeypatch.setattr(place, "find_kernel", lambda _: stub)
    monkeypatch.setattr(products, "is_nvidia", lambda _: True)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # meta has none


def problem(dtype):
    leaves = [torch.empty(shape, device=META, dtype=dtype) for shape in ((600, 4), (9, 4), (9,))]
    target = torch.empty(600, dtype=torch.int64, device=META)
    return [leaf.requires_grad_() for leaf in leaves], target


def test_reading_a_value_would_fail():
    with pytest.raises(RuntimeError, match="meta"):
        problem(torch.float32)[1][0].item()


OPTIONS = {"label_smoothing": 0.1, "weight": torch.ones(9, device=META)}


@pytest.mark.parametrize("has_kernel", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_no_loss_reads_a_value(has_kernel, dtype, reduction, request):
    if has_kernel:
        request.getfixturevalue("_kernel")
    for options, more in itertools.product(({}, OPTIONS), ({}, {"return_lse": True})):
        (features, weight, bias), target = problem(dtype)
        plain = options | {"reduction": reduction} | more
        logits = features @ weight.T + bias
        found = cross_entropy(logits, target, **plain)
        fine = linear_cross_entropy(
            features, weight, target, linear_bias=bias, return_pred=True, **plain
        )
        loss = found[0] if more else found
        (3 * (loss.float() + fine[0])).sum().backward()
        assert {leaf.grad.dtype for leaf in (features, weight, bias)} == {dtype}


class _Products(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if "mm" in str(function):
            self.seen.append((str(function), result.dtype))
        return result


@pytest.mark.skipif(not products.HAS_WIDE_PRODUCT, reason="torch has no mm(out_dtype=)")
@pytest.mark.usefixtures("_kernel")
def test_half_precision_is_added_up_in_single_where_it_lies(tuned):
    tuned(gpu_chunk_rows=(400, 400))
    (features, weight, _), target = problem(torch.bfloat16)
    with _Products() as made:
        linear_cross_entropy(features, weight, target)  # in two chunks
    first, later = "aten.mm.dtype_out", "aten.addmm.dtype_out"
    wide = [name for name, dtype in made.seen if dtype == torch.float32]
    assert wide == [first] * 5 + [later]  # logits, features and weight, in turn


def test_a_chunk_has_no_more_bytes_than_it_may(tuned):
    tuned(gpu_chunk_bytes=2 * 9 * 200)
    head = SimpleNamespace(
        features=torch.empty(600, 300, device=META),
        weight=torch.empty(9, 300, device=META),
        dtype=torch.bfloat16,
    )
    loop = row_chunks.RowChunks(head, mass=None, kernel=None)
    sizes = [rows.stop - rows.start for rows in loop._chunks()]
    assert sizes == [200, 200, 200]
    fewest = tuned(gpu_chunk_bytes=1).gpu_chunk_rows[0]
    assert max(rows.stop - rows.start for rows in loop._chunks()) == fewest


VIEWS = (
    "view",
    "unsqueeze",
    "squeeze",
    "expand",
    "slice",
    "unbind",
    "detach",
    "empty",
    "t.",
    "alias",
)


class _Kernels(TorchDispatchMode):
    """Count the operators that an accelerator would start a kernel for."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = str(function).removeprefix("aten.")
        self.count += not name.startswith((*VIEWS, "_unsafe_view", "new_empty"))
        return function(*args, **(kwargs or {}))


@pytest.mark.usefixtures("_kernel")
@pytest.mark.parametrize(
    ("reduction", "forward", "backward"), [("mean", 4, 8), ("sum", 1, 2), ("none", 0, 1)]
)
def test_few_kernels_are_started_beside_the_program(reduction, forward, backward):
    (features, weight, _), target = problem(torch.float32)
    logits = (features @ weight.t()).detach().requires_grad_()
    with _Kernels() as seen:
        loss = cross_entropy(logits, target, reduction=reduction)
    assert seen.count == forward
    with seen:
        torch.autograd.grad(loss, logits, torch.empty_like(loss))
    assert seen.count <= backward
