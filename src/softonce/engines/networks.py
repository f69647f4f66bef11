"""An artefact, or a name with foreign weights, becomes a network that gives logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import fx, nn
from torch.nn.utils import fuse_conv_bn_eval

from softonce.artefact import Metadata, read_artefact
from softonce.console import LOG
from softonce.errors import ArtefactError, WeightsError
from softonce.hardware import pick_device
from softonce.models import create_model, load_weights
from softonce.run_folder import model_file

if TYPE_CHECKING:
    from pathlib import Path

    from softonce.models import Network
    from softonce.preprocessing import Preprocessing


def load(path: str | Path, *, device: str = "auto") -> tuple[nn.Module, Metadata]:
    """Load an artefact: the network in evaluation mode, giving logits, and its metadata.

    Args:
        path: a .safetensors file that `softonce train` wrote, or the folder of that run.
        device: `auto`, `cpu`, `cuda` or `mps`.

    Returns:
        (model, metadata); `softonce.inference.probs(model(images), temperature=
        metadata.temperature)` are its calibrated probabilities.

    Raises:
        ArtefactError: if the file is missing, damaged, or its tensors do not fit.

    Example:
        >>> load("nothing.safetensors")
        Traceback (most recent call last):
        softonce.errors.ArtefactError: expected a .safetensors file at nothing.safetensors, ...
    """
    path = model_file(path)
    tensors, metadata = read_artefact(path)
    try:
        model = create_model(metadata.arch, **metadata.arch_args)
        model.load_state_dict(tensors)
    except (RuntimeError, TypeError) as error:
        raise ArtefactError(
            f"expected the tensors of {metadata.arch} in {path}, found: "
            f"{' '.join(str(error).split())[:300]}"
        ) from error
    if len(metadata.classes) != model.fc.out_features:
        raise ArtefactError(
            f"expected {model.fc.out_features} class names in {path}, one for each logit, found "
            f"{len(metadata.classes)}"
        )
    return as_evaluated(model, pick_device(device)), metadata


def build_network(
    name: str,
    *,
    num_classes: int,
    in_channels: int,
    weights: str | None,
    fresh_head: bool = True,
) -> tuple[Network, Preprocessing]:
    """Build a network, fill it with weights where some are given, and say what it expects.

    What was done to make the weights fit is said in the log; with `fresh_head=False` a head that
    does not fit is an error.

    Raises:
        UnknownNameError: if the name is not registered.
        WeightsError: if the weights cannot be had, cannot be read, or do not fit.
    """
    model = create_model(name, num_classes=num_classes, in_channels=in_channels)
    if weights is None:
        return model, model.default_preprocessing
    report = load_weights(model, weights)
    if report.head_reinitialised and not fresh_head:
        raise WeightsError(
            f"expected weights for {num_classes} classes, one for each folder of the data, "
            f"found a head for others in {report.source}: use the data they were made for"
        )
    for note in report.notes:
        LOG.warning(note)
    return model, report.preprocessing or model.default_preprocessing


def as_evaluated(model: nn.Module, device: torch.device) -> nn.Module:
    """Return the network on its device, in evaluation mode and the layout convolutions like."""
    return to_layout(model, device, torch.channels_last).eval()


def fold_batch_norm(model: nn.Module) -> nn.Module:
    """Return the network with its batch normalisation folded into the convolutions before it.

    A network whose forward cannot be traced stays as it is.
    """
    try:
        traced = fx.symbolic_trace(model)
    except fx.proxy.TraceError:
        return model
    layers = dict(traced.named_modules())
    for node in traced.graph.nodes:
        layer, before = layers.get(str(node.target)), next(iter(node.all_input_nodes), None)
        if not isinstance(layer, nn.BatchNorm2d) or before is None or len(before.users) > 1:
            continue
        if isinstance(convolution := layers.get(str(before.target)), nn.Conv2d):
            traced.set_submodule(str(before.target), fuse_conv_bn_eval(convolution, layer))
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced.eval()


def to_layout(model: nn.Module, device: torch.device, layout: torch.memory_format) -> nn.Module:
    """Move the network, with its convolutions' weights in that memory layout."""
    return model.to(device, memory_format=layout)  # type: ignore[call-overload,no-any-return] # torch's stub
