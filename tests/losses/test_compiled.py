"""linear_cross_entropy in compiled programs: one graph, the same numbers, a sound operator."""

import loss_ways
import pytest
import torch
from reference import draw, draw_target

from softonce.losses import linear_cross_entropy
from softonce.losses.head import compiled
from softonce.losses.tuning import Tuning

REDUCTIONS = pytest.mark.parametrize("reduction", ["mean", "sum", "none"])


def problem(dtype=torch.float64):
    leaves = [
        draw(seed, *shape, dtype=dtype).requires_grad_()
        for seed, shape in enumerate(((9, 5), (7, 5), (7,)))
    ]
    target = draw_target(3, 9, num_classes=7)
    target[2] = -100
    return leaves, target


@REDUCTIONS
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_the_compiled_loss_is_the_eager_one(reduction, label_smoothing):
    leaves, target = problem()

    def loss_of(features, weight, bias):
        options = {"reduction": reduction, "label_smoothing": label_smoothing}
        return linear_cross_entropy(features * 2, weight, target, linear_bias=bias, **options).sum()

    compiled = torch.compile(loss_of, fullgraph=True, backend="aot_eager")(*leaves) * 3
    eager = loss_of(*leaves) * 3
    torch.testing.assert_close(compiled, eager)
    found = torch.autograd.grad(compiled, leaves)
    torch.testing.assert_close(found, torch.autograd.grad(eager, leaves))


# torch 2.14's opcheck reads the gradient of a copy of its own
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@REDUCTIONS
@pytest.mark.parametrize(
    ("needs", "softcap"), [([True, True, True], None), ([False, True, False], 3.0)]
)
def test_the_operators_keep_torchs_rules(reduction, needs, softcap):
    leaves, target = problem(torch.float32)
    leaves = [leaf.requires_grad_(need) for leaf, need in zip(leaves, needs, strict=True)]
    options = (target, None, reduction, -100, 0.1, softcap, torch.float32, needs)
    torch.library.opcheck(compiled._forward, (*leaves, *options))
    upstream = torch.ones(9 if reduction == "none" else ())
    plain = [leaf.detach() for leaf in leaves]
    torch.library.opcheck(compiled._backward, (upstream, *plain, *options))


@REDUCTIONS
@pytest.mark.parametrize("has_ignored", [False, True])
@pytest.mark.parametrize("has_onednn", [False, True])
def test_the_operators_gradients_lie_in_memory_as_they_say(
    reduction, has_ignored, has_onednn, tuned
):
    if has_onednn and not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this build of torch has no oneDNN")
    tuned(onednn=has_onednn, onednn_from=0)
    target = draw_target(3, 9, num_classes=7)
    if has_ignored:
        target[2] = -100
    columns = [draw(seed, 5, rows, dtype=torch.float32).t() for seed, rows in ((1, 9), (2, 7))]
    tensors = (*columns, None, target, None, reduction, -100, 0.1, None, torch.float32, [True] * 3)
    utils = ("test_schema", "test_faketensor")
    torch.library.opcheck(compiled._forward, tensors, test_utils=utils)
    upstream = torch.ones(9 if reduction == "none" else ())
    torch.library.opcheck(compiled._backward, (upstream, *tensors), test_utils=utils)


def test_a_compiled_training_step_keeps_a_frozen_head_and_autocast():
    (features, weight, _), target = problem(torch.float32)
    weight.requires_grad_(requires_grad=False)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def loss_of(features):
        with torch.autocast("cpu", torch.bfloat16):
            return linear_cross_entropy(features, weight, target)

    loss = loss_of(features)
    loss.backward()
    with torch.autocast("cpu", torch.bfloat16):
        eager = linear_cross_entropy(features, weight, target)
    torch.testing.assert_close(loss, eager)
    assert features.grad is not None
    assert weight.grad is None


@pytest.mark.parametrize("num_classes", [7, 400])
def test_a_head_of_single_precision_is_one_graph(num_classes, tuned):
    standard = Tuning()
    tuned(small_logits=standard.small_logits, small_head=standard.small_head)
    features, weight = draw(1, 64, 256).float(), draw(2, num_classes, 256).float()
    target = draw_target(3, 64, num_classes=num_classes)
    found = loss_ways.compiled(linear_cross_entropy)(features, weight, target)
    torch.testing.assert_close(found, linear_cross_entropy(features, weight, target))


@pytest.mark.parametrize("num_classes", [7, 200])
def test_a_small_head_is_compiled_as_maths_and_a_large_one_as_the_operator(num_classes, tuned):
    tuned(small_compiled=1000)
    seen = []

    def note(graph, _):
        seen.extend(str(node.target) for node in graph.graph.nodes)
        return graph

    features, weight = draw(1, 9, 5), draw(2, num_classes, 5)
    target = draw_target(3, 9, num_classes=num_classes)
    torch._dynamo.reset()
    loss = torch.compile(linear_cross_entropy, backend=note, fullgraph=True)
    found = loss(features, weight, target)
    torch.testing.assert_close(found, linear_cross_entropy(features, weight, target))
    assert any("softonce" in name for name in seen) == (9 * num_classes > 1000)
