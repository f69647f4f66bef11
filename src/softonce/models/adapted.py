"""A network of another library, or of the caller's own, behind the contract of `Network`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from softonce.errors import ArgumentError, describe_error
from softonce.models.network import Network, replace_submodule

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from softonce.preprocessing import Preprocessing
    from softonce.shapes import Features, Images, Logits

# Two: a row that is mixed with another one shows.
_NUM_PROBES = 2
_BODY = "body."


@dataclass(frozen=True)
class Probe:
    """What one batch through a network shows of it.

    Args:
        logits: what the network gives, (N, C).
        heads: the names of the modules that make it.
        ends_in_head: whether the output of a single Linear head is the network's.
        num_others: how many tensors the network returns beside the logits.
    """

    logits: Tensor
    heads: tuple[str, ...]
    ends_in_head: bool
    num_others: int


class AdaptedNetwork(Network):
    """A network that somebody else wrote: its output is unpacked, its head and layers are found.

    The names in its state dict are those of the network inside, so that an artefact's tensors can
    be loaded by the library that the network comes from.

    Args:
        body: images -> logits, or a tuple, a dict or a dataclass that holds them.
        num_classes: how many logits it must give for an image; None is as many as it gives.
        in_channels: how many channels its images have.
        preprocessing: what it expects.
        heads: the names of the modules that make the logits; empty if they are to be found.
        options: further arguments with which its source builds it again.

    Attributes:
        num_side_outputs: how many tensors it returns beside the logits.
        stripped: the name of the softmax or sigmoid that was taken off its end, if one was.

    Raises:
        ArgumentError: if the network does not give `num_classes` values for each image.

    Example:
        >>> body = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
        >>> from softonce.preprocessing import Preprocessing
        >>> network = AdaptedNetwork(body, num_classes=5, preprocessing=Preprocessing(size=2))
        >>> network.heads, network.forward_features(torch.zeros(1, 3, 2, 2)).shape
        (('1',), torch.Size([1, 12]))
    """

    stripped: str = ""

    def __init__(
        self,
        body: nn.Module,
        *,
        num_classes: int | None = None,
        in_channels: int = 3,
        preprocessing: Preprocessing,
        heads: tuple[str, ...] = (),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.body = body
        self.default_preprocessing = preprocessing
        self.options = dict(options or {})
        side = preprocessing.size
        found = probe(body, num_classes, (in_channels, side, side))
        self.num_classes, self.in_channels = found.logits.shape[1], in_channels
        self._num_outputs: int | None = self.num_classes
        self.heads = heads or found.heads
        self._ends_in_head = found.ends_in_head and len(self.heads) == 1
        self.num_side_outputs = found.num_others
        self.register_state_dict_post_hook(_hide_body)  # type: ignore[no-untyped-call] # torch's
        self.register_load_state_dict_pre_hook(_show_body)  # type: ignore[no-untyped-call] # torch's

    @property
    def num_logits(self) -> int:
        """How many values a row of logits has."""
        return self.num_classes

    @property
    def ends_in_head(self) -> bool:
        """Whether nothing follows a single Linear head, so that a loss can follow it at once."""
        return self._ends_in_head and type(self.head) is nn.Linear

    @property
    def backbone(self) -> nn.Module:
        """The network inside."""
        return self.body

    def set_recompute_(self) -> bool:
        """Trade time for memory in the backward pass by the library's own means, if it has some."""
        for name in ("set_grad_checkpointing", "gradient_checkpointing_enable"):
            if (enable := getattr(self.body, name, None)) is not None:
                enable()
                return True
        return False

    def forward(self, images: Images) -> Logits:
        """Return the logits: unnormalised, one row of `num_classes` values an image."""
        return logits_in(self.body(images), self._num_outputs)

    def with_head(self, head: nn.Module) -> Self:
        """Return this network, whose layers it shares, with another head."""
        other = replace_submodule(self, f"{_BODY}{self.heads[0]}", head)
        if isinstance(head, nn.Identity):  # it gives features, however many
            other._num_outputs = None  # noqa: SLF001 - a copy of ours
        return other

    def forward_features(self, images: Images) -> Features:
        """Return what goes into the head, one row an image; of maps the mean over their places."""
        seen: list[Tensor] = []
        if self._ends_in_head:
            seen.append(logits_in(self.with_head(nn.Identity()).body(images), None))
        else:
            hook = self.head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
            try:
                self.body(images)
            finally:
                hook.remove()
        features = seen[-1]
        return features.flatten(2).mean(-1) if features.ndim > 2 else features


