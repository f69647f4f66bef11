"""Ten architectures beside torchvision's: keys, initial values, logits, records, class names."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, TypeAlias

import pytest
import torch
from torch import nn
from torchvision_beside import torchvision_or_skip

from softonce import models
from softonce.models import list_models, list_weights

if TYPE_CHECKING:
    from collections.abc import Callable

theirs = torchvision_or_skip().models

NAMES = [name for name in list_models() if not name.startswith("cifar")]
Twins: TypeAlias = tuple[nn.Module, nn.Module]


def twins(make: Callable[..., nn.Module], reference: Callable[..., nn.Module]) -> Twins:
    """Build ours and theirs under the same seed."""
    torch.manual_seed(3)
    ours = make().eval()
    torch.manual_seed(3)
    return ours, reference().eval()


def small_twins(block: str, **options: object) -> Twins:
    """Build two networks of a few blocks with the same options."""
    mine, other = getattr(models, block), getattr(theirs.resnet, block)
    return twins(
        functools.partial(models.ResNet, mine, [1, 2, 1, 2], **options),
        functools.partial(theirs.ResNet, other, [1, 2, 1, 2], **options),
    )


def check_equal(ours: nn.Module, reference: nn.Module) -> None:
    state = ours.state_dict()
    expected = reference.state_dict()
    assert list(state) == list(expected)
    assert all(torch.equal(state[key], expected[key]) for key in expected)
    images = torch.randn(1, 3, 65, 49)
    with torch.inference_mode():
        assert torch.equal(ours(images), reference(images))


@pytest.mark.parametrize("name", NAMES)
def test_keys_seeded_initialisation_and_logits_equal_torchvision(name: str) -> None:
    check_equal(*twins(getattr(models, name), getattr(theirs, name)))


def test_every_residual_architecture_of_torchvision_is_here() -> None:
    residual = {name for name in theirs.list_models(module=theirs) if "resne" in name}
    assert set(NAMES) == residual


@pytest.mark.parametrize(
    ("block", "options"),
    [
        ("BasicBlock", {"num_classes": 7, "zero_init_residual": True}),
        ("BasicBlock", {"norm_layer": functools.partial(nn.GroupNorm, 8)}),
        ("Bottleneck", {"replace_stride_with_dilation": [False, True, True]}),
        ("Bottleneck", {"zero_init_residual": True, "width_per_group": 32}),
        ("Bottleneck", {"groups": 2, "replace_stride_with_dilation": (True, False, True)}),
    ],
    ids=["zero-init", "group-norm", "dilated", "narrow", "dilated-groups"],
)
def test_options_mean_what_they_mean_in_torchvision(block: str, options: dict[str, object]) -> None:
    check_equal(*small_twins(block, **options))


@pytest.mark.parametrize("block", ["BasicBlock", "Bottleneck"])
def test_gradients_and_running_statistics_in_training_equal_torchvision(block: str) -> None:
    ours, reference = small_twins(block, num_classes=5)
    images = torch.randn(4, 3, 33, 33)
    for model in (ours, reference):
        model.train()(images).square().sum().backward()
    for mine, other in zip(ours.parameters(), reference.parameters(), strict=True):
        assert torch.equal(mine.grad, other.grad)
    for mine, other in zip(ours.buffers(), reference.buffers(), strict=True):
        assert torch.equal(mine, other)


def test_modules_stand_in_the_same_order() -> None:
    ours, reference = (dict(model.named_modules()) for model in small_twins("Bottleneck"))
    assert list(ours) == list(reference)


def test_attributes_that_downstream_code_reads_are_the_same() -> None:
    ours, reference = small_twins("Bottleneck", replace_stride_with_dilation=(False, False, True))
    for name in ("inplanes", "dilation", "groups", "base_width", "_norm_layer"):
        assert getattr(ours, name) == getattr(reference, name)
    for layer in ("layer1", "layer4"):
        mine, other = getattr(ours, layer)[0], getattr(reference, layer)[0]
        assert (mine.stride, mine.expansion) == (other.stride, other.expansion)


@pytest.mark.parametrize("kind", ["BasicBlock", "Bottleneck"])
def test_constructors_take_the_same_positional_arguments(kind: str) -> None:
    def parameters(owner: type) -> list[tuple[str, object]]:
        signature = inspect.signature(owner).parameters.values()
        return [(p.name, p.default) for p in signature if p.kind is p.POSITIONAL_OR_KEYWORD]

    assert parameters(getattr(models, kind)) == parameters(getattr(theirs.resnet, kind))
    assert parameters(models.ResNet) == parameters(theirs.ResNet)


def test_a_state_dict_of_torchvision_loads_as_it_is() -> None:
    ours, reference = small_twins("Bottleneck")
    nn.init.normal_(reference.fc.weight)
    ours.load_state_dict(reference.state_dict(), strict=True)
    check_equal(ours, reference)


def test_records_say_what_torchvision_says() -> None:
    for name in NAMES:
        kind = theirs.get_model_weights(name)
        records = list_weights(name)
        assert [str(record) for record in records] == [str(member) for member in kind]
        assert str(type(records[0]).DEFAULT) == str(kind.DEFAULT)
        for record in records:
            check_record(record, theirs.get_weight(str(record)))


def check_record(record: models.WeightsEnum, reference: object) -> None:
    accuracy = reference.meta["_metrics"]["ImageNet-1K"]
    assert record.url == reference.url
    assert record.num_params == reference.meta["num_params"]
    assert (record.acc1, record.acc5) == (accuracy["acc@1"], accuracy["acc@5"])
    preset, preprocessing = reference.transforms(), record.preprocessing
    assert [preprocessing.size] == preset.crop_size
    assert [preprocessing.resize] == preset.resize_size
    assert preprocessing.interpolation == preset.interpolation.value
    assert list(preprocessing.mean) == preset.mean
    assert list(preprocessing.std) == preset.std


def test_class_names_are_those_of_torchvision() -> None:
    record = models.ResNet18_Weights.DEFAULT
    expected = theirs.ResNet18_Weights.DEFAULT.meta["categories"]
    assert list(record.classes) == expected
