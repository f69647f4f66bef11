"""Mixed pictures, soft targets, dropped paths, averages: what they equal."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from softonce import TrainConfig, create_model
from softonce.models.blocks import ResidualBlock, drop_path, set_recompute_, set_stochastic_depth_
from softonce.training.mixing import Mixing
from softonce.training.objective import Objective, class_weights
from softonce.training.optim import build_average
from softonce.training.step import TrainStep

IMAGES = torch.randn(8, 3, 10, 14, generator=torch.Generator().manual_seed(0))
TARGET = torch.tensor([0, 1, 2, 3, 0, 0, 1, 3])


# mixup and cutmix


@given(step=st.integers(0, 10**6), mixup=st.sampled_from([0.0, 0.2]), cutmix=st.floats(0.1, 2))
def test_classes_are_mixed_as_the_pixels_are(step: int, mixup: float, cutmix: float) -> None:
    mixed, probs = Mixing(4, mixup, cutmix, seed=1)(IMAGES, TARGET, step=step)
    others = IMAGES.roll(1, 0)
    weighted = [p.item() for p in (probs[3, 3], probs[4, 0])]  # rows 3 and 4 lie beside others
    share = weighted[0]
    assert weighted[1] == pytest.approx(share, abs=1e-6)
    torch.testing.assert_close(probs.sum(1), torch.ones(8))
    pasted = ((mixed == IMAGES) | (mixed == others)).all()
    if pasted:
        kept = (mixed == IMAGES).all(1).double().mean((1, 2))
        torch.testing.assert_close(kept, torch.full((8,), share).double(), atol=1e-6, rtol=0)
    else:
        torch.testing.assert_close(mixed, share * IMAGES + (1 - share) * others)


def test_a_step_mixes_as_it_did_before_and_otherwise_than_the_next() -> None:
    mixing = Mixing(4, 0.2, 1.0)
    runs = [[mixing(IMAGES, TARGET, step=step)[0] for step in range(4)] for _ in range(2)]
    assert all(map(torch.equal, *runs))
    assert not torch.equal(runs[0][0], runs[0][1])


def test_both_kinds_of_mixing_get_their_turn() -> None:
    mixing = Mixing(4, 0.5, 1.0)
    kinds = [
        bool(((m == IMAGES) | (m == IMAGES.roll(1, 0))).all())
        for m in (mixing(IMAGES, TARGET, step=step)[0] for step in range(300))
    ]
    assert 110 < sum(kinds) < 190


# soft targets, class weights, parts


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 4.0, 0.5, 2.0])])
def test_a_soft_target_that_is_hard_counts_as_the_class(weight, smoothing: float) -> None:
    logits = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    objective = Objective(weight=weight, label_smoothing=smoothing)
    expected = F.cross_entropy(logits, TARGET, weight, label_smoothing=smoothing)
    torch.testing.assert_close(objective(logits, TARGET), expected)
    torch.testing.assert_close(objective(logits, F.one_hot(TARGET, 4).float()), expected)


def test_a_batch_of_weightless_classes_has_loss_zero() -> None:
    objective = Objective(weight=torch.tensor([0.0, 1.0]))
    assert objective(torch.randn(3, 2), torch.zeros(3, dtype=torch.int64)) == 0


def test_balanced_weights_are_scikit_learns() -> None:
    sklearn = pytest.importorskip("sklearn.utils.class_weight")
    target = TARGET.numpy()
    found = class_weights(("balanced",), target, ("a", "b", "c", "d"))
    expected = sklearn.compute_class_weight("balanced", classes=np.arange(4), y=target)
    torch.testing.assert_close(found.double(), torch.from_numpy(expected), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("a=x",), "expected --class-weights none, balanced or NAME=WEIGHT ..., found 'a=x'"),
        (("a=-1",), "found 'a=-1'"),
        (("a=inf",), "found 'a=inf'"),
        (("a",), "found 'a'"),
        (("ab=2",), "expected a known class in --class-weights, found 'ab'; .* a"),
        (("a=0", "b=0"), "expected a class weight above 0"),
    ],
)
def test_class_weights_that_mean_nothing_are_refused(asked: tuple[str, ...], message: str) -> None:
    with pytest.raises(Exception, match=message):
        class_weights(asked, TARGET.numpy() % 2, ("a", "b"))


@pytest.mark.parametrize("num_parts", [2, 3, 20])
@pytest.mark.parametrize("soft", [False, True])
def test_parts_of_a_batch_make_the_step_of_the_whole(num_parts: int, soft: bool) -> None:
    weight = torch.tensor([1.0, 4.0, 0.5, 2.0], dtype=torch.float64)
    target = TARGET if not soft else torch.rand(8, 4, dtype=torch.float64).softmax(1)
    results = []
    for parts in (1, num_parts):
        torch.manual_seed(0)
        model = create_model(
            "cifar_resnet20", num_classes=4, norm_layer=lambda n: nn.GroupNorm(4, n)
        )
        model = model.double()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        step = TrainStep(model, optimizer, Objective(weight=weight), num_parts=parts)
        sums = step(IMAGES.double(), target, lr=0.1)
        results.append((sums, nn.utils.parameters_to_vector(model.parameters())))
    torch.testing.assert_close(results[1], results[0], rtol=1e-6, atol=1e-9)


# the network


def test_dropped_paths_change_no_key_no_value_and_nothing_in_evaluation() -> None:
    models = []
    for rate in (0.0, 0.5):
        torch.manual_seed(0)
        model = create_model("resnet18", num_classes=4)
        set_stochastic_depth_(model, rate)
        models.append(model)
    states = [model.state_dict() for model in models]
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    torch.manual_seed(1)
    plain = models[0].train()(torch.ones(2, 3, 32, 32))
    torch.manual_seed(1)
    untouched = create_model("resnet18", num_classes=4)
    untouched.load_state_dict(states[1])
    assert torch.equal(plain, untouched.train()(torch.ones(2, 3, 32, 32)))
    untouched.load_state_dict(states[1])
    assert torch.equal(*(m.eval()(torch.ones(2, 3, 32, 32)) for m in (untouched, models[1])))


def test_paths_are_dropped_for_whole_images_and_kept_on_average() -> None:
    dropped = drop_path(torch.ones(4000, 2, 3, 3), 0.3)
    rows = dropped.flatten(1)
    assert (rows == rows[:, :1]).all()
    assert sorted(set(rows[:, 0].tolist())) == [0.0, pytest.approx(1 / 0.7)]
    assert dropped.mean().item() == pytest.approx(1, abs=0.05)


def test_the_probability_grows_evenly_to_the_last_block() -> None:
    model = create_model("cifar_resnet20")
    assert set_stochastic_depth_(model, 0.9) == 9
    rates = [m.drop_path for m in model.modules() if isinstance(m, ResidualBlock)]
    assert rates == pytest.approx([0.1 * n for n in range(1, 10)])


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_recomputed_maps_change_no_bit(rate: float) -> None:
    results = []
    for recompute in (False, True):
        torch.manual_seed(0)
        model = create_model("cifar_resnet20", num_classes=4)
        set_stochastic_depth_(model, rate)
        if recompute:
            assert set_recompute_(model) == 9
        F.cross_entropy(model(IMAGES), TARGET).backward()
        results.append(
            {n: p.grad for n, p in model.named_parameters()} | dict(model.named_buffers())
        )
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_the_average_forgets_faster_at_the_start() -> None:
    model = nn.Linear(1, 1, bias=False)
    config = TrainConfig(model_ema=True, model_ema_decay=0.5, model_ema_warmup=True)
    average = build_average(model, config)
    expected = 0.0
    for number in range(30):
        nn.init.constant_(model.weight, float(number))
        average.update_parameters(model)
        kept = min(0.5, (1 + number) / (10 + number)) if number else 0.0
        expected = kept * expected + (1 - kept) * number
        assert average.module.weight.item() == pytest.approx(expected, rel=1e-5)
