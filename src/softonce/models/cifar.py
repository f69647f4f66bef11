"""The thin ResNets for 32-pixel images, of depth 6n + 2, of the paper's CIFAR-10 experiments.

Source: He, Zhang, Ren, Sun 2015, "Deep Residual Learning for Image Recognition",
arXiv 1512.03385, section 4.2 and table 6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import torch
from torch import nn
from torch.nn import functional as F

from softonce.errors import ArgumentError
from softonce.models.blocks import BasicBlock, NormLayer, conv1x1, conv3x3, initialise_
from softonce.models.network import Network, check_positive
from softonce.models.registry import register
from softonce.preprocessing import Preprocessing

if TYPE_CHECKING:
    from softonce.shapes import Features, Images

Shortcut: TypeAlias = Literal["A", "B"]


class SubsampleAndPad(nn.Module):
    """Option A of section 3.3: a shortcut without parameters where height, width, channels change.

    Equals `maps[:, :, ::2, ::2]` with `pad` channels of zeros before and after its own.

    Args:
        pad: number of channels added on either side.

    Example:
        >>> SubsampleAndPad(8)(torch.ones(1, 16, 32, 32)).shape
        torch.Size([1, 32, 16, 16])
    """

    def __init__(self, pad: int) -> None:
        super().__init__()
        self.pad = pad

    def forward(self, maps: Images) -> Images:
        """Return the maps at every second row and column, in twice as many channels."""
        # Pooling over one pixel subsamples exactly; in channels_last, where training runs, its
        # gradient takes half the time of a slice's.
        maps = F.avg_pool2d(maps, kernel_size=1, stride=2)
        return F.pad(maps, (0, 0, 0, 0, self.pad, self.pad))

    def extra_repr(self) -> str:
        """Return what stands between the brackets when the module is printed."""
        return f"pad={self.pad}"


class CifarResNet(Network):
    """A residual network with a 3x3 stem, three stages of 16, 32, 64 planes and a Linear head.

    Args:
        num_blocks: n, the number of blocks in each stage; the depth is 6n + 2.
        num_classes: number of logits.
        shortcut: if the number of planes changes, `A` subsamples and pads with zeros, which
            takes no parameters (the paper's choice); `B` projects.
        zero_init_residual: whether every residual branch starts at zero.
        norm_layer: number of channels -> normalisation; None is batch normalisation.
        in_channels: number of channels of the images.

    Raises:
        ArgumentError: if an argument is out of its range.

    Example:
        >>> model = CifarResNet(3).eval()
        >>> images = torch.zeros(2, 3, 32, 32)
        >>> model.forward_features(images).shape, model(images).shape
        (torch.Size([2, 64]), torch.Size([2, 10]))

    Source: He, Zhang, Ren, Sun 2015, arXiv 1512.03385, section 4.2.
    """

    default_preprocessing: Preprocessing = Preprocessing(size=32)

    def __init__(
        self,
        num_blocks: int,
        num_classes: int = 10,
        *,
        shortcut: Shortcut = "A",
        zero_init_residual: bool = False,
        norm_layer: NormLayer | None = None,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        check_positive(num_blocks=num_blocks, num_classes=num_classes, in_channels=in_channels)
        if shortcut not in get_args(Shortcut):
            raise ArgumentError(f"expected shortcut to be A or B, found {shortcut!r}")
        self.shortcut = shortcut
        self._norm_layer = norm_layer or nn.BatchNorm2d
        self.conv1 = conv3x3(in_channels, 16)
        self.bn1 = self._norm_layer(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = self._make_stage(16, 16, num_blocks)
        self.layer2 = self._make_stage(16, 32, num_blocks)
        self.layer3 = self._make_stage(32, 64, num_blocks)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(64, num_classes)
        initialise_(self, zero_init_residual=zero_init_residual)

    def _make_stage(self, inplanes: int, planes: int, num_blocks: int) -> nn.Sequential:
        """Return blocks of which the first halves height and width if the planes double."""
        first = BasicBlock(
            inplanes,
            planes,
            stride=planes // inplanes,
            downsample=self._make_shortcut(inplanes, planes),
            norm_layer=self._norm_layer,
        )
        rest = (
            BasicBlock(planes, planes, norm_layer=self._norm_layer) for _ in range(1, num_blocks)
        )
        return nn.Sequential(first, *rest)

    def _make_shortcut(self, inplanes: int, planes: int) -> nn.Module | None:
        if inplanes == planes:
            return None
        if self.shortcut == "A":
            return SubsampleAndPad((planes - inplanes) // 2)
        return nn.Sequential(conv1x1(inplanes, planes, stride=2), self._norm_layer(planes))

    def forward_features(self, images: Images) -> Features:
        """Return the average-pooled maps of the last stage, (N, 64)."""
        maps = self.relu(self.bn1(self.conv1(images)))
        maps = self.layer3(self.layer2(self.layer1(maps)))
        return torch.flatten(self.avgpool(maps), 1)


@register
def cifar_resnet20(**options: Any) -> CifarResNet:
    """ResNet-20 for CIFAR, 0.27 million parameters (He et al. 2015, table 6)."""
    return CifarResNet(3, **options)


@register
def cifar_resnet32(**options: Any) -> CifarResNet:
    """ResNet-32 for CIFAR, 0.46 million parameters (He et al. 2015, table 6)."""
    return CifarResNet(5, **options)


@register
def cifar_resnet44(**options: Any) -> CifarResNet:
    """ResNet-44 for CIFAR, 0.66 million parameters (He et al. 2015, table 6)."""
    return CifarResNet(7, **options)


@register
def cifar_resnet56(**options: Any) -> CifarResNet:
    """ResNet-56 for CIFAR, 0.85 million parameters (He et al. 2015, table 6)."""
    return CifarResNet(9, **options)


@register
def cifar_resnet110(**options: Any) -> CifarResNet:
    """ResNet-110 for CIFAR, 1.7 million parameters (He et al. 2015, table 6)."""
    return CifarResNet(18, **options)


@register
def cifar_resnet1202(**options: Any) -> CifarResNet:
    """ResNet-1202 for CIFAR, 19.4 million parameters (He et al. 2015, table 6)."""
    return CifarResNet(200, **options)
