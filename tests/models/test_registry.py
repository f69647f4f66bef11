"""Names -> models, and models -> the names and arguments that build them again."""

from __future__ import annotations

import inspect
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from softonce import models
from softonce.errors import ArgumentError, UnknownNameError, WeightsError
from softonce.models import (
    BasicBlock,
    ResNet,
    architecture_of,
    create_model,
    list_models,
    load_weights,
    register,
    registry,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def _own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_BUILDERS", dict(registry._BUILDERS))


def test_every_name_is_a_public_builder() -> None:
    assert len(list_models()) == 16
    assert list_models() == sorted(list_models())
    for name in list_models():
        assert getattr(models, name).__name__ == name
        assert name in models.__all__


def test_the_door_is_sorted_and_holds() -> None:
    assert all(hasattr(models, name) for name in models.__all__)
    assert len(set(models.__all__)) == len(models.__all__)


@pytest.mark.parametrize(
    ("pattern", "number"),
    [(None, 16), ("*", 16), ("cifar*", 6), ("CIFAR*", 6), ("resnet??", 3), ("vgg*", 0)],
)
def test_patterns_are_those_of_the_shell(pattern: str | None, number: int) -> None:
    assert len(list_models(pattern)) == number


def test_builders_show_the_keywords_of_torchvision() -> None:
    signature = inspect.signature(models.resnet18)
    assert list(signature.parameters) == ["weights", "progress", "options"]
    assert signature.parameters["weights"].default is None


def test_names_are_read_in_any_case() -> None:
    assert create_model("CIFAR_ResNet20").architecture.name == "cifar_resnet20"


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="found 'resnet51'; the nearest names are: resnet5"):
        create_model("ResNet51")
    with pytest.raises(UnknownNameError, match="expected a known model, found 'vgg'"):
        create_model("vgg")


@pytest.mark.usefixtures("_own_names")
def test_a_taken_name_is_refused() -> None:
    def ResNet18(**options: Any) -> ResNet:  # noqa: N802 - the case must not matter
        return ResNet(BasicBlock, [1, 1, 1, 1], **options)

    with pytest.raises(ArgumentError, match="expected a new name, found 'resnet18'"):
        register(ResNet18)


@pytest.mark.usefixtures("_own_names")
def test_an_own_architecture_is_built_listed_and_filled(tmp_path: Path) -> None:
    @register
    def resnet10_gn(**options: Any) -> ResNet:
        """GroupNorm cannot stand in JSON, so it stands in a function with a name."""
        return ResNet(BasicBlock, [1, 1, 1, 1], norm_layer=lambda n: nn.GroupNorm(4, n), **options)

    model = resnet10_gn(num_classes=3)
    torch.save(model.state_dict(), tmp_path / "own.pth")
    again = create_model("resnet10_gn", weights=tmp_path / "own.pth")
    assert "resnet10_gn" in list_models()
    assert torch.equal(again.fc.weight, model.fc.weight)
    assert architecture_of(again) == ("resnet10_gn", {"num_classes": 3, "in_channels": 3})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cifar_resnet20", {}),
        ("cifar_resnet20", {"num_classes": 3, "shortcut": "B", "in_channels": 1}),
        ("resnet50", {"num_classes": 4, "replace_stride_with_dilation": (False, True, True)}),
        ("resnet18", {"zero_init_residual": True}),
    ],
)
def test_name_and_arguments_build_the_same_network_again(
    name: str, options: dict[str, Any]
) -> None:
    with torch.device("meta"):
        model = create_model(name, **options)
        arch, arch_args = json.loads(json.dumps(architecture_of(model)))
        again = create_model(arch, **arch_args)
    assert repr(again) == repr(model)
    assert arch_args["num_classes"] == model.fc.out_features


def test_a_replaced_head_is_part_of_the_arguments() -> None:
    model = models.cifar_resnet20()
    model.fc = nn.Linear(64, 2)
    assert architecture_of(model) == ("cifar_resnet20", {"num_classes": 2})


def test_a_bare_network_has_no_name() -> None:
    with pytest.raises(ArgumentError, match="found a bare ResNet: put its construction into"):
        architecture_of(ResNet(BasicBlock, [1, 1, 1, 1]))


def test_options_that_json_cannot_hold_are_named() -> None:
    with torch.device("meta"):
        model = create_model("resnet18", norm_layer=nn.InstanceNorm2d)
    with pytest.raises(ArgumentError, match=r"options of resnet18 that JSON can hold.*register"):
        architecture_of(model)


def test_pretrained_is_answered_with_its_new_name() -> None:
    with pytest.raises(ArgumentError, match='weights="IMAGENET1K_V1" those that pretrained=True'):
        models.resnet18(pretrained=True)


def test_create_model_logs_what_was_done_to_make_weights_fit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("softonce"), "propagate", True)
    torch.save(models.cifar_resnet20().state_dict(), tmp_path / "a.pth")
    with caplog.at_level("WARNING", "softonce"):
        create_model("cifar_resnet20", weights=tmp_path / "a.pth", num_classes=3, in_channels=1)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "the stem of" in caplog.text
    assert "10 classes, the model 3: the head starts afresh" in caplog.text


def test_nothing_is_logged_where_everything_fits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("softonce"), "propagate", True)
    torch.save(models.cifar_resnet20(num_classes=4).state_dict(), tmp_path / "a.pth")
    model = create_model("cifar_resnet20", weights=tmp_path / "a.pth")
    assert model.fc.out_features == 4
    assert not caplog.records


def test_misfitting_weights_leave_the_model_as_it_was(tmp_path: Path) -> None:
    model = models.cifar_resnet20()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    state = models.cifar_resnet20(num_classes=3).state_dict()
    del state["layer3.2.bn2.running_var"]
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"1 missing \(layer3.2.bn2.running_var\)"):
        load_weights(model, tmp_path / "a.pth")
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
