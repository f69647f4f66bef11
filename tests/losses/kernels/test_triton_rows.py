"""The Triton kernel against the textbook: on a GPU where there is one, else interpreted.

Triton's interpreter runs the programs one after the other, as slowly as Python: the problems are
tiny, and so are the blocks, so that rows have several.
"""

import subprocess
import sys
from dataclasses import fields, replace
from unittest import mock

import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import draw, draw_target
from torch._subclasses import FakeTensorMode

from softonce import losses
from softonce.losses.kernels import blocked, choice, triton_rows
from softonce.losses.kernels.interface import Mass
from softonce.losses.kernels.triton_rows import Tiling, backward_rows, choose_tiling, forward_rows

if not triton_rows.has_language():
    pytest.skip("there is no triton from 3.7 on", allow_module_level=True)
# numpy warns of inf - inf and 0 / 0 in lanes that a program masks afterwards, as a GPU would not
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TILINGS = (
    Tiling(height=16, lanes=8, width=2, is_vector=True, num_spans=1, num_warps=1),
    Tiling(height=16, lanes=2, width=4, is_vector=False, num_spans=1, num_warps=1),
    Tiling(height=4, lanes=8, width=1, is_vector=False, num_spans=2, num_warps=1),
)
ROUNDING = {torch.float64: 2.0**-53, torch.float32: 2.0**-24}
ROUNDING |= {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
sizes = st.sampled_from([1, 2, 3, 7, 8, 9, 16, 17, 31])


def cut(tiling):
    """Make every launch use this tiling."""
    return mock.patch.object(triton_rows, "choose_tiling", return_value=tiling)


def accumulation(dtype):
    return torch.float64 if dtype == torch.float64 else torch.float32


def mass_of(target, logits, *, weight=None, label_smoothing=0.0, ignored=None, outside=None):
    """Return the mass as the losses make it of their options."""
    num_classes, dtype = logits.shape[1], accumulation(logits.dtype)
    keep = spread = None
    if weight is not None or label_smoothing:
        factors = torch.ones(num_classes).double() if weight is None else weight.double()
        keep = ((1 - label_smoothing) * factors).to(dtype)
        spread = (label_smoothing / num_classes * factors).to(dtype) if label_smoothing else None
    kind = "probs" if target.is_floating_point() else "index"
    mass = Mass(**{kind: target}, keep=keep, spread=spread, ignored=ignored, outside=outside)
    return on_device(mass)


def on_device(mass):
    values = {field.name: getattr(mass, field.name) for field in fields(mass)}
    return Mass(
        **{name: v.to(DEVICE) if isinstance(v, torch.Tensor) else v for name, v in values.items()}
    )


def both_passes(logits, mass, *, scale=1.0):
    """Return loss and gradient from the forward pass, and check that the backward pass agrees."""
    logits = logits.to(DEVICE)
    dlogits, again = torch.empty_like(logits), torch.empty(logits.shape).to(logits)
    rows = forward_rows(logits, mass, scale=scale, dlogits=dlogits)
    backward_rows(logits, mass, rows, again, upstream=scale)
    unit = ROUNDING[logits.dtype]
    torch.testing.assert_close(again, dlogits, rtol=4 * unit, atol=4 * unit, equal_nan=True)
    return rows.loss.cpu(), dlogits.cpu()


def textbook(logits, target, scale=1.0, **options):
    """Return each row's loss and `scale` times its gradient, in float64."""
    leaf = logits.detach().cpu().double().requires_grad_()
    rows = reference.cross_entropy(leaf, target, reduction="none", **options)
    (rows * scale).sum().backward()
    return rows.detach(), leaf.grad


@st.composite
def problems(draw_value):
    """Draw logits in some memory layout, a target and options, all in float64."""
    seed, num_classes = draw_value(st.integers(0, 2**31)), draw_value(sizes)
    shape = draw_value(st.sampled_from([(1,), (5,), (9,), (2, 5), (3, 1)]))
    logits = draw(seed, *shape, num_classes, scale=draw_value(st.sampled_from([0.1, 3.0, 40.0])))
    logits = logits.movedim(-1, 1)
    if draw_value(st.booleans()):
        logits = logits.contiguous()
    options = {"label_smoothing": draw_value(st.sampled_from([0.0, 0.1, 1.0]))}
    if draw_value(st.booleans()):
        options["weight"] = draw(seed + 1, num_classes).abs()
    if draw_value(st.booleans()):
        target = draw(seed + 2, *logits.shape, scale=2).softmax(1)
    else:
        target = draw_target(seed + 2, *shape, num_classes=num_classes)
        target[draw(seed + 3, *shape) > 0.7] = -100
    scale = draw(seed + 4, *shape) if draw_value(st.booleans()) else 0.37
    return logits, target, scale, options


@settings(max_examples=20, deadline=None, database=None)
@given(
    problem=problems(),
    dtype=st.sampled_from(list(ROUNDING)),
    tiling=st.sampled_from(TILINGS),
    in_place=st.booleans(),
)
def test_every_option_at_once_equals_the_textbook(problem, dtype, tiling, in_place):
    logits, target, scale, options = problem
    logits = logits.to(dtype)
    true_loss, true_gradient = textbook(logits, target, scale, **options)
    ignored = None if target.is_floating_point() else target == -100
    mass = mass_of(target, logits, ignored=ignored, **options)
    scale = scale.to(DEVICE) if isinstance(scale, torch.Tensor) else scale
    with cut(tiling):
        loss, gradient = both_passes(logits, mass, scale=scale)
        if in_place:
            place = logits.to(DEVICE).clone()
            rows = forward_rows(place, mass, scale=scale, dlogits=place)
            assert torch.equal(place.cpu(), gradient)
        else:
            rows = forward_rows(logits.to(DEVICE), mass)
        assert torch.equal(rows.loss.cpu(), loss)
    gaps = (logits.amax(1) - logits.amin(1)).max().item()
    error = (16 + gaps) * ROUNDING[accumulation(dtype)]
    own_error = 2.0**-50  # of the textbook, where the loss is far below 1
    torch.testing.assert_close(loss.double(), true_loss, rtol=error, atol=own_error)
    least = 2.0**-24 if dtype == torch.float16 else 0  # what half precision can hold
    torch.testing.assert_close(
        gradient.double(), true_gradient, rtol=2 * ROUNDING[dtype], atol=4 * error + least
    )


@pytest.mark.parametrize("tiling", TILINGS)
def test_confident_rows_keep_loss_and_target_gradient(tiling):
    gaps = torch.arange(10, 61, 2.5)
    logits, target = torch.zeros(len(gaps), 11), torch.arange(len(gaps)) % 11
    logits.scatter_(1, target.unsqueeze(1), gaps.unsqueeze(1))
    true_loss, true_gradient = reference.confident_row(gaps.unsqueeze(1).expand(-1, 10))
    tolerance = 4e-7 + gaps * 2**-24
    with cut(tiling):
        loss, gradient = both_passes(logits + 512, mass_of(target, logits))
        assert ((loss / true_loss - 1).abs() < tolerance).all()
        at_target = gradient.gather(1, target.unsqueeze(1)).squeeze(1)
        assert ((at_target / true_gradient - 1).abs() < tolerance).all()
        probs = torch.nn.functional.one_hot(target, 11).float()
        loss, gradient = both_passes(logits, mass_of(probs, logits))
    tolerance += gaps * 2**-24  # the largest is known only afterwards, so its others round twice
    assert ((loss / true_loss - 1).abs() < tolerance).all()
    at_target = gradient.gather(1, target.unsqueeze(1)).squeeze(1)
    assert ((at_target / true_gradient - 1).abs() < tolerance).all()


@pytest.mark.parametrize("tiling", TILINGS)
@pytest.mark.parametrize("kind", ["index", "probs"])
def test_huge_offsets_and_gaps_stay_exact(tiling, kind):
    logits = draw(1, 5, 13, scale=2, dtype=torch.float32).half().float()
    logits[4] = torch.linspace(-1e4, 1e4, 13)
    target = draw_target(2, 5, num_classes=13)
    target = target if kind == "index" else draw(2, 5, 13, dtype=torch.float32).softmax(1)
    mass = mass_of(target, logits, label_smoothing=0.1)
    with cut(tiling):
        for offset in (8192.0, -8192.0):  # the sum of it and a half has few enough bits
            shifted = logits + offset
            loss, gradient = both_passes(shifted, mass)
            true_loss, true_gradient = textbook(shifted, target, label_smoothing=0.1)
            torch.testing.assert_close(loss.double(), true_loss, rtol=2e-6, atol=0)
            torch.testing.assert_close(gradient.double(), true_gradient, rtol=0, atol=1e-6)


@pytest.mark.parametrize("tiling", TILINGS)
def test_no_mass_on_an_impossible_class_counts_nothing(tiling):
    logits, target = draw(1, 3, 9, dtype=torch.float32), torch.tensor([0, 4, 8])
    hole = [2, 3, 6]
    logits[:, hole] = -torch.inf
    weight = torch.ones(9)
    weight[hole] = 0
    probs = draw(2, 3, 9, dtype=torch.float32).softmax(1) * weight
    kept = [c for c in range(9) if c not in hole]
    with cut(tiling):
        smooth = both_passes(logits, mass_of(target, logits, weight=weight, label_smoothing=0.3))
        soft = both_passes(logits, mass_of(probs, logits))
        impossible = both_passes(logits, mass_of(torch.tensor(hole), logits))
    onehot = torch.nn.functional.one_hot(target, 9)
    for (loss, gradient), mass in ((smooth, (0.7 * onehot + 0.3 / 9) * weight), (soft, probs)):
        true_loss, true_gradient = textbook(logits[:, kept], mass[:, kept])
        torch.testing.assert_close(loss.double(), true_loss, rtol=1e-6, atol=0)
        torch.testing.assert_close(gradient[:, kept].double(), true_gradient, rtol=0, atol=1e-6)
        assert (gradient[:, hole] == 0).all()
    assert (impossible[0] == torch.inf).all()
    assert impossible[1].isfinite().all()


@pytest.mark.parametrize("tiling", TILINGS)
@pytest.mark.parametrize("kind", ["index", "probs"])
def test_rows_without_a_distribution_become_nan(tiling, kind):
    logits = draw(1, 5, 9, dtype=torch.float32)
    logits[0], logits[1, 3], logits[2, 8], logits[3, 0] = (
        -torch.inf,
        torch.inf,
        torch.nan,
        torch.nan,
    )
    target = torch.tensor([1, 3, 8, 8, 0])
    if kind == "probs":
        target = torch.nn.functional.one_hot(target, 9).float()
    with cut(tiling):
        loss, gradient = both_passes(logits, mass_of(target, logits))
    assert loss.isnan().tolist() == [True] * 4 + [False]
    assert gradient[:, 5].isnan().tolist() == [True] * 4 + [False]


@pytest.mark.parametrize("tiling", TILINGS)
def test_ignored_rows_are_written_and_impossible_ones_become_nan(tiling):
    logits = draw(1, 6, 9, dtype=torch.float32)
    logits[1], logits[2, 4], logits[5] = torch.nan, torch.inf, -torch.inf
    target = torch.tensor([3, -100, -100, 9, 2, -100])
    truth = textbook(logits[[0, 4]], target[[0, 4]])
    mass = mass_of(target, logits, ignored=target == -100)
    place = logits.to(DEVICE).clone()
    with cut(tiling):
        rows = forward_rows(place, mass, dlogits=place)
        flagged = mass_of(target % 9, logits, ignored=target == -100, outside=target == 9)
        loss, gradient = both_passes(logits, flagged)
    assert torch.equal(place.cpu()[[1, 2, 5]], torch.zeros(3, 9))
    for values, nothing in zip(
        (rows.loss, rows.largest, rows.total, rows.others), (0.0, 0.0, 1.0, 0.0), strict=True
    ):
        assert values[[1, 2, 5]].tolist() == [nothing] * 3
        assert values[3].isnan()
    assert place[3].isnan().all()
    torch.testing.assert_close(loss, rows.loss.cpu(), rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(gradient, place.cpu(), rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(loss[[0, 4]].double(), truth[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient[[0, 4]].double(), truth[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16])
def test_every_integer_dtype_is_a_class_index(dtype):
    logits, target = draw(1, 4, 5, dtype=torch.float32), torch.tensor([0, 4, 2, 1])
    with cut(TILINGS[0]):
        loss = forward_rows(logits.to(DEVICE), mass_of(target.to(dtype), logits)).loss
    torch.testing.assert_close(loss.cpu().double(), textbook(logits, target)[0], rtol=1e-6, atol=0)


@pytest.mark.parametrize("tiling", TILINGS)
@pytest.mark.parametrize("kind", ["index", "probs"])
def test_upstream_lse_adds_its_share_of_the_probabilities(tiling, kind):
    logits, target = draw(1, 5, 9), draw_target(2, 5, num_classes=9)
    target = target if kind == "index" else draw(2, 5, 9).softmax(1)
    upstream, upstream_lse = draw(3, 5), draw(4, 5)
    leaf = logits.clone().requires_grad_()
    loss = reference.cross_entropy(leaf, target, reduction="none")
    (upstream * loss + upstream_lse * leaf.logsumexp(1)).sum().backward()
    mass, place = mass_of(target, logits), logits.to(DEVICE)
    dlogits = torch.empty_like(place)
    with cut(tiling):
        rows = forward_rows(place, mass)
        factors = {"upstream": upstream.to(DEVICE), "upstream_lse": upstream_lse.to(DEVICE)}
        backward_rows(place, mass, rows, dlogits, **factors)
    torch.testing.assert_close(dlogits.cpu(), leaf.grad)
    torch.testing.assert_close((rows.largest + rows.total.log()).cpu(), logits.logsumexp(1))


def test_one_upstream_for_all_rows_is_read_on_the_device():
    logits, target = draw(1, 5, 9), draw_target(2, 5, num_classes=9)
    mass = mass_of(target, logits)
    with cut(TILINGS[0]):
        number = both_passes(logits, mass, scale=0.1)
        tensor = both_passes(logits, mass, scale=torch.tensor(0.1, dtype=torch.float64).to(DEVICE))
    assert torch.equal(number[1], tensor[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_gradient_is_rounded_once(dtype):
    logits, target = draw(1, 9, 33, dtype=dtype), draw_target(2, 9, num_classes=33)
    place, mass = logits.to(DEVICE), mass_of(target, logits)
    once, single = torch.empty_like(place), torch.empty_like(place, dtype=torch.float32)
    with cut(TILINGS[0]):
        forward_rows(place, mass, dlogits=once, scale=0.3)
        forward_rows(place, mass, dlogits=single, scale=0.3)
    if DEVICE == "cpu" and dtype == torch.bfloat16:  # the interpreter cuts off where GPUs round
        single.view(torch.int32).bitwise_and_(-(2**16))
    assert torch.equal(once, single.to(dtype))


@pytest.mark.parametrize("strides", [(2**30, 1), (1, 2**30)])
def test_offsets_may_pass_2_to_the_31(strides):
    memory = torch.empty(2**31 + 64, dtype=torch.bfloat16, device=DEVICE)  # nearly all untouched
    logits = memory.as_strided((3, 3), strides)
    values, target = draw(1, 3, 3, dtype=torch.bfloat16), torch.tensor([2, 0, 1])
    logits.copy_(values)
    with cut(TILINGS[1]):
        rows = forward_rows(logits, mass_of(target, values), dlogits=logits)
    true_loss, true_gradient = textbook(values, target)
    torch.testing.assert_close(rows.loss.cpu().double(), true_loss, rtol=1e-6, atol=0)
    torch.testing.assert_close(logits.cpu().double(), true_gradient, rtol=2**-7, atol=1e-6)


def test_no_rows_are_no_launch():
    for shape in ((0, 5), (0, 5, 3), (3, 5, 0)):
        logits = torch.empty(shape, device=DEVICE)
        target = torch.empty(shape[:1] + shape[2:], dtype=torch.int64)
        rows = forward_rows(logits, mass_of(target, logits), dlogits=logits)
        assert rows.loss.shape == target.shape


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        (torch.empty(2, 1, device="meta"), Tiling(1, 1, 1, False, 1, 1)),
        (torch.empty(8192, 128256, device="meta").bfloat16(), Tiling(1, 512, 8, True, 1, 8)),
        (torch.empty(8192, 50257, device="meta"), Tiling(1, 512, 8, False, 1, 8)),
        (torch.empty(4, 256000, device="meta"), Tiling(1, 1024, 4, True, 31, 8)),
        (torch.empty(300, 128256, device="meta"), Tiling(1, 1024, 4, True, 2, 8)),
        (torch.empty(500, 128256, device="meta"), Tiling(1, 1024, 4, True, 1, 8)),
        (torch.empty(65536, 10, device="meta"), Tiling(64, 16, 1, False, 1, 4)),
        (torch.empty(128, 10, device="meta"), Tiling(1, 2, 8, False, 1, 1)),
        (torch.empty(8, 21, 65536, device="meta"), Tiling(32, 32, 1, False, 1, 4)),
        (torch.empty(8, 30000, 3, device="meta"), Tiling(4, 1024, 1, False, 14, 8)),
    ],
)
def test_tilings_follow_memory_order_and_fill_the_gpu(logits, expected):
    batched = logits if logits.dim() == 3 else logits.t().unsqueeze(0)
    assert choose_tiling(batched, 132) == expected


def test_a_single_position_leaves_rows_that_one_program_may_share():
    assert triton_rows._batched(torch.empty(7, 5, 1)).shape == (1, 5, 7)
    assert triton_rows._batched(torch.empty(7, 5)).shape == (1, 5, 7)


@pytest.mark.parametrize("tiling", TILINGS)
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_what_lies_behind_the_classes_changes_nothing(tiling, label_smoothing):
    logits, target = draw(1, 9, 13), draw_target(2, 9, num_classes=13)
    target[4] = -100
    weight = draw(3, 13).abs()
    plain = mass_of(target.clamp(min=0), logits, weight=weight, label_smoothing=label_smoothing)
    mass = replace(plain, index=target.to(DEVICE), ignore_index=-100, room=3)
    whole = torch.full((2, 9, 16), torch.nan, dtype=torch.float64, device=DEVICE)
    whole[0, :, :13] = logits.to(DEVICE)
    with cut(tiling):
        rows = forward_rows(whole[0, :, :13], mass, scale=0.3, dlogits=whole[1, :, :13])
        again = torch.empty_like(whole[1])
        backward_rows(whole[0, :, :13], mass, rows, again[:, :13], upstream=0.3)
    options = {"weight": weight, "label_smoothing": label_smoothing}
    true_loss, true_grad = textbook(logits, target, 0.3, **options)
    torch.testing.assert_close(rows.loss.cpu(), true_loss)
    torch.testing.assert_close(whole[1, :, :13].cpu(), true_grad)
    torch.testing.assert_close(again[:, :13].cpu(), true_grad)


def test_a_class_behind_the_classes_is_outside():
    logits = torch.zeros(2, 16, dtype=torch.float64, device=DEVICE)
    mass = Mass(index=torch.tensor([12, 13], device=DEVICE), ignore_index=-100, room=3)
    loss = forward_rows(logits[:, :13], mass).loss
    assert loss.isnan().tolist() == [False, True]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("kind", ["index", "probs"])
@pytest.mark.parametrize("loss_of", ["head", "logits"])
def test_the_losses_use_it(monkeypatch, tuned, reduction, kind, loss_of):
    monkeypatch.setattr(choice, "find_kernel", lambda _: triton_rows)
    launches = mock.Mock(wraps=triton_rows._Launch)
    monkeypatch.setattr(triton_rows, "_Launch", launches)
    tuned(chunk_rows=4, chunk_bytes=1)
    tensors = [
        draw(seed, *shape).to(DEVICE).requires_grad_() for seed, shape in ((1, (6, 5)), (2, (7, 5)))
    ]
    target = draw_target(3, 6, num_classes=7) if kind == "index" else draw(4, 6, 7).softmax(1)
    target = target.to(DEVICE)
    options = {"reduction": reduction, "label_smoothing": 0.1}
    features, weight = tensors
    if loss_of == "head":
        loss = losses.linear_cross_entropy(features, weight, target, **options)
    else:
        loss = losses.cross_entropy(features @ weight.T, target, **options)
    truth = reference.linear_cross_entropy(features.cpu(), weight.cpu(), target.cpu(), **options)
    torch.testing.assert_close(loss.cpu(), truth)
    found = torch.autograd.grad(3 * loss.sum(), tensors)
    torch.testing.assert_close(found, torch.autograd.grad(3 * truth.sum(), tensors))
    assert launches.call_count > 0


@pytest.mark.parametrize("is_supported", [False, True])
def test_a_gpu_has_it_where_triton_compiles_for_it(monkeypatch, is_supported):
    monkeypatch.setattr(triton_rows, "_is_supported", lambda _: is_supported)
    with FakeTensorMode():
        logits = torch.empty(2, 3, device="cuda")
    assert choice.find_kernel(logits) is (triton_rows if is_supported else None)
    assert choice.find_kernel(torch.empty(2, 3)) is blocked
    assert choice.find_kernel(torch.empty(2, 3, device="meta")) is None


def test_a_cpu_is_left_alone():
    code = """
import sys, torch, softonce
from softonce.losses.kernels import triton_rows
softonce.cross_entropy(torch.zeros(2, 3), torch.tensor([0, 1]))
assert not triton_rows.is_available(torch.zeros(2, 3))
assert "triton" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
