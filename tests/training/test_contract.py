"""Every network ends in logits: verified before the first step, with the module named if not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import softonce
from softonce.config import TrainConfig
from softonce.errors import ConfigError
from softonce.floors import double_softmax_floor
from softonce.models import create_model, list_models
from softonce.models.adapted import AdaptedNetwork
from softonce.preprocessing import Preprocessing
from softonce.training.contract import check_contract

SHAPE = (3, 16, 16)


class Ends(nn.Module):
    """A small network, and what is done with its scores."""

    def __init__(self, end: Callable[[nn.Module, Tensor], Any], num_classes: int = 3) -> None:
        super().__init__()
        self.end = end
        self.conv, self.norm = nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6)
        self.top = nn.Linear(6, num_classes)

    def forward(self, images: Tensor) -> Any:
        return self.end(self, self.top(self.norm(self.conv(images)).relu().mean((2, 3))))


def adapted(body: nn.Module) -> AdaptedNetwork:
    return AdaptedNetwork(body, preprocessing=Preprocessing(size=16))


def by_numpy(scores: Tensor) -> Tensor:
    """Return a softmax that no reader of torch's operations can follow."""
    powers = np.exp(scores.detach().numpy())
    return torch.from_numpy(powers / powers.sum(1, keepdims=True))


NORMALISED = {
    "softmax": lambda _, z: z.softmax(1),
    "softmax in float64": lambda _, z: z.double().softmax(1).float(),
    "log_softmax": lambda _, z: nn.functional.log_softmax(z, dim=-1),
    "sigmoid": lambda _, z: z.sigmoid(),
    "sigmoid by hand": lambda _, z: 1 / (1 + (-z).exp()),
    "by hand": lambda _, z: z.exp() / z.exp().sum(1, keepdim=True),
    "log of softmax": lambda _, z: z.softmax(1).log(),
    "in evaluation": lambda net, z: z if net.training else z.softmax(1),
    "in training": lambda net, z: z.softmax(1) if net.training else z,
    "in a tuple": lambda _, z: (z.softmax(1), z),
    "in numpy": lambda _, z: by_numpy(z),
    "with softonce": lambda _, z: softonce.softmax(z, dim=1),
}
LOGITS = {
    "plain": lambda _, z: z,
    "softcap": lambda _, z: 30 * torch.tanh(z / 30),
    "scaled": lambda _, z: z / 0.07,
    "in a dict": lambda _, z: {"logits": z},
    "beside probabilities": lambda _, z: (z, z.softmax(1)),
    "centred": lambda _, z: z - z.mean(1, keepdim=True),
    "averaged": lambda net, z: (z + net.top(torch.ones(len(z), 6))) / 2,
}


@pytest.mark.parametrize("end", NORMALISED.values(), ids=NORMALISED)
def test_what_is_normalised_is_refused_in_one_line(end: Any) -> None:
    with pytest.raises(ConfigError, match="expected logits from mine, found .*prob") as caught:
        check_contract(adapted(Ends(end)), "mine", SHAPE)
    assert "\n" not in str(caught.value)
    assert "Ends" in str(caught.value)


@pytest.mark.parametrize("end", LOGITS.values(), ids=LOGITS)
def test_logits_pass_and_are_said_in_one_line(end: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        check_contract(adapted(Ends(end)), "mine", SHAPE)
    line = "mine: logits along axis -1, made by `top` (Linear), checked"
    assert caplog.messages[0] == line


@pytest.mark.parametrize("last", [nn.Softmax(1), nn.LogSoftmax(1), nn.Sigmoid(), nn.LogSigmoid()])
def test_a_last_module_is_named_with_the_three_ways_out(last: nn.Module) -> None:
    body = nn.Sequential(nn.Flatten(), nn.Linear(768, 3), nn.Dropout(), last)
    with pytest.raises(ConfigError) as caught:
        check_contract(adapted(body), "mine", SHAPE)
    text = str(caught.value)
    assert f"made by `3` ({type(last).__name__})" in text
    assert all(way in text for way in ("--strip-normaliser", "comes before it", "mend"))


def test_the_check_changes_nothing() -> None:
    network = adapted(Ends(LOGITS["plain"]))
    network.body.norm.eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = torch.get_rng_state()
    check_contract(network, "mine", SHAPE)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert network.training
    assert not network.body.norm.training


@pytest.mark.parametrize("name", list_models("cifar_resnet20") + list_models("resnet18"))
def test_the_networks_of_softonce_keep_their_own_contract(name: str) -> None:
    check_contract(create_model(name, num_classes=3), name, (3, 32, 32))


OWN = """
from torch import nn

def squeezed(num_classes):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, num_classes), nn.Softmax(dim=1),
    )
"""


def test_a_softmax_is_refused_before_anything_is_written_and_stripped_if_asked(
    photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "nets.py").write_text(OWN)
    config = TrainConfig(
        photos, model=f"{tmp_path / 'nets.py'}:squeezed", size=16, epochs=12, batch_size=12, lr=0.1,
        workers=0, device="cpu", weights="none", recipe="none", quiet=True, output=tmp_path / "run",
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"found probabilities, made by `5` \(Softmax\)"):
        softonce.train(config)
    assert not (tmp_path / "run").exists()
    made = softonce.train(config, strip_normaliser=True)
    losses = [row["loss"] for row in made.history if row["split"] == "train"]
    assert losses[-1] < double_softmax_floor(3)  # which a second softmax cannot fall below
    network = made.classifier.network
    out = network(torch.randn(8, 3, 16, 16))
    assert not torch.allclose(out.sum(1), torch.ones(8))
