"""What a source of networks answers, and what all sources share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from softonce.errors import MissingExtraError, UnknownNameError, describe_error, import_extra
from softonce.models.state_dicts import fit_channels

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from softonce.models.adapted import AdaptedNetwork


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a network is to be.

    Args:
        num_classes: number of logits; None is the source's own.
        in_channels: number of channels of the images.
        size: side of the images, in pixels; None is the network's own.
        weights: the published weights to start from, `DEFAULT` or a name; None starts afresh.
        drop_path: probability of dropping the last residual branch while training; None is the
            network's own.
        options: further arguments of the source's own builder, as JSON holds them.
    """

    num_classes: int | None = None
    in_channels: int = 3
    size: int | None = None
    weights: str | None = None
    drop_path: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a network before it is built; None is unknown.

    Args:
        size: side of its images, in pixels.
        num_params: number of parameters.
        accuracy: published top-1 accuracy on ImageNet-1K, in per cent.
    """

    size: int | None = None
    num_params: int | None = None
    accuracy: float | None = None


class NetworkSource(Protocol):
    """A library, or a user's code, that builds networks.

    Attributes:
        prefix: what stands before the colon.
        packages: what must be installed, by the names under which they are imported.
    """

    prefix: str
    packages: tuple[str, ...]

    def build(self, name: str, asked: Asked) -> AdaptedNetwork:
        """Build the network with its preprocessing and its heads; it may record more options.

        Raises:
            UnknownNameError: if the source has no network of that name.
            MissingExtraError: if the package is not installed.
            WeightsError: if published weights are asked for and cannot be had.
        """

    def names(self) -> list[str]:
        """Return the names of all its networks, sorted; an empty list if nobody can know them."""

    def facts(self, name: str) -> Facts:
        """Return what is known of a network without building it."""

    def why_no_weights(self, name: str) -> str | None:
        """Return why published weights cannot be had, an empty text if there are none, or None."""


def import_package(package: str, extra: str) -> ModuleType:
    """Import the package of a source.

    Raises:
        MissingExtraError: if it is not installed, or cannot be imported beside this torch.
    """
    try:
        module: ModuleType = import_extra(package, extra)
    except RuntimeError as error:  # of operators that a build for another torch lacks
        reason = describe_error(error, 120)
        raise MissingExtraError(
            f"expected a {package} that fits torch {torch.__version__}, found {reason}: install "
            f'the pair that belongs together, with: pip install "softonce[{extra}]"'
        ) from error
    return module


def check_name(kind: str, name: str, known: list[str], spelled: str) -> None:
    """Raise an `UnknownNameError` with the nearest names unless a source has the network."""
    if name not in known:
        raise UnknownNameError.of(kind, name, known, listing=f"softonce models '{spelled}:*'")


def fit_stem_(body: nn.Module, in_channels: int) -> None:
    """Give the first convolution of a network for colours another number of channels.

    Its filters are summed for one channel and repeated for more, as in `load_weights`.
    """
    convolutions = ((n, m) for n, m in body.named_modules() if isinstance(m, nn.Conv2d))
    name, module = next(convolutions, ("", None))
    if module is None or module.in_channels in (in_channels, 1) or module.groups != 1:
        return
    stem = nn.Conv2d(
        in_channels,
        module.out_channels,
        module.kernel_size,  # type: ignore[arg-type] # torch keeps it as a tuple of any length
        module.stride,  # type: ignore[arg-type] # the same
        module.padding,  # type: ignore[arg-type] # the same
        module.dilation,  # type: ignore[arg-type] # the same
        bias=module.bias is not None,
        padding_mode=module.padding_mode,
    )
    stem.weight.data = fit_channels(module.weight.data, in_channels)
    if module.bias is not None:
        stem.bias = module.bias
    body.set_submodule(name, stem)
