"""The ResNet family for ImageNet: state dicts, initialisation and logits as in torchvision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from softonce.errors import ArgumentError
from softonce.models.blocks import (
    BasicBlock,
    Bottleneck,
    NormLayer,
    ResidualBlock,
    conv1x1,
    initialise_,
)
from softonce.models.network import Network, check_positive
from softonce.models.registry import register

if TYPE_CHECKING:
    from collections.abc import Sequence

    from softonce.shapes import Features, Images, Logits


class ResNet(Network):
    """A residual network with a 7x7 stem, four stages and a Linear head that gives logits.

    Keys and shapes of the state dict, the initial values under a seed and the logits equal those
    of torchvision's `ResNet` with the same arguments. Subclasses written for that class find the
    two methods that they override, `_make_layer` and `_forward_impl`, with the same meaning.

    Args:
        block: the class of the residual blocks.
        layers: number of blocks in each of the four stages.
        num_classes: number of logits.
        zero_init_residual: whether every residual branch starts at zero.
        groups: of the 3x3 convolutions in bottleneck blocks.
        width_per_group: number of channels in a group, in the first stage.
        replace_stride_with_dilation: for stages 2, 3 and 4, whether the maps keep their size.
        norm_layer: number of channels -> normalisation; None is batch normalisation.
        in_channels: number of channels of the images.

    Raises:
        ArgumentError: if an argument is out of its range.

    Example:
        >>> model = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=5).eval()
        >>> images = torch.zeros(2, 3, 64, 64)
        >>> model.forward_features(images).shape, model(images).shape
        (torch.Size([2, 512]), torch.Size([2, 5]))

    Source: He, Zhang, Ren, Sun 2015, arXiv 1512.03385, table 1; with `groups`, Xie et al. 2016,
        arXiv 1611.05431; with wider groups, Zagoruyko and Komodakis 2016, arXiv 1605.07146.
    """

    def __init__(
        self,
        block: type[ResidualBlock],
        layers: Sequence[int],
        num_classes: int = 1000,
        zero_init_residual: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
        replace_stride_with_dilation: Sequence[bool] | None = None,
        norm_layer: NormLayer | None = None,
        *,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        check_positive(num_classes=num_classes, in_channels=in_channels)
        dilate2, dilate3, dilate4 = _check_three(replace_stride_with_dilation)
        self._norm_layer = norm_layer or nn.BatchNorm2d
        self.inplanes = 64
        self.dilation = 1
        self.groups = groups
        self.base_width = width_per_group
        self.conv1 = nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = self._norm_layer(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = self._make_layer(block, 64, layers[0])
        self.layer2 = self._make_layer(block, 128, layers[1], stride=2, dilate=dilate2)
        self.layer3 = self._make_layer(block, 256, layers[2], stride=2, dilate=dilate3)
        self.layer4 = self._make_layer(block, 512, layers[3], stride=2, dilate=dilate4)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        initialise_(self, zero_init_residual=zero_init_residual)

    def _make_layer(
        self,
        block: type[ResidualBlock],
        planes: int,
        blocks: int,
        stride: int = 1,
        dilate: bool = False,
    ) -> nn.Sequential:
        """Return one stage, and move `inplanes` and `dilation` on to what the next one finds."""
        first_dilation = self.dilation
        if dilate:
            self.dilation, stride = self.dilation * stride, 1
        # The projection is made before the block: so the draws from the RNG are torchvision's.
        downsample = self._make_projection(planes * block.expansion, stride)
        shape = (self.groups, self.base_width)
        stage = [
            block(
                self.inplanes, planes, stride, downsample, *shape, first_dilation, self._norm_layer
            )
        ]
        self.inplanes = planes * block.expansion
        while len(stage) < blocks:
            stage.append(
                block(self.inplanes, planes, 1, None, *shape, self.dilation, self._norm_layer)
            )
        return nn.Sequential(*stage)

    def _make_projection(self, out_planes: int, stride: int) -> nn.Sequential | None:
        """Return the shortcut of a stage's first block: none if the shape stays the same."""
        if stride == 1 and self.inplanes == out_planes:
            return None
        return nn.Sequential(
            conv1x1(self.inplanes, out_planes, stride), self._norm_layer(out_planes)
        )

    def forward_features(self, images: Images) -> Features:
        """Return the average-pooled maps of the last stage, (N, 512 * expansion)."""
        maps = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        maps = self.layer4(self.layer3(self.layer2(self.layer1(maps))))
        return torch.flatten(self.avgpool(maps), 1)

    def _forward_impl(self, images: Images) -> Logits:
        return super().forward(images)

    def forward(self, images: Images) -> Logits:
        """Return the logits: unnormalised, one row of `num_classes` values an image."""
        return self._forward_impl(images)


