"""What every network of softonce is: images -> features -> logits, and nothing after that."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeVar

from torch import nn

from softonce.errors import ArgumentError, describe_value
from softonce.preprocessing import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from softonce.shapes import Features, Images, Logits


@dataclass(frozen=True)
class Architecture:
    """The registered name and the options from which a model was built."""

    name: str
    options: Mapping[str, Any]


class Network(nn.Module):
    """A network whose last layer, `fc`, is a Linear: it gives logits, and no softmax follows.

    Equals `model.fc(model.forward_features(images))` for every model of this package. A network of
    another source is an `AdaptedNetwork`, whose head has the name that its author gave it.

    Attributes:
        fc: the head, features -> logits.
        heads: the names, within `backbone`, of the modules that make the logits.
        architecture: how to build the model again; None if no registered builder built it.
        default_preprocessing: what the network expects if its weights say nothing else.
        classes: the names of the logits, in their order; None if its weights do not say.
    """

    fc: nn.Linear
    heads: tuple[str, ...] = ("fc",)
    architecture: Architecture | None = None
    default_preprocessing: Preprocessing = Preprocessing(size=224, resize=256)
    classes: tuple[str, ...] | None = None

    @property
    def head(self) -> nn.Module:
        """The module that makes the logits; of several, the first."""
        return self.backbone.get_submodule(self.heads[0])

    @property
    def num_logits(self) -> int:
        """How many values a row of logits has."""
        return self.fc.out_features

    @property
    def ends_in_head(self) -> bool:
        """Whether nothing follows a single Linear head, so that a loss can follow it at once."""
        return type(self).forward is Network.forward and type(self.head) is nn.Linear

    @property
    def backbone(self) -> nn.Module:
        """The module whose children are the layers, from the images to the head."""
        return self

    def forward_features(self, images: Images) -> Features:
        """Return the features before the head, one row of `fc.in_features` values an image."""
        raise NotImplementedError

    def forward(self, images: Images) -> Logits:
        """Return the logits: unnormalised, one row of `num_classes` values an image."""
        logits: Logits = self.fc(self.forward_features(images))
        return logits

    def with_head(self, head: nn.Module) -> Self:
        """Return this network, whose layers it shares, with another head.

        Example:
            >>> import torch
            >>> from softonce.models import create_model
            >>> network = create_model("cifar_resnet20").eval()
            >>> features = network.with_head(torch.nn.Identity())
            >>> features(torch.zeros(1, 3, 32, 32)).shape
            torch.Size([1, 64])
        """
        return replace_submodule(self, self.heads[0], head)

    def set_head_(self, head: nn.Module) -> None:
        """Put another head in the place of this network's own."""
        self.backbone.set_submodule(self.heads[0], head)


AnyModule = TypeVar("AnyModule", bound=nn.Module)


def replace_submodule(module: AnyModule, name: str, new: nn.Module) -> AnyModule:
    """Return a copy of a module that shares all its parts but the one of that dotted name."""
    first, _, rest = name.partition(".")
    child = replace_submodule(module.get_submodule(first), rest, new) if rest else new
    other = copy.copy(module)
    other._modules = module._modules | {first: child}  # noqa: SLF001 - a copy of them
    return other


def architecture_of(model: nn.Module) -> tuple[str, dict[str, Any]]:
    """Return the name and the JSON arguments with which `create_model` builds `model` again.

    The result `(arch, arch_args)` satisfies: `create_model(arch, **arch_args)` has the same
    state-dict keys and shapes as `model`, also after its head was replaced by another Linear.

    Args:
        model: a network that came from `create_model` or from a registered builder.

    Raises:
        ArgumentError: if no registered builder built the model, or an option is no JSON value.

    Example:
        >>> from softonce.models import create_model
        >>> architecture_of(create_model("cifar_resnet20", num_classes=3, shortcut="B"))
        ('cifar_resnet20', {'num_classes': 3, 'in_channels': 3, 'shortcut': 'B'})
    """
    architecture = getattr(model, "architecture", None)
    if not isinstance(architecture, Architecture):
        raise ArgumentError(
            f"expected a model from create_model or a registered builder, found a bare "
            f"{type(model).__name__}: put its construction into a function under @register"
        )
    options = dict(architecture.options)
    if isinstance(model, Network) and isinstance(model.head, nn.Linear):
        options["num_classes"] = model.head.out_features
    return architecture.name, _as_json(architecture.name, options)


def check_positive(**sizes: int) -> None:
    """Raise an `ArgumentError` if one of the named sizes is not a whole number of at least 1."""
    for name, size in sizes.items():
        if not isinstance(size, SupportsIndex) or size < 1:
            raise ArgumentError(f"expected {name} of at least 1, found {describe_value(size)}")


def _as_json(name: str, options: dict[str, Any]) -> dict[str, Any]:
    try:
        plain: dict[str, Any] = json.loads(json.dumps(options))
    except TypeError as error:
        raise ArgumentError(
            f"expected options of {name} that JSON can hold, found {options}: register a builder "
            "that passes the others itself, so that its name by itself stands for them"
        ) from error
    return plain
