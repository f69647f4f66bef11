"""Checkpoints as other people's trainers write them: the network within is found, the rest said."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from softonce.errors import WeightsError
from softonce.models import create_model, load_weights

STATE = dict(create_model("cifar_resnet20", num_classes=10).state_dict())
BODY = {key: value for key, value in STATE.items() if not key.startswith("fc.")}
OTHER = {key: torch.zeros_like(value) for key, value in BODY.items()}


def below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{key}": value for key, value in tensors.items()}


ARGS = argparse.Namespace(model="cifar_resnet20", lr=0.1, data=Path("photos").name)
PROJECTION = {"0.weight": torch.zeros(64, 64), "2.weight": torch.zeros(128, 64)}
FORMS: dict[str, tuple[Any, bool]] = {
    "torchvision": ({"model": STATE, "optimizer": {}, "epoch": 3, "args": ARGS}, True),
    "timm": ({"epoch": 3, "arch": "x", "state_dict": STATE, "args": ARGS, "version": 2}, True),
    "lightning": ({"state_dict": below("model.", STATE), "hyper_parameters": {"lr": 0.1}}, True),
    "mmpretrain": (
        {"state_dict": below("backbone.", BODY) | below("head.", {
            "fc.weight": STATE["fc.weight"], "fc.bias": STATE["fc.bias"]})},
        True,
    ),
    "moco": (
        {"state_dict": below("module.encoder_q.", BODY) | below("module.encoder_q.fc.", PROJECTION)
            | below("module.encoder_k.", OTHER) | {"module.queue": torch.zeros(128, 9)}},
        False,
    ),
    "moco of version 1": (
        {"state_dict": below("module.encoder_q.", BODY | {
            "fc.weight": torch.zeros(10, 64), "fc.bias": torch.zeros(10)})},
        False,
    ),
    "dino": (
        {"student": below("module.backbone.", OTHER),
         "teacher": below("backbone.", BODY) | below("head.mlp.", PROJECTION)},
        False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_the_network_within_is_loaded(form: str, tmp_path: Path) -> None:
    payload, has_head = FORMS[form]
    torch.save(payload, tmp_path / "weights.pth")
    network = create_model("cifar_resnet20", num_classes=10)
    report = load_weights(network, tmp_path / "weights.pth")
    found = network.state_dict()
    assert all(torch.equal(found[key], value) for key, value in BODY.items())
    assert report.head_reinitialised is not has_head
    assert torch.equal(found["fc.weight"], STATE["fc.weight"]) is has_head


def test_what_was_left_out_is_said_by_name(tmp_path: Path) -> None:
    torch.save(FORMS["moco"][0], tmp_path / "moco.pth")
    report = load_weights(create_model("cifar_resnet20"), tmp_path / "moco.pth")
    assert "encoder_q.* was loaded" in report.notes[0]
    assert "left out (encoder_q.fc.0.weight" in report.notes[0]


def test_a_network_that_has_such_names_itself_keeps_them(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(
        "from torch import nn\n\n"
        "class Own(nn.Module):\n"
        "    def __init__(self, num_classes):\n"
        "        super().__init__()\n"
        "        self.model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
        "        self.backbone = nn.Linear(3, 4)\n"
        "        self.head = nn.Linear(4, num_classes)\n"
        "    def forward(self, images):\n"
        "        return self.head(self.backbone(self.model(images)).relu())\n"
    )
    network = create_model(f"{tmp_path / 'nets.py'}:Own", num_classes=3)
    torch.save(network.state_dict(), tmp_path / "own.pth")
    again = create_model(f"{tmp_path / 'nets.py'}:Own", weights=tmp_path / "own.pth", num_classes=3)
    assert all(torch.equal(again.state_dict()[k], v) for k, v in network.state_dict().items())


def test_a_file_whose_prefix_is_stripped_fits_a_network_that_has_it(tmp_path: Path) -> None:
    inner = create_model("cifar_resnet20", num_classes=10)
    outer = nn.Module()
    outer.model = inner
    torch.save(outer.state_dict(), tmp_path / "outer.pth")
    again = nn.Module()
    again.model = create_model("cifar_resnet20", num_classes=10)
    load_weights(again, tmp_path / "outer.pth")
    assert torch.equal(again.model.fc.weight, inner.fc.weight)


def test_other_code_in_a_file_is_still_refused(tmp_path: Path) -> None:
    torch.save({"model": STATE, "args": Path("x")}, tmp_path / "code.pth")
    with pytest.raises(WeightsError, match="found pathlib"):
        load_weights(create_model("cifar_resnet20"), tmp_path / "code.pth")
