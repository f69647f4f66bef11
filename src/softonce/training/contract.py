"""The contract of every network: it ends in logits. Verified before the first step, not assumed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from softonce.checker.flow import describe
from softonce.checker.kinds import Kind
from softonce.checker.runtime.output import read_output
from softonce.console import LOG
from softonce.errors import ConfigError
from softonce.models.adapted import find_normaliser, make_noise, preserve_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from softonce.checker.tags import Scores
    from softonce.models import Network

NORMALISED = Kind.P | Kind.BP | Kind.LOGP | Kind.BLOGP

_NUM_IMAGES = 4
"""Rows that must all sum to 1 before an output is taken for probabilities."""
# Rows of float32 probabilities sum to 1 within a few units in the last place; bfloat16 is not used.
_CLOSE = 1e-4
# By how much the head is enlarged to see whether its output is held in a range: a sigmoid of such
# scores is 0 or 1, and logits grow in proportion.
_ENLARGED = 1000.0


def check_contract(network: Network, name: str, shape: tuple[int, int, int]) -> None:
    """Verify that a network ends in logits, in evaluation and in training, and say so in one line.

    The output's kind is read by the checker from the operations that make it, and from its values:
    rows of probabilities or log-probabilities, and scores that stay in [0, 1] however large the
    head is. Nothing in the network is changed, and no random number of the caller's is drawn.

    Args:
        network: on the CPU or on its device.
        name: as `--model` has it.
        shape: (channels, height, width) of its images.

    Raises:
        ConfigError: if it puts out anything but logits; the message has the module that does so.
    """
    with preserve_state(network):
        images = make_noise(network, _NUM_IMAGES, shape)
        for training in (False, True):
            network.train(training)
            kind, scores = _kind_of_output(network, images)
            if kind & NORMALISED and not kind & ~NORMALISED:
                raise _refusal(network, name, kind, scores, images)
        network.eval()
        if not network.ends_in_head and _is_bounded(network, images):
            raise _refusal(network, name, Kind.BP, None, images)
    _say(network, name)


def _say(network: Network, name: str) -> None:
    heads = " and ".join(f"`{head}`" for head in network.heads)
    LOG.info(
        "%s: logits along axis -1, made by %s (%s), checked",
        name,
        heads,
        type(network.head).__name__,
    )
    if stripped := getattr(network, "stripped", ""):
        LOG.info("`%s` was taken off its end: what comes before it is trained as logits", stripped)
    if extra := getattr(network, "num_side_outputs", 0):
        LOG.info("%s returns %d more beside the logits, which are not trained", name, extra)


def _kind_of_output(network: Network, images: Tensor) -> tuple[Kind, Scores | None]:
    """Return what the network puts out, without touching its running statistics."""
    tensors = {name: buffer.clone() for name, buffer in network.named_buffers()}

    def compute() -> Tensor:
        logits: Tensor = torch.func.functional_call(network, tensors, (images,))
        return logits

    try:
        out, scores = read_output(compute)
    except ValueError:  # batch norm of maps that are a single value, in training
        return Kind.OTHER, None
    found = scores.kind if scores is not None else Kind.OTHER
    return (found if found & NORMALISED else _kind_of_values(out) or found), scores


def _kind_of_values(out: Tensor) -> Kind | None:
    """Return the kind that rows of numbers give away, whoever has computed them."""
    rows = out.double()
    if bool((rows >= 0).all()) and _is_close(rows.sum(dim=-1), 1.0):
        return Kind.P
    if bool((rows <= 0).all()) and _is_close(rows.logsumexp(dim=-1), 0.0):
        return Kind.LOGP
    return None


def _is_close(found: Tensor, wanted: float) -> bool:
    return bool(((found - wanted).abs() < _CLOSE).all())


def _is_bounded(network: Network, images: Tensor) -> bool:
    """Return whether scores stay in [0, 1] when the head is enlarged, as those of a sigmoid do."""
    tensors = {
        f"{prefix}{name}": parameter * _ENLARGED
        for prefix, head in _heads(network)
        for name, parameter in head.named_parameters()
    }
    out: Tensor = torch.func.functional_call(network, tensors, (images,))
    return bool(((out >= 0) & (out <= 1)).all()) and bool((out != 0).any())


def _heads(network: Network) -> Iterator[tuple[str, nn.Module]]:
    found = {id(network.backbone.get_submodule(name)) for name in network.heads}
    for name, module in network.named_modules():
        if id(module) in found:
            yield f"{name}.", module


def _refusal(
    network: Network, name: str, kind: Kind, scores: Scores | None, images: Tensor
) -> ConfigError:
    """Name what normalises, and the ways out."""
    last = find_normaliser(network.backbone, images)
    if last is not None:
        module = f"`{last}` ({type(network.backbone.get_submodule(last)).__name__})"
        first = "take it off with --strip-normaliser"
    else:
        line = "" if scores is None or scores.made is None else f", {scores.made}"
        operation = f"{scores.op} in " if scores is not None and scores.op else ""
        module = f"{operation}{type(network.backbone).__name__}{line}"
        first = "remove that call from its code"
    return ConfigError(
        f"expected logits from {name}, found {describe(kind)}, made by {module}: the loss and the "
        f"prediction apply the softmax themselves; {first}, train a function that returns what "
        "comes before it, or mend the network"
    )