def probe(body: nn.Module, num_classes: int | None, shape: tuple[int, ...]) -> Probe:
    """Run a batch of noise through a network, and find the modules that make its logits.

    No random number of the caller's is drawn, and nothing in the network changes.

    Args:
        body: the network.
        num_classes: how many values a row must have.
        shape: of one image.

    Raises:
        ArgumentError: if the network cannot take such images, or gives other shapes.
    """
    outputs: list[tuple[str, nn.Module, Tensor]] = []
    hooks = [
        module.register_forward_hook(
            lambda module, _, out, name=name: (
                outputs.append((name, module, out)) if isinstance(out, Tensor) else None
            )
        )
        for name, module in body.named_modules()
        if name and any(True for _ in module.parameters(recurse=False))
    ]
    try:
        with preserve_state(body):
            out = body.eval()(make_noise(body, _NUM_PROBES, shape))
    except (RuntimeError, ValueError, TypeError, AssertionError, IndexError) as error:
        reason = describe_error(error)
        raise ArgumentError(
            f"expected a network that takes images of shape {shape}, found {reason} in "
            f"{type(body).__name__}: give the size and the channels that it was made for"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    logits = logits_in(out, num_classes)
    heads = [name for name, _, made in outputs if _is_same(made, logits)]
    if heads and isinstance(body.get_submodule(heads[-1]), nn.Linear):
        return Probe(logits, (heads[-1],), True, len(_tensors(out)) - 1)
    last = heads[-1:] or [name for name, _, _ in outputs[-1:]]
    return Probe(logits, tuple(last), False, len(_tensors(out)) - 1)


@contextmanager
def preserve_state(body: nn.Module) -> Iterator[None]:
    """Run a network without gradients; then its modes and the CPU's random state are as before."""
    was_training = [(module, module.training) for module in body.modules()]
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            yield
    finally:
        for module, mode in was_training:
            module.training = mode


def make_noise(body: nn.Module, num: int, shape: tuple[int, ...]) -> Tensor:
    """Return the same noise each time, (num, *shape), as the network's parameters lie and are."""
    parameter = next(body.parameters(), torch.empty(0))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((num, *shape), generator=generator, device="cpu")
    return noise.to(parameter.device, parameter.dtype)


NORMALISERS = (nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.Sigmoid, nn.LogSigmoid)


def find_normaliser(body: nn.Module, images: Tensor) -> str | None:
    """Return the name of the softmax or sigmoid whose output is the network's; None without one.

    Args:
        body: the network, in the mode that it is in.
        images: a batch to run through it.
    """
    outputs: list[tuple[str, Tensor]] = []
    hooks = [
        module.register_forward_hook(lambda _, __, out, name=name: outputs.append((name, out)))
        for name, module in body.named_modules()
        if name and isinstance(module, NORMALISERS)
    ]
    try:
        with torch.no_grad():
            out = logits_in(body(images), None)
    finally:
        for hook in hooks:
            hook.remove()
    return next((name for name, made in reversed(outputs) if _is_same(made, out)), None)


def strip_normaliser_(body: nn.Module, shape: tuple[int, ...]) -> str:
    """Take the softmax or sigmoid off with which a network ends, and return its name.

    Args:
        body: the network, which then gives logits.
        shape: of one image.

    Raises:
        ArgumentError: if it does not end in such a module.

    Example:
        >>> body = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Softmax(dim=1))
        >>> strip_normaliser_(body, (3, 2, 2)), body[2]
        ('2', Identity())
    """
    with preserve_state(body):
        name = find_normaliser(body.eval(), make_noise(body, _NUM_PROBES, shape))
    if name is None:
        raise ArgumentError(
            f"expected a network whose last module is a softmax or a sigmoid with "
            f"--strip-normaliser, found none in {type(body).__name__}: leave the option out, or "
            "remove the call from its code"
        )
    body.set_submodule(name, nn.Identity())
    return name


def logits_in(out: Any, num_classes: int | None) -> Tensor:
    """Return the logits in what a network gave: itself, its first row-shaped tensor, or `logits`.

    Raises:
        ArgumentError: if there is no tensor (N, num_classes) at that place.

    Example:
        >>> logits_in({"logits": torch.zeros(2, 3), "loss": None}, 3).shape
        torch.Size([2, 3])
    """
    if isinstance(out, fx.Proxy):  # a trace, which has no shapes
        return out  # type: ignore[return-value] # it stands for a tensor
    found = _tensors(out)
    if found and found[0].ndim == 2 and num_classes in (None, found[0].shape[1]):
        return found[0]
    shown = ", ".join(str(tuple(each.shape)) for each in found[:3]) or f"a {type(out).__name__}"
    raise ArgumentError(
        f"expected logits of shape (N, {num_classes or 'classes'}) from the network, found "
        f"{shown}: pool over the places of a picture, and end in a Linear with one output for each "
        "class"
    )


def _tensors(out: Any) -> list[Tensor]:
    """Return the tensors that a network gave, the one that is called `logits` first."""
    if isinstance(out, Tensor):
        return [out]
    named = getattr(out, "logits", None)
    if isinstance(out, Mapping):
        named = out.get("logits", out.get("out", named))
        out = tuple(out.values())
    if not isinstance(out, tuple | list):
        out = (named,)
    first = [named] if isinstance(named, Tensor) else []
    rest = [each for each in out if isinstance(each, Tensor) and each is not named]
    return first + rest


def _is_same(made: Tensor, logits: Tensor) -> bool:
    """Return whether a module's output is the network's; never on `meta`, which has no values."""
    return not logits.is_meta and made.shape == logits.shape and torch.equal(made, logits)


def _hide_body(_: nn.Module, state: dict[str, Any], prefix: str, __: Any) -> None:
    """Take the name of the network inside out of every key."""
    start = prefix + _BODY
    for key in [key for key in state if key.startswith(start)]:
        state[prefix + key.removeprefix(start)] = state.pop(key)


def _show_body(_: nn.Module, state: dict[str, Any], prefix: str, *__: Any) -> None:
    """Put the name of the network inside back into every key."""
    for key in [key for key in state if key.startswith(prefix)]:
        state[prefix + _BODY + key.removeprefix(prefix)] = state.pop(key)
