"""Against float64 truth: nowhere worse than torch, and exact where torch's loss is lost."""

import pytest
import reference
import torch
import torch.nn.functional as F
from loss_ways import LOSSES, WAYS, way
from reference import draw, draw_target

from softonce.losses import cross_entropy, linear_cross_entropy

SHAPES = [(1, 2), (3, 7), (64, 10), (33, 1000), (5, 50_257)]
LARGE = [(4096, 50_257), (512, 128_256)]
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def largest_errors(loss_of, logits, target):
    """Return the largest distance of loss and gradient from float64, in units of the last place."""
    leaf = logits.clone().requires_grad_()
    loss = loss_of(leaf, target, reduction="sum")
    (grad,) = torch.autograd.grad(loss, leaf)
    truth = reference.cross_entropy(logits, target, reduction="sum")
    true_grad = reference.row_gradient(logits, target)
    unit = torch.finfo(logits.dtype).eps
    return (
        ((loss.double() - truth).abs() / (truth * unit)).item(),
        ((grad.double() - true_grad).abs() / (true_grad.abs().clamp(min=1e-6) * unit)).max().item(),
    )


def check_against_torch(shape, dtype, scale):
    logits = draw(1, *shape, scale=scale).to(dtype)
    target = draw_target(2, shape[0], num_classes=shape[1])
    ours = largest_errors(cross_entropy, logits, target)
    torchs = largest_errors(F.cross_entropy, logits, target)
    for mine, theirs in zip(ours, torchs, strict=True):
        assert mine <= theirs + 4


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_no_error_is_larger_than_torchs_by_4_ulp(shape, dtype, scale):
    check_against_torch(shape, dtype, scale)


@pytest.mark.slow
@pytest.mark.parametrize("shape", LARGE, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_no_error_is_larger_than_torchs_by_4_ulp_on_large_logits(shape, dtype):
    check_against_torch(shape, dtype, 3.0)


@pytest.mark.parametrize("num_classes", [2, 7, 1000])
@pytest.mark.parametrize("gap", [10.0, 16.6, 17.0, 25.3, 40.0, 60.0])
def test_confident_rows_of_a_head_keep_loss_and_gradient(num_classes, gap):
    head = torch.eye(num_classes).requires_grad_()
    features = torch.zeros(1, num_classes)
    features[0, 1] = gap
    loss = linear_cross_entropy(features, head, torch.tensor([1]))
    (grad,) = torch.autograd.grad(loss, head)
    gaps = features[0, 1].expand(num_classes - 1)
    true_loss, true_grad = reference.confident_row(gaps)
    is_exact = float(gap).is_integer()
    tolerance = 1e-6 if is_exact else 4e-7 + gap * 2**-24
    assert abs(loss.double() / true_loss - 1) < tolerance
    assert abs(grad[1, 1].double() / (true_grad * features[0, 1].double()) - 1) < tolerance


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("label_smoothing", [0.5, 1 - 1e-6, 1.0])
def test_the_gradient_at_the_target_is_exact_whatever_is_spread(loss, how, label_smoothing):
    num_classes, target = 50, draw_target(2, 9, num_classes=50)
    logits = draw(1, 9, num_classes, dtype=torch.float32)
    gaps = torch.tensor([-30.0, 0.0, 12.0]).repeat(3)  # from nearly impossible to nearly sure
    logits.scatter_(1, target.unsqueeze(1), gaps.unsqueeze(1))
    true = logits.double().requires_grad_()
    options = {"label_smoothing": label_smoothing, "reduction": "sum"}
    reference.cross_entropy(true, target, **options).backward()
    with way(how) as run:
        leaf = logits.clone().requires_grad_()
        run(LOSSES[loss])(leaf, torch.eye(num_classes), target, **options).backward()
    at = target.unsqueeze(1)
    found, wanted = leaf.grad.gather(1, at).double(), true.grad.gather(1, at)
    assert ((found - wanted).abs() <= 4e-6 * wanted.abs() + 1e-9).all()
