"""Networks that others wrote, behind the contract: shapes, head, features, names of tensors."""

from __future__ import annotations

from collections import namedtuple
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from softonce.errors import ArgumentError
from softonce.models.adapted import AdaptedNetwork, logits_in
from softonce.preprocessing import Preprocessing
from softonce.training.layers import layers_of

SQUARE = Preprocessing(size=8)
IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Nested(nn.Module):
    """A network with tokens of its own, blocks, and a head deep inside, under a foreign name."""

    def __init__(self, wrap: Any = lambda logits: logits) -> None:
        super().__init__()
        self.wrap = wrap
        self.token = nn.Parameter(torch.zeros(1, 6))
        self.stem = nn.Conv2d(3, 6, 3)
        self.blocks = nn.Sequential(
            *(nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6)) for _ in "ab")
        )
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 5))

    def forward(self, images: torch.Tensor) -> Any:
        return self.wrap(self.classifier(self.blocks(self.stem(images).mean((2, 3)) + self.token)))


def adapted(body: nn.Module, **options: Any) -> AdaptedNetwork:
    return AdaptedNetwork(body, preprocessing=SQUARE, **options)


Output = namedtuple("Output", ["logits", "aux_logits"])  # noqa: PYI024 - as torchvision's


@pytest.mark.parametrize(
    "wrap",
    [
        lambda logits: logits,
        lambda logits: (logits, logits * 2),
        lambda logits: [logits],
        lambda logits: {"loss": None, "logits": logits},
        lambda logits: {"features": logits * 2, "logits": logits},
        lambda logits: Output(logits, logits * 2),
        lambda logits: SimpleNamespace(logits=logits, hidden_states=None),
    ],
    ids=["tensor", "tuple", "list", "dict", "dict with more", "namedtuple", "object"],
)
def test_the_logits_are_found_in_what_a_network_returns(wrap: Any) -> None:
    network = adapted(Nested(wrap)).eval()
    body = network.body
    assert network.num_logits == 5
    assert network.heads == ("classifier.1",)
    assert network.ends_in_head
    features = network.forward_features(IMAGES)
    assert torch.equal(network(IMAGES), body.classifier[1](features))
    assert torch.equal(network(IMAGES), logits_in(body(IMAGES), 5))


def test_the_tensors_have_the_names_of_the_network_inside_wherever_it_is_nested() -> None:
    network = adapted(Nested())
    assert list(network.state_dict()) == list(network.body.state_dict())
    outer = nn.ModuleDict({"average": network})
    other = nn.ModuleDict({"average": adapted(Nested())})
    assert list(outer.state_dict()) == [f"average.{name}" for name in network.body.state_dict()]
    other.load_state_dict(outer.state_dict())
    for name, tensor in network.body.state_dict().items():
        assert torch.equal(other["average"].state_dict()[name], tensor)
    with pytest.raises(RuntimeError, match="Missing key.*stem.weight"):
        network.load_state_dict({"token": torch.zeros(1, 6)})


def test_another_head_leaves_the_network_as_it_is() -> None:
    network = adapted(Nested()).eval()
    wide = nn.Linear(6, 9)
    other = network.with_head(wide)
    assert other.head is wide
    assert isinstance(network.head, nn.Linear)
    assert network.head.out_features == 5
    network.set_head_(nn.Identity())
    assert isinstance(network.body.classifier[1], nn.Identity)


def test_looking_at_a_network_changes_neither_it_nor_the_random_state() -> None:
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 5))
    body[1].eval()
    before = {name: tensor.clone() for name, tensor in body.state_dict().items()}
    state = torch.get_rng_state()
    adapted(body)
    assert torch.equal(state, torch.get_rng_state())
    assert [module.training for module in body] == [True, False, True, True]
    assert all(torch.equal(before[name], value) for name, value in body.state_dict().items())


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (nn.Conv2d(3, 5, 3), r"found \(2, 5, 6, 6\): pool over"),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(192, 4)),
            r"\(N, 5\) from the network, found \(2, 4\)",
        ),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(100, 5)),
            r"images of shape \(3, 8, 8\), found mat1",
        ),
    ],
    ids=["maps", "other classes", "another size"],
)
def test_a_network_that_breaks_the_contract_is_refused_in_one_line(
    body: nn.Module, found: str
) -> None:
    with pytest.raises(ArgumentError, match=found) as caught:
        adapted(body, num_classes=5)
    assert "\n" not in str(caught.value)


def test_the_layers_are_blocks_in_order_and_hold_every_parameter_once() -> None:
    network = adapted(Nested())
    found = layers_of(network)
    parts = [part for layer in found.trained for part in layer]
    parameters = [id(p) for part in parts for p in part.parameters()]
    assert sorted(parameters) == sorted(id(p) for p in network.parameters())
    assert len(found.trained) == 4  # stem with the token, two blocks, the head
    assert found.trained[-1] == [network.head]


def test_a_frozen_backbone_holds_back_all_but_the_head() -> None:
    network = adapted(Nested())
    layers_of(network, freeze="backbone")
    learning = [name for name, p in network.named_parameters() if p.requires_grad]
    assert learning == ["body.classifier.1.weight", "body.classifier.1.bias"]
    layers_of(other := adapted(Nested()), freeze="blocks.0")
    still = {name for name, p in other.named_parameters() if not p.requires_grad}
    assert {"body.token", "body.stem.weight", "body.blocks.0.1.bias"} <= still
    assert "body.blocks.1.0.weight" not in still