def _check_three(replace_stride_with_dilation: Sequence[bool] | None) -> Sequence[bool]:
    if replace_stride_with_dilation is None:
        return (False, False, False)
    if len(replace_stride_with_dilation) != 3:
        raise ArgumentError(
            "expected replace_stride_with_dilation to be None or 3 booleans, for the stages 2, 3 "
            f"and 4; found {replace_stride_with_dilation}"
        )
    return replace_stride_with_dilation


@register
def resnet18(**options: Any) -> ResNet:
    """ResNet-18: basic blocks 2, 2, 2, 2 (He et al. 2015, arXiv 1512.03385, table 1)."""
    return ResNet(BasicBlock, (2, 2, 2, 2), **options)


@register
def resnet34(**options: Any) -> ResNet:
    """ResNet-34: basic blocks 3, 4, 6, 3 (He et al. 2015, arXiv 1512.03385, table 1)."""
    return ResNet(BasicBlock, (3, 4, 6, 3), **options)


@register
def resnet50(**options: Any) -> ResNet:
    """ResNet-50: bottlenecks 3, 4, 6, 3 (He et al. 2015, arXiv 1512.03385, table 1)."""
    return ResNet(Bottleneck, (3, 4, 6, 3), **options)


@register
def resnet101(**options: Any) -> ResNet:
    """ResNet-101: bottlenecks 3, 4, 23, 3 (He et al. 2015, arXiv 1512.03385, table 1)."""
    return ResNet(Bottleneck, (3, 4, 23, 3), **options)


@register
def resnet152(**options: Any) -> ResNet:
    """ResNet-152: bottlenecks 3, 8, 36, 3 (He et al. 2015, arXiv 1512.03385, table 1)."""
    return ResNet(Bottleneck, (3, 8, 36, 3), **options)


@register
def resnext50_32x4d(**options: Any) -> ResNet:
    """ResNeXt-50: 32 groups of width 4 (Xie et al. 2016, arXiv 1611.05431, table 1)."""
    return ResNet(Bottleneck, (3, 4, 6, 3), **{"groups": 32, "width_per_group": 4} | options)


@register
def resnext101_32x8d(**options: Any) -> ResNet:
    """ResNeXt-101: 32 groups of width 8 (Xie et al. 2016, arXiv 1611.05431)."""
    return ResNet(Bottleneck, (3, 4, 23, 3), **{"groups": 32, "width_per_group": 8} | options)


@register
def resnext101_64x4d(**options: Any) -> ResNet:
    """ResNeXt-101: 64 groups of width 4 (Xie et al. 2016, arXiv 1611.05431)."""
    return ResNet(Bottleneck, (3, 4, 23, 3), **{"groups": 64, "width_per_group": 4} | options)


@register
def wide_resnet50_2(**options: Any) -> ResNet:
    """ResNet-50 with its 3x3 convolutions twice as wide (Zagoruyko and Komodakis 2016)."""
    return ResNet(Bottleneck, (3, 4, 6, 3), **{"width_per_group": 128} | options)


@register
def wide_resnet101_2(**options: Any) -> ResNet:
    """ResNet-101 with its 3x3 convolutions twice as wide (Zagoruyko and Komodakis 2016)."""
    return ResNet(Bottleneck, (3, 4, 23, 3), **{"width_per_group": 128} | options)
