"""An artefact, or a name with foreign weights, becomes a network that gives logits."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn
from torch.nn.utils import fuse_conv_bn_eval

from softonce.artefact import Metadata, read_artefact
from softonce.console import LOG
from softonce.errors import (
    ArtefactError,
    ConfigError,
    UnknownNameError,
    WeightsError,
    describe_error,
)
from softonce.hardware import pick_device
from softonce.models import create_model, load_weights
from softonce.models.adapted import AdaptedNetwork
from softonce.models.sources import find_source, is_own_code, package_versions, spelling_of
from softonce.models.sources.own import find_file, find_loaded
from softonce.run_folder import model_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from softonce.models import Network
    from softonce.preprocessing import Preprocessing


def load(
    path: str | Path,
    *,
    device: str = "auto",
    trust: bool = False,
    model: str | Callable[..., nn.Module] | None = None,
) -> tuple[nn.Module, Metadata]:
    """Load an artefact: the network in evaluation mode, giving logits, and its metadata.

    Args:
        path: a .safetensors file that `softonce train` wrote, or the folder of that run.
        device: `auto`, `cpu`, `cuda` or `mps`.
        trust: whether code of its author's, which the artefact names, may be run.
        model: the function that builds the network, or its spelling (`file.py:function`), in the
            place of what the artefact names.

    Returns:
        (model, metadata); `softonce.inference.probs(model(images), temperature=
        metadata.temperature)` are its calibrated probabilities.

    Raises:
        ArtefactError: if the file is missing, damaged, or its tensors do not fit; or if it names
            code that is not trusted.
        MissingExtraError: if the package that its network comes from is not installed.

    Example:
        >>> load("nothing.safetensors")
        Traceback (most recent call last):
        softonce.errors.ArtefactError: expected a .safetensors file at nothing.safetensors, ...
    """
    path = model_file(path)
    tensors, metadata = read_artefact(path)
    arch = _arch_to_build(path, metadata.arch, trust=trust, model=model)
    try:
        network = create_model(arch, **metadata.arch_args)
        network.load_state_dict(tensors)
    except UnknownNameError as error:
        raise UnknownNameError(
            f"{error}{_changed_packages(metadata)}; if it is your own network, name the function "
            "that builds it: --model FILE.py:FUNCTION"
        ) from error
    except (RuntimeError, TypeError) as error:
        raise ArtefactError(
            f"expected the tensors of {arch} in {path}, found: "
            f"{describe_error(error, 300)}{_changed_packages(metadata)}"
        ) from error
    if len(metadata.classes) != network.num_logits:
        raise ArtefactError(
            f"expected {network.num_logits} class names in {path}, one for each logit, found "
            f"{len(metadata.classes)}"
        )
    channels = metadata.arch_args.get("in_channels", metadata.preprocessing.in_channels)
    if channels != metadata.preprocessing.in_channels:
        raise ArtefactError(
            f"expected a preprocessing of {channels} channels, as the network takes, in {path}, "
            f"found one of {metadata.preprocessing.in_channels}: the record is damaged"
        )
    return as_evaluated(network, pick_device(device)), metadata


def _arch_to_build(
    path: Path, arch: str, *, trust: bool, model: str | Callable[..., nn.Module] | None
) -> str:
    """Return what to build, which is code of somebody's only if the caller wants it."""
    if model is not None:
        return model if isinstance(model, str) else spelling_of(model)
    if not is_own_code(arch):
        return arch
    if (loaded := find_loaded(arch)) is not None:
        return loaded
    if not trust:
        raise ArtefactError(
            f"expected --trust or --model for {path}, whose network is built by code of its "
            f"author's, found neither: --trust runs {arch}, which may do anything on this machine; "
            "--model FILE.py:FUNCTION runs your own copy"
        )
    return find_file(arch, path)


def _changed_packages(metadata: Metadata) -> str:
    """Return which packages are not what they were when the artefact was written."""
    found = package_versions(metadata.packages)
    changed = [
        f"{name} {found.get(name, 'missing')} in place of {version}"
        for name, version in metadata.packages.items()
        if found.get(name) != version
    ]
    return f" ({', '.join(changed)})" if changed else ""


def build_network(
    name: str,
    *,
    num_classes: int | None,
    in_channels: int,
    weights: str | None,
    size: int | None = None,
    strip_normaliser: bool = False,
    stochastic_depth: float | None = None,
    fresh_head: bool = True,
) -> tuple[Network, Preprocessing]:
    """Build a network, fill it with weights if some are given, and say what it expects.

    What was done to make the weights fit is said in the log; with `fresh_head=False` a head that
    does not fit is an error.

    Raises:
        UnknownNameError: if the name is not registered.
        WeightsError: if the weights cannot be had, cannot be read, or do not fit.
    """
    options: dict[str, Any] = {}
    if find_source(name) is not None:
        options = {"size": size, "strip_normaliser": strip_normaliser}
        options["drop_path"] = stochastic_depth or None
    elif strip_normaliser:
        raise ConfigError(
            f"expected --model FILE.py:FUNCTION or a network of another source with "
            f"--strip-normaliser, found {name}: leave the option out"
        )
    published = weights if options and weights and not Path(weights).exists() else None
    model = create_model(
        name, num_classes=num_classes, in_channels=in_channels, weights=published, **options
    )
    if weights is None or published is not None:
        return model, model.default_preprocessing
    report = load_weights(model, weights)
    if report.head_reinitialised and not fresh_head:
        raise WeightsError(
            f"expected weights for {num_classes} classes, one for each folder of the data, "
            f"found a head for others in {report.source}: use the data they were made for"
        )
    for note in report.notes:
        LOG.warning(note)
    model.classes = report.classes
    return model, report.preprocessing or model.default_preprocessing


def as_evaluated(model: nn.Module, device: torch.device) -> nn.Module:
    """Return the network on its device, in evaluation mode and the layout convolutions like."""
    return to_layout(model, device, torch.channels_last).eval()


def fold_batch_norm(model: nn.Module) -> nn.Module:
    """Return the network with its batch normalisation folded into the convolutions before it.

    A network whose forward cannot be traced, or comes out otherwise when it is, stays as it is.
    """
    if isinstance(model, AdaptedNetwork):
        return _fold_adapted(model)
    try:
        traced = fx.symbolic_trace(model)
    except fx.proxy.TraceError:
        return model
    return _fold_traced(traced)


def _fold_adapted(model: AdaptedNetwork) -> nn.Module:
    """Fold a network of another author, whose code may do what a trace does not see."""
    side, parameter = model.default_preprocessing.size, next(model.parameters())
    noise = torch.randn(
        (2, model.in_channels, side, side), generator=torch.Generator().manual_seed(0)
    ).to(parameter.device, parameter.dtype)
    try:
        folded = _fold_traced(fx.symbolic_trace(copy.deepcopy(model)))
        with torch.inference_mode():
            is_same = torch.allclose(folded(noise), model(noise), rtol=1e-3, atol=1e-4)
    except Exception:  # noqa: BLE001 - code that is traced may raise anything
        return model
    return folded if is_same else model


def _fold_traced(traced: fx.GraphModule) -> nn.Module:
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
    """Move the network, with its convolutions' weights in that memory layout.

    `Module.to` would want the layout of tensors of five axes, too, such as masks of windows.
    """
    model = model.to(device)
    for tensor in itertools.chain(model.parameters(), model.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.to(memory_format=layout)
    return model
