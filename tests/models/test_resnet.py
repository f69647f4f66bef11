"""The ImageNet family by itself: shapes, heads, options, errors."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn

from softonce import models
from softonce.errors import ArgumentError
from softonce.models import BasicBlock, Bottleneck, ResNet, list_models, registry

NUM_ENTRIES = {
    "resnet18": (122, 62),
    "resnet34": (218, 110),
    "resnet50": (320, 161),
    "resnet101": (626, 314),
    "resnet152": (932, 467),
    "resnext50_32x4d": (320, 161),
    "resnext101_32x8d": (626, 314),
    "resnext101_64x4d": (626, 314),
    "wide_resnet50_2": (320, 161),
    "wide_resnet101_2": (626, 314),
}


def small(block: type = BasicBlock, **options: object) -> ResNet:
    torch.manual_seed(0)
    return ResNet(block, [1, 2, 1, 1], **{"num_classes": 6} | options).eval()


@pytest.mark.parametrize("name", NUM_ENTRIES)
def test_state_dict_has_the_published_number_of_entries(name: str) -> None:
    model = registry._skeleton(name)
    assert (len(model.state_dict()), len(list(model.parameters()))) == NUM_ENTRIES[name]


@pytest.mark.parametrize("name", list_models())
def test_no_model_ends_in_a_softmax(name: str) -> None:
    model = registry._skeleton(name)
    assert not [module for module in model.modules() if "softmax" in type(module).__name__.lower()]
    assert list(model.named_children())[-1] == ("fc", model.fc)
    assert isinstance(model.fc, nn.Linear)


@pytest.mark.parametrize("model", [small(), small(Bottleneck), models.cifar_resnet20().eval()])
def test_logits_are_the_head_of_the_features(model: models.Network) -> None:
    images = torch.randn(3, 3, 40, 33)
    features = model.forward_features(images)
    assert features.shape == (3, model.fc.in_features)
    assert torch.equal(model(images), model.fc(features))


def test_logits_are_unnormalised() -> None:
    logits = small()(torch.randn(4, 3, 64, 64))
    assert (logits < 0).any()
    assert not torch.allclose(logits.sum(1), torch.ones(4), atol=0.01)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_every_map_keeps_the_memory_format(block: type, memory_format: torch.memory_format) -> None:
    model = small(block).to(memory_format=memory_format)
    maps: list[torch.Tensor] = []
    for name in ("layer1", "layer2", "layer3"):
        getattr(model, name).register_forward_hook(lambda *call: maps.append(call[2]))
    model(torch.randn(2, 3, 64, 64).to(memory_format=memory_format))
    assert [m.is_contiguous(memory_format=memory_format) for m in maps] == [True] * 3


@pytest.mark.parametrize("in_channels", [1, 3, 5])
def test_images_may_have_any_number_of_channels(in_channels: int) -> None:
    assert small(in_channels=in_channels)(torch.randn(2, in_channels, 33, 33)).shape == (2, 6)


def test_dilation_keeps_the_size_of_the_maps() -> None:
    model = small(Bottleneck, replace_stride_with_dilation=(False, True, True))
    maps: list[torch.Tensor] = []
    model.layer4.register_forward_hook(lambda *call: maps.append(call[2]))
    model(torch.randn(1, 3, 64, 64))
    assert maps[0].shape[2:] == (8, 8)
    assert model.layer3[0].conv2.dilation == (1, 1)
    assert model.layer4[0].conv2.dilation == (2, 2)


def test_group_norm_does_not_mix_images() -> None:
    model = small(norm_layer=functools.partial(nn.GroupNorm, 4)).train()
    images = torch.randn(3, 3, 33, 33)
    torch.testing.assert_close(model(images)[:1], model(images[:1]), rtol=1e-4, atol=1e-5)


def test_normalisation_without_parameters_is_possible() -> None:
    norm_layer = functools.partial(nn.BatchNorm2d, affine=False)
    model = small(norm_layer=norm_layer, zero_init_residual=True)
    assert "bn1.weight" not in model.state_dict()


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_zero_initialised_residuals_make_blocks_the_identity(block: type) -> None:
    second = small(block, zero_init_residual=True).layer2[1]
    maps = torch.rand(2, 128 * block.expansion, 8, 8)
    assert torch.equal(second(maps), maps)


def test_subclasses_may_override_the_seams_of_torchvision() -> None:
    class Doubled(ResNet):
        def _make_layer(self, block, planes, blocks, stride=1, dilate=False):
            return super()._make_layer(block, planes, blocks + 1, stride, dilate)

        def _forward_impl(self, images):
            return 2 * super()._forward_impl(images)

    model = Doubled(BasicBlock, [1, 1, 1, 1], num_classes=4).eval()
    images = torch.randn(2, 3, 33, 33)
    assert len(model.layer3) == 2
    assert torch.equal(model(images), 2 * model.fc(model.forward_features(images)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": 2}, "groups=2 and base_width=64: use Bottleneck"),
        ({"width_per_group": 128}, "only supports groups=1 and base_width=64"),
        ({"replace_stride_with_dilation": [True]}, r"None or 3 booleans.*found \[True\]"),
        ({"num_classes": 0}, "num_classes of at least 1, found 0"),
        ({"in_channels": 0}, "in_channels of at least 1, found 0"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        small(**options)


def test_basic_blocks_cannot_be_dilated() -> None:
    with pytest.raises(NotImplementedError, match="Dilation > 1 not supported in BasicBlock"):
        small(replace_stride_with_dilation=(True, True, True))
