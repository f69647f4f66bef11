"""cross_entropy under higher-order autograd, torch.func and torch.compile."""

import pytest
import reference
import torch
import torch.nn.functional as F
from reference import batch, gradient

from softonce.losses import cross_entropy

# torch compiles its own forward-mode formulas with the torch.jit.script that it calls deprecated
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")

VARIANTS = {
    "index": ("index", {}),
    "smoothed": ("index", {"weight": torch.linspace(0.5, 2, 6).double(), "label_smoothing": 0.1}),
    "probs": ("probs", {"label_smoothing": 0.1}),
}
variants = pytest.mark.parametrize("variant", VARIANTS)


def problem(variant):
    """Return logits, with a confident row, target and options of a variant."""
    kind, options = VARIANTS[variant]
    logits, target = batch((4,), kind)
    return logits + 9 * F.one_hot(logits.argmax(1), 6), target, options


@variants
def test_gradients_of_both_orders_and_modes_are_those_of_the_loss(variant):
    logits, target, options = problem(variant)
    logits.requires_grad_()

    def loss_of(leaf):
        return cross_entropy(leaf, target, **options)

    assert torch.autograd.gradcheck(loss_of, (logits,), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(loss_of, (logits,))


def test_probability_targets_carry_a_gradient():
    logits, target, _ = problem("probs")
    target.requires_grad_()
    assert torch.autograd.gradcheck(lambda probs: cross_entropy(logits, probs), (target,))


@variants
def test_torch_func_agrees_with_torchs_loss(variant):
    logits, target, options = problem(variant)

    def at(loss_of):
        return lambda leaf: loss_of(leaf, target, **options)

    ours, torchs = at(cross_entropy), at(F.cross_entropy)
    for transform in (torch.func.grad, torch.func.jacfwd, torch.func.hessian):
        torch.testing.assert_close(transform(ours)(logits), transform(torchs)(logits))


@variants
def test_gradients_per_row_by_vmap_are_the_rows_of_the_sum(variant):
    logits, target, options = problem(variant)
    options = options | {"reduction": "sum"}

    def row_loss(row, row_target):
        return cross_entropy(row, row_target, **options)

    per_row = torch.func.vmap(torch.func.grad(row_loss))(logits, target)
    torch.testing.assert_close(per_row, gradient(cross_entropy, logits, target, **options))


@variants
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_in_one_graph_is_the_same(variant, backend):
    torch._dynamo.reset()
    logits, target, options = problem(variant)
    compiled = torch.compile(cross_entropy, backend=backend, fullgraph=True)
    ours = gradient(compiled, logits, target, **options)
    torch.testing.assert_close(ours, gradient(cross_entropy, logits, target, **options))


def test_compiled_in_autocast_returns_single_precision():
    torch._dynamo.reset()
    compiled = torch.compile(cross_entropy, backend="eager", fullgraph=True)
    logits, target = torch.zeros(2, 3, dtype=torch.bfloat16), torch.tensor([0, 1])
    assert compiled(logits, target).dtype == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert compiled(logits, target).dtype == torch.float32


def test_compiled_confident_rows_keep_loss_and_gradient():
    torch._dynamo.reset()
    compiled = torch.compile(cross_entropy, backend="aot_eager", fullgraph=True)
    logits, target = torch.tensor([[30.0, 0.0, 0.0]]), torch.tensor([0])
    loss, grad = reference.confident_row(torch.tensor([30.0, 30.0]))
    torch.testing.assert_close(compiled(logits, target).double(), loss)
    torch.testing.assert_close(gradient(compiled, logits, target)[0, 0].double(), grad)


def test_where_values_cannot_be_read_a_row_out_of_range_becomes_nan():
    torch._dynamo.reset()
    logits, target = torch.zeros(3, 2), torch.tensor([1, 2, -1])
    compiled = torch.compile(cross_entropy, backend="eager", fullgraph=True)
    rows = compiled(logits, target, reduction="none", ignore_index=-1)
    assert rows.isnan().tolist() == [False, True, False]
    grad = gradient(compiled, logits, target, ignore_index=-1)
    assert grad.isnan().any(1).tolist() == [False, True, False]
    mapped = torch.func.vmap(cross_entropy)(logits, target.abs())
    assert mapped.isnan().tolist() == [False, True, False]
