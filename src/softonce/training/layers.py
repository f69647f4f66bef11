"""The layers of a network, from the images to the head: which learn, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from softonce.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterator

BACKBONE = "backbone"

MAIN_SHARE = 0.9
"""Share of the parameters above which a part of a network is the network, and not one layer."""

_CONTAINERS = (nn.Sequential, nn.ModuleList)


@dataclass(frozen=True)
class Layers:
    """Top-level parts of a network, grouped: what comes before the first stage is one layer.

    Args:
        frozen: what never learns; its batch norms keep their statistics.
        trained: layers that learn; the last is the head.
        head_epochs: epochs at the start in which the last of them learns by itself.
    """

    frozen: list[list[nn.Module]]
    trained: list[list[nn.Module]]
    head_epochs: int = 0

    def begin_epoch(self, model: nn.Module, epoch: int) -> None:
        """Put the network into training mode, but for what does not learn in this epoch."""
        model.train()
        still = self.frozen + (self.trained[:-1] if epoch < self.head_epochs else [])
        for learns, layers in ((True, self.trained), (False, still)):
            for part in (part for layer in layers for part in layer):
                part.requires_grad_(learns)
                if not learns:
                    part.eval()


def layers_of(model: nn.Module, *, freeze: str = "none", head_epochs: int = 0) -> Layers:
    """Group a network's parts, and freeze it up to the one that `--freeze` names.

    Raises:
        UnknownNameError: if it has no such part.

    Example:
        >>> from softonce import create_model
        >>> found = layers_of(create_model("cifar_resnet20"), freeze="layer1")
        >>> len(found.frozen), len(found.trained)
        (2, 3)
    """
    names, layers = _group_layers(model)
    num_frozen = 0
    if freeze == BACKBONE:
        num_frozen = len(layers) - 1
    elif freeze != "none":
        options = [name for group in names[:-1] for name in group]
        if freeze not in options:
            raise UnknownNameError.of("layer in --freeze", freeze, ["none", BACKBONE, *options])
        num_frozen = 1 + next(i for i, group in enumerate(names) if freeze in group)
    for part in (part for layer in layers[:num_frozen] for part in layer):
        part.requires_grad_(False)
    return Layers(layers[:num_frozen], layers[num_frozen:], head_epochs)


class LooseParameters(nn.Module):
    """Parameters that hang on a network itself and not on a layer, such as position embeddings."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        super().__init__()
        for number, parameter in enumerate(parameters):
            self.register_parameter(f"p{number}", parameter)


def _group_layers(model: nn.Module) -> tuple[list[list[str]], list[list[nn.Module]]]:
    """Return the names and the parts of each layer; loose parameters join the first."""
    backbone: nn.Module = getattr(model, "backbone", model)
    heads: tuple[str, ...] = getattr(model, "heads", ("fc",))
    names: list[list[str]] = [[]]
    layers: list[list[nn.Module]] = [[]]
    loose = list(backbone.parameters(recurse=False))
    for name, part in _parts(backbone, heads, loose):
        is_new = _is_stage(part) or isinstance(part, nn.Linear) or _is_stage(*layers[-1][-1:])
        if layers[-1] and is_new:
            names.append([])
            layers.append([])
        names[-1].append(name)
        layers[-1].append(part)
    if loose:
        layers[0].insert(0, LooseParameters(loose))
    head_parts = [backbone.get_submodule(head) for head in heads]
    if not layers[0]:  # a head only
        return [list(heads)], [head_parts]
    return [*names, list(heads)], [*layers, head_parts]


def _parts(
    module: nn.Module, heads: tuple[str, ...], loose: list[nn.Parameter], prefix: str = ""
) -> Iterator[tuple[str, nn.Module]]:
    """Yield the parts before the head in order; what only holds others is taken apart.

    That is what the head lies in, what holds nearly all parameters, and the only `Sequential` or
    `ModuleList` of its level: `blocks` of a vision transformer, `stages` of a ConvNeXt.
    """
    children = [
        (f"{prefix}{name}", child)
        for name, child in module.named_children()
        if f"{prefix}{name}" not in heads and any(True for _ in child.parameters())
    ]
    around = {name for name, _ in children if any(head.startswith(f"{name}.") for head in heads)}
    sizes = {n: sum(p.numel() for p in child.parameters()) for n, child in children}
    within = {name: size for name, size in sizes.items() if name not in around}
    containers = [
        name for name, child in children if name in within and isinstance(child, _CONTAINERS)
    ]
    for name, child in children:
        is_main = within.get(name, 0) > MAIN_SHARE * sum(within.values()) and _is_stage(child)
        if name in around or containers == [name] or (is_main and len(within) > 1):
            loose.extend(child.parameters(recurse=False))
            yield from _parts(child, heads, loose, f"{name}.")
        else:
            yield name, child


def _is_stage(*parts: nn.Module) -> bool:
    """Return whether a part is more than a convolution and its normalisation."""
    return any(sum(_has_own(m) for m in part.modules()) > 1 for part in parts)


def _has_own(module: nn.Module) -> bool:
    return any(True for _ in module.parameters(recurse=False))
