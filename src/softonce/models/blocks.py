"""Residual blocks: a few convolutions, and a shortcut around them that is added to what they give.

Source: He, Zhang, Ren, Sun 2015, "Deep Residual Learning for Image Recognition",
arXiv 1512.03385, section 3.2 and figure 5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from softonce.errors import ArgumentError

if TYPE_CHECKING:
    from softonce.shapes import Images

NormLayer: TypeAlias = Callable[[int], nn.Module]


def conv3x3(
    in_planes: int, out_planes: int, stride: int = 1, groups: int = 1, dilation: int = 1
) -> nn.Conv2d:
    """Return a 3x3 convolution without bias that keeps height and width at stride 1."""
    return nn.Conv2d(
        in_planes,
        out_planes,
        kernel_size=3,
        stride=stride,
        padding=dilation,
        groups=groups,
        bias=False,
        dilation=dilation,
    )


def conv1x1(in_planes: int, out_planes: int, stride: int = 1) -> nn.Conv2d:
    """Return a 1x1 convolution without bias."""
    return nn.Conv2d(in_planes, out_planes, kernel_size=1, stride=stride, bias=False)


class ResidualBlock(nn.Module):
    """Equals `relu(residual(maps) + shortcut(maps))`; `downsample` is the shortcut, if any.

    The constructor's arguments are those of torchvision's blocks, in the same order.

    Args:
        inplanes: number of channels that come in.
        planes: number of channels inside; `planes * expansion` go out.
        stride: by which the 3x3 convolution shrinks height and width.
        downsample: brings the incoming maps to the shape of the outgoing ones.
        groups: of the 3x3 convolution.
        base_width: number of channels in a group where `planes` is 64.
        dilation: of the 3x3 convolution.
        norm_layer: number of channels -> normalisation; None is batch normalisation.

    Attributes:
        drop_path: probability that an image's residual is left out while training.
        recompute: whether the backward pass computes the block again instead of keeping its maps.
    """

    expansion: ClassVar[int]
    drop_path: float = 0.0
    recompute: bool = False
    relu: nn.Module
    downsample: nn.Module | None

    @property
    def last_norm(self) -> nn.Module:
        """The normalisation that ends the residual branch."""
        raise NotImplementedError

    def residual(self, maps: Images) -> Images:
        """Return what is added to the shortcut."""
        raise NotImplementedError

    def forward(self, maps: Images) -> Images:
        """Return maps of shape (N, planes * expansion, H / stride, W / stride)."""
        if self.recompute and self.training:
            again: Images = checkpoint(
                self._run, maps, use_reentrant=False, context_fn=self._contexts
            )
            return again
        return self._run(maps)

    def _run(self, maps: Images) -> Images:
        out = self.residual(maps)
        if self.drop_path and self.training:
            out = drop_path(out, self.drop_path)
        out += maps if self.downsample is None else self.downsample(maps)
        activated: Images = self.relu(out)
        return activated

    def _contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _without_statistics(self)


def drop_path(residual: Images, probability: float) -> Images:
    """Leave each image's residual out with this probability; scale the others up to match.

    Source: Huang et al. 2016, "Deep Networks with Stochastic Depth", arXiv 1603.09382, section 3;
        scaled while training, so that nothing changes in evaluation.
    """
    keep = 1 - probability
    kept = residual.new_empty(len(residual), 1, 1, 1).bernoulli_(keep)
    return residual * kept.div_(keep)


def set_stochastic_depth_(model: nn.Module, rate: float) -> int:
    """Let the residual blocks drop out with a probability that grows evenly to `rate` at the last.

    Returns:
        The number of residual blocks.

    Source: Huang et al. 2016, arXiv 1603.09382, equation 4.
    """
    blocks = [module for module in model.modules() if isinstance(module, ResidualBlock)]
    for number, block in enumerate(blocks, start=1):
        block.drop_path = rate * number / len(blocks)
    return len(blocks)


def set_recompute_(model: nn.Module) -> int:
    """Let the residual blocks trade time for memory: the backward pass computes them again.

    Values and gradients stay the same, and so do running statistics, which are updated once.

    Returns:
        The number of residual blocks.

    Source: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", arXiv 1604.06174.
    """
    blocks = [module for module in model.modules() if isinstance(module, ResidualBlock)]
    for block in blocks:
        block.recompute = True
    return len(blocks)


@contextmanager
def _without_statistics(block: nn.Module) -> Iterator[None]:
    """Keep the running statistics as they are: the first pass has updated them."""
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, num_batches) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, num_batches


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions: the block of ResNet-18 and -34 (figure 5, left)."""

    expansion = 1

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: NormLayer | None = None,
    ) -> None:
        super().__init__()
        _check_basic(groups, base_width, dilation)
        norm_layer = norm_layer or nn.BatchNorm2d
        self.conv1 = conv3x3(inplanes, planes, stride)
        self.bn1 = norm_layer(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = norm_layer(planes)
        self.downsample = downsample
        self.stride = stride

    @property
    def last_norm(self) -> nn.Module:
        """The normalisation that ends the residual branch."""
        return self.bn2

    def residual(self, maps: Images) -> Images:
        """Return what is added to the shortcut."""
        maps = self.relu(self.bn1(self.conv1(maps)))
        residual: Images = self.bn2(self.conv2(maps))
        return residual


class Bottleneck(ResidualBlock):
    """1x1, 3x3 and 1x1 convolutions: the block of ResNet-50 and deeper (figure 5, right).

    The stride is on the 3x3 convolution, where the paper has it on the first 1x1: the variant
    known as v1.5, which is the one of all published weights. With `groups` and `base_width` it is
    the block of ResNeXt (Xie et al. 2016, arXiv 1611.05431) and, with a `base_width` of 128,
    that of Wide ResNet (Zagoruyko and Komodakis 2016, arXiv 1605.07146).
    """

    expansion = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: NormLayer | None = None,
    ) -> None:
        super().__init__()
        norm_layer = norm_layer or nn.BatchNorm2d
        width = int(planes * base_width / 64) * groups
        self.conv1 = conv1x1(inplanes, width)
        self.bn1 = norm_layer(width)
        self.conv2 = conv3x3(width, width, stride, groups, dilation)
        self.bn2 = norm_layer(width)
        self.conv3 = conv1x1(width, planes * self.expansion)
        self.bn3 = norm_layer(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.stride = stride

    @property
    def last_norm(self) -> nn.Module:
        """The normalisation that ends the residual branch."""
        return self.bn3

    def residual(self, maps: Images) -> Images:
        """Return what is added to the shortcut."""
        maps = self.relu(self.bn1(self.conv1(maps)))
        maps = self.relu(self.bn2(self.conv2(maps)))
        residual: Images = self.bn3(self.conv3(maps))
        return residual


def initialise_(model: nn.Module, *, zero_init_residual: bool = False) -> None:
    """Draw the convolutions from He's normal distribution; normalisations start as the identity.

    Args:
        model: its convolutions and normalisations are overwritten, its Linear layers are not.
        zero_init_residual: whether every residual branch starts at zero, its block as an identity.

    Source: He, Zhang, Ren, Sun 2015, "Delving Deep into Rectifiers", arXiv 1502.01852, section 2.2;
        for `zero_init_residual`, Goyal et al. 2017, arXiv 1706.02677, section 5.1.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)) and module.affine:
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    if zero_init_residual:
        for module in model.modules():
            _zero_last_norm_(module)


def _zero_last_norm_(module: nn.Module) -> None:
    if isinstance(module, ResidualBlock):
        weight = getattr(module.last_norm, "weight", None)
        if weight is not None:
            nn.init.zeros_(weight)


def _check_basic(groups: int, base_width: int, dilation: int) -> None:
    if groups != 1 or base_width != 64:
        raise ArgumentError(
            "BasicBlock only supports groups=1 and base_width=64, found "
            f"groups={groups} and base_width={base_width}: use Bottleneck"
        )
    if dilation > 1:
        raise NotImplementedError(
            f"Dilation > 1 not supported in BasicBlock, found {dilation}: use Bottleneck"
        )
