"""Where a network looked: class activation maps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from softonce.engines.engine import Flipped
from softonce.engines.torch_engine import TorchEngine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from softonce.engines import Engine

# How far sums in another order may lie from the logits, as a part of the largest: TensorFloat-32
# and bfloat16 keep 10 and 7 bits. A layer after the pooling changes more than that.
_ROUNDING, _HALF_ROUNDING = 2e-3, 2e-2

_EXPORTED = "an exported file gives logits only, not the feature maps before them"
_OTHER_SHAPE = "the network does not end in global average pooling and a Linear head, `fc`"


@dataclass(frozen=True)
class ActivationMaps:
    """Class activation maps of a few pictures, or the reason why there are none.

    Args:
        values: (N, K, h, w) float32: of each picture, the maps of K classes, in units of a logit.
        reason: why `values` is None.
    """

    values: NDArray[np.float32] | None
    reason: str = ""


def activation_maps(
    engine: Engine, pixels: NDArray[np.uint8], classes: NDArray[np.int64]
) -> ActivationMaps:
    """Compute where the evidence for a class lies in a picture.

    A network that ends in global average pooling and a Linear head has the logit of class c equal
    to the mean over all places of `fc.weight[c] @ features[:, place]`, plus the bias: these terms
    are the map. Whether a network ends so is not looked up but computed, from its own logits.

    Args:
        engine: the network.
        pixels: (N, channels, size, size), as its preprocessing makes them.
        classes: (N, K) class indices.

    Returns:
        The maps, of the size of the last feature maps; none if the network has another form, or
        its last feature maps have one place only.

    Source:
        Zhou et al. 2015, Learning Deep Features for Discriminative Localization (arXiv
        1512.04150), section 2.
    """
    if isinstance(engine, Flipped):
        return _average_with_mirrored(engine.engine, pixels, classes)
    if not isinstance(engine, TorchEngine):
        return ActivationMaps(None, _EXPORTED)
    head = getattr(engine.model, "fc", None)
    if not isinstance(head, nn.Linear):
        return ActivationMaps(None, _OTHER_SHAPE)
    logits, features = _run(engine, pixels)
    if features is None or features.shape[1] != head.in_features:
        return ActivationMaps(None, _OTHER_SHAPE)
    bias = 0 if head.bias is None else head.bias.detach().float()
    weight = head.weight.detach().float()
    from_maps = features.mean(dim=(2, 3)) @ weight.T + bias
    rounding = _ROUNDING if head.weight.dtype == torch.float32 else _HALF_ROUNDING
    if (from_maps.cpu() - logits).abs().max() > rounding * logits.abs().max():
        return ActivationMaps(None, _OTHER_SHAPE)
    height, width = features.shape[2:]
    if height * width == 1:
        return ActivationMaps(None, "the last feature map of a picture this small has one place")
    chosen = weight[torch.from_numpy(classes).to(weight.device)]
    return ActivationMaps(torch.einsum("nkd,ndhw->nkhw", chosen, features).cpu().numpy())


def _run(
    engine: TorchEngine, pixels: NDArray[np.uint8]
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the logits, and what the last global average pooling got."""
    seen: list[torch.Tensor] = []
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].float()))
        for module in engine.model.modules()
        if isinstance(module, nn.AdaptiveAvgPool2d)
    ]
    try:
        # Without `forward`, the compiled form, in which nothing is hooked.
        logits = torch.from_numpy(replace(engine, forward=None).logits(pixels))
    finally:
        for hook in hooks:
            hook.remove()
    return logits, seen[-1] if seen else None


def _average_with_mirrored(
    engine: Engine, pixels: NDArray[np.uint8], classes: NDArray[np.int64]
) -> ActivationMaps:
    """Return the maps of logits that are averaged over a picture and its mirror image."""
    plain = activation_maps(engine, pixels, classes)
    mirrored = activation_maps(engine, np.ascontiguousarray(pixels[..., ::-1]), classes)
    if plain.values is None or mirrored.values is None:
        return plain
    return ActivationMaps((plain.values + mirrored.values[..., ::-1]) / np.float32(2))
