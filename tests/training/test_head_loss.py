"""Many logits: head and loss in one make the step of the two, and a run takes it by itself."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from training.runs import rows, small

from softonce import TrainConfig, train
from softonce.errors import ConfigError
from softonce.losses import ShardedLinear, cross_entropy
from softonce.losses.tuning import tuned
from softonce.models import Network
from softonce.training import head_loss
from softonce.training.head_loss import (
    HeadLoss,
    ShardedHeadLoss,
    has_many_logits,
    with_whole_head,
)
from softonce.training.mixing import Mixing
from softonce.training.objective import Objective
from softonce.training.plan import with_head_shards
from softonce.training.step import TrainStep

NUM_ROWS, NUM_CLASSES = 300, 4000
OBJECTIVES = {
    "plain": Objective(),
    "smoothed and weighted": Objective(None, torch.linspace(0.2, 3, NUM_CLASSES), 0.1),
}
SAID = "head and loss in blocks (from 1,048,576 logits a step and process)"


class Net(Network):
    def __init__(self, num_classes: int = NUM_CLASSES) -> None:
        super().__init__()
        self.body = nn.Linear(12, 9)
        self.fc = nn.Linear(9, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        return self.body(images.flatten(1)).tanh()


class Scaled(Net):
    def forward(self, images: Tensor) -> Tensor:
        return 2 * super().forward(images)


def batch(*, mixed: bool = False) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(NUM_ROWS, 3, 2, 2, generator=generator)
    target = torch.randint(NUM_CLASSES, (NUM_ROWS,), generator=generator)
    return (
        Mixing(NUM_CLASSES, mixup_alpha=0.4)(images, target, step=3) if mixed else (images, target)
    )


def stepped(objective: Objective, *, has_loss: bool, mixed: bool = False, **options) -> Tensor:
    """Make a step; return its sums and all parameters, as one vector."""
    torch.manual_seed(0)
    net = Net()
    compiled = options.pop("compiled", False)
    with mock.patch("torch.compile", partial(torch.compile, backend="aot_eager")):
        model = HeadLoss(net, objective, compiled=compiled) if has_loss else net
    step = TrainStep(
        model,
        torch.optim.SGD(net.parameters()),
        objective,
        has_loss=has_loss,
        **options,
    )
    sums = step(*batch(mixed=mixed), lr=3.0)
    return torch.cat([sums, nn.utils.parameters_to_vector(net.parameters()).double()])


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("num_parts", [1, 3])
def test_it_makes_the_step_of_head_and_loss(objective: str, mixed: bool, num_parts: int) -> None:
    options = {"mixed": mixed, "num_parts": num_parts, "clip_grad_norm": 0.5}
    ours = stepped(OBJECTIVES[objective], has_loss=True, **options)
    plain = stepped(OBJECTIVES[objective], has_loss=False, **options)
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-6)
    assert torch.equal(ours[1:3], plain[1:3])  # predictions and images are counted


def test_it_makes_the_same_step_in_bfloat16() -> None:
    autocast = partial(torch.autocast, "cpu", dtype=torch.bfloat16)
    ours, plain = (
        stepped(Objective(), has_loss=has_loss, autocast=autocast) for has_loss in (True, False)
    )
    assert abs(ours[0] / plain[0] - 1) < 1e-4
    assert (ours[3:] - plain[3:]).norm() < 1e-3 * plain[3:].norm()


def test_compiled_it_makes_the_same_step() -> None:
    torch._dynamo.reset()
    ours, plain = (stepped(Objective(), has_loss=True, compiled=flag) for flag in (True, False))
    torch.testing.assert_close(ours, plain, rtol=1e-6, atol=1e-7)


class Largest(TorchDispatchMode):
    """Remember the largest tensor that an operator makes."""

    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for made in result if isinstance(result, tuple | list) else (result,):
            if isinstance(made, Tensor):
                self.numel = max(self.numel, made.numel())
        return result


@pytest.mark.parametrize("compiled", [False, True])
def test_the_logits_of_the_step_are_never_all_there(compiled: bool) -> None:
    torch._dynamo.reset()
    with Largest() as plain:
        stepped(Objective(), has_loss=False)
    with tuned(chunk_rows=64, chunk_bytes=1), Largest() as ours:
        stepped(Objective(), has_loss=True, compiled=compiled)
    assert plain.numel == NUM_ROWS * NUM_CLASSES
    assert ours.numel == 64 * NUM_CLASSES


@pytest.mark.parametrize(
    ("net", "loss", "num_classes", "num_images", "is_many"),
    [
        (Net, None, 2**14, 64, True),
        (Net, None, 2**14, 63, False),
        (Net, cross_entropy, 2**14, 64, False),
        (Scaled, None, 2**14, 64, False),
    ],
)
def test_what_decides_is_the_number_of_logits(net, loss, num_classes, num_images, is_many) -> None:
    assert has_many_logits(net(num_classes), Objective(loss), num_images) == is_many


def test_a_run_takes_it_by_itself_and_says_so(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch
) -> None:
    caplog.set_level(logging.INFO, logger="softonce")
    # Batch norm over four pictures makes much of a last bit: a small rate keeps it small.
    options = {"mixup_alpha": 0.2, "model_ema": True, "grad_accum_steps": 2, "amp": False}
    options["lr"] = 1e-5
    train(small(photos, tmp_path / "plain", **options))
    assert "in blocks" not in caplog.text
    monkeypatch.setattr(head_loss, "MANY_LOGITS", 1)
    train(small(photos, tmp_path / "many", **options))
    assert SAID in caplog.text
    for ours, plain in zip(rows(tmp_path / "many"), rows(tmp_path / "plain"), strict=True):
        assert ours.pop("split") == plain.pop("split")
        assert ours == pytest.approx(plain, rel=1e-3)


@pytest.mark.parametrize(
    ("asked", "num_classes", "num_processes", "is_sharded"),
    [
        (None, 2**20, 2, True),
        (None, 2**20, 1, False),
        (None, 2**19, 2, False),
        (False, 2**20, 2, False),
        (True, 10, 1, True),
    ],
)
def test_the_processes_share_a_wide_head(
    monkeypatch, asked, num_classes, num_processes, is_sharded
) -> None:
    monkeypatch.setattr("softonce.training.plan.world_size", lambda: num_processes)
    network, config = Net(num_classes), TrainConfig(Path("photos"), shard_head=asked)
    network.fc.to("meta").weight = nn.Parameter(torch.empty(num_classes, 16, device="meta"))
    assert with_head_shards(config, network, has_own_loss=False).shard_head == is_sharded


@pytest.mark.parametrize(("net", "has_own_loss"), [(Scaled, False), (Net, True)])
def test_a_head_whose_logits_are_wanted_is_not_shared(monkeypatch, net, has_own_loss) -> None:
    monkeypatch.setattr("softonce.training.plan.world_size", lambda: 2)
    monkeypatch.setattr("softonce.training.plan.WIDE_HEAD", 1)
    open_, asked = (TrainConfig(Path("photos"), shard_head=flag) for flag in (None, True))
    assert not with_head_shards(open_, net(), has_own_loss=has_own_loss).shard_head
    with pytest.raises(ConfigError, match="leave --shard-head out"):
        with_head_shards(asked, net(), has_own_loss=has_own_loss)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_shared_head_makes_the_same_step_in_one_process(objective: str) -> None:
    torch.manual_seed(0)
    net = Net()
    net.fc = ShardedLinear.from_linear(net.fc)
    step = TrainStep(
        ShardedHeadLoss(net, OBJECTIVES[objective]),
        torch.optim.SGD(net.parameters()),
        OBJECTIVES[objective],
        has_loss=True,
        clip_grad_norm=0.5,
    )
    sums = step(*batch(), lr=3.0)
    ours = torch.cat([sums, nn.utils.parameters_to_vector(net.parameters()).double()])
    plain = stepped(OBJECTIVES[objective], has_loss=False, clip_grad_norm=0.5)
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-6)
    assert torch.equal(with_whole_head(net).fc.weight, net.fc.weight)
