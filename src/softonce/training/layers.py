"""The layers of a network, from the images to the head: which learn, and when."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from softonce.errors import UnknownNameError

BACKBONE = "backbone"


@dataclass(frozen=True)
class Layers:
    """Top-level parts of a network, grouped: what comes before the first stage is one layer.

    Args:
        frozen: what never learns; its batch norms keep their statistics.
        trained: layers that learn; the last is the head.
        head_epochs: epochs at the start in which the last of them learns alone.
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


def _group_layers(model: nn.Module) -> tuple[list[list[str]], list[list[nn.Module]]]:
    names: list[list[str]] = [[]]
    layers: list[list[nn.Module]] = [[]]
    for name, part in model.named_children():
        if not any(True for _ in part.parameters()):
            continue
        if layers[-1] and (isinstance(part, (nn.Sequential, nn.Linear)) or _is_stage(layers[-1])):
            names.append([])
            layers.append([])
        names[-1].append(name)
        layers[-1].append(part)
    return names, layers


def _is_stage(layer: list[nn.Module]) -> bool:
    return isinstance(layer[-1], nn.Sequential)
