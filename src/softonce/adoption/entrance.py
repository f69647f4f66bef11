"""How pictures go into a foreign graph: what its input's shape and its first nodes say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from softonce.adoption.foreign import Entrance
from softonce.errors import ArtefactError, ConfigError
from softonce.preprocessing import IMAGENET_MEAN, num_channels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from softonce.adoption.foreign import ChannelOrder, Foreign, Layout
    from softonce.checker.graph.nodes import Graph, Node
    from softonce.config import AdoptConfig
    from softonce.preprocessing import Mode

_CHANNELS = (1, 3, 4)
"""Numbers of channels that tell their axis from the others: grey, colours, colours and alpha."""

_NORMALISED = 12.0
"""What networks compute on lies within this: ImageNet's statistics make at most 2.7 of a pixel, and
those of the darkest sets three times as much."""

_ELEMENTWISE = frozenset({"identity", "to", "sub", "add", "mul", "div"})
_MOVES = frozenset({"permute", "interpolate", "view", "reshape", "unsqueeze", "squeeze"})


class Scaling(NamedTuple):
    """What the first nodes of a graph make of a number: `factor * x + offset`, for each channel.

    Attributes:
        factor: one, or one a channel.
        offset: the same.
        nodes: that do it.
    """

    factor: NDArray[np.float64]
    offset: NDArray[np.float64]
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """What a graph says of its pictures.

    Args:
        entrance: how they go in.
        size: side in pixels; None if it is free.
        mode: how pixels are read.
        scaling: what the graph does to them first.
        takes: `0..255` or `0..1` if the graph makes that certain, else None.
        order: of the channels if the graph's own means tell it.
    """

    entrance: Entrance
    size: int | None
    mode: Mode
    scaling: Scaling | None
    takes: str | None
    order: ChannelOrder | None


def find_entrance(foreign: Foreign, config: AdoptConfig) -> Found:
    """Read how pictures go in; options say what the graph leaves open.

    Raises:
        ArtefactError: if the input takes no pictures, or none of equal sides.
        ConfigError: if an option is needed, or says otherwise than the graph.
    """
    graph = foreign.graph
    if len(graph.inputs) != 1:
        names = ", ".join(map(repr, graph.inputs)) or "none"
        raise ArtefactError(
            f"expected one input, for pictures, in {foreign.path}, found {names}: export the "
            "network with its pictures as the only input"
        )
    (name, value), *_ = graph.inputs.items()
    shape, dtype = graph.shapes.get(value), foreign.dtype_of(name)
    described = f"{name!r} of {_words(shape)} {dtype}"
    layout = config.layout or _layout(graph, value, shape, described)
    size: int | None
    if layout == "flat":
        size, mode = _flat(shape, config, described)
    else:
        size, mode = _square(shape, layout, config, described)
    scaling = _scaling(graph, value)
    takes, order = _taken(scaling, dtype)
    batch = shape[0] if shape is not None and shape[0] > 0 else None
    return Found(Entrance(name, layout, dtype, batch=batch), size, mode, scaling, takes, order)


def _words(shape: tuple[int, ...] | None) -> str:
    if shape is None:
        return "unknown shape,"
    return " x ".join("any" if size < 1 else str(size) for size in shape)


def _layout(graph: Graph, value: str, shape: tuple[int, ...] | None, described: str) -> Layout:
    if shape is not None and len(shape) == 2:
        return "flat"
    if shape is not None and len(shape) == 3 and shape[0] not in _CHANNELS[1:]:
        return "NHW"
    if shape is None or len(shape) != 4:
        raise ArtefactError(
            f"expected an input for pictures, (N, channels, H, W) or (N, H, W, channels), found "
            f"{described}: it is not an image classifier, or its export has no axis for the batch"
        )
    is_first, is_last = shape[1] in _CHANNELS, shape[3] in _CHANNELS
    if is_first != is_last:
        return "NCHW" if is_first else "NHWC"
    op = _first_op(graph, value)
    if op in ("conv2d", "permute"):
        return "NCHW" if op == "conv2d" else "NHWC"
    raise ConfigError(
        f"expected --layout NCHW or NHWC for the input {described}, found neither: its shape does "
        "not tell where the channels are"
    )


def _first_op(graph: Graph, value: str) -> str | None:
    """Return the first operation that is more than arithmetic."""
    for node in _chain(graph, value):
        if node.canonical not in _ELEMENTWISE:
            return node.canonical
    return None


def _chain(graph: Graph, value: str) -> list[Node]:
    """Return the nodes from the input on, as long as each is the only reader of the one before."""
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in {x for x in node.inputs if isinstance(x, str)}:
            readers.setdefault(name, []).append(node)
    chain: list[Node] = []
    while len(following := readers.get(value, [])) == 1 and following[0] not in chain[-1:]:
        chain.append(following[0])
        value = next(iter(following[0].outputs), "")
        if following[0].canonical not in _ELEMENTWISE | _MOVES:
            break
    return chain


def _square(
    shape: tuple[int, ...] | None, layout: Layout, config: AdoptConfig, described: str
) -> tuple[int | None, Mode]:
    """Return the side and the mode of an input with axes for both."""
    if shape is None or len(shape) != len(layout):
        return config.size, config.mode or "RGB"
    sizes = dict(zip(layout, shape, strict=True))
    height, width = sizes["H"], sizes["W"]
    known = [size for size in (height, width) if size > 0]
    if len(set(known)) > 1:
        raise ArtefactError(
            f"expected an input for square pictures, found {described}: softonce shows a network "
            "squares; export it for squares"
        )
    side = known[0] if known else None
    if side is not None and config.size not in (None, side):
        raise ConfigError(
            f"expected --size {side}, as the input {described} is fixed, found {config.size}"
        )
    number = sizes.get("C", 1)
    mode = config.mode or _mode_of(number)
    if number > 0 and num_channels(mode) != number:
        raise ConfigError(f"expected a --mode of {number} channels for {described}, found {mode}")
    return side, mode


def _mode_of(number: int) -> Mode:
    known: dict[int, Mode] = {1: "L", 3: "RGB"}
    return known.get(number, number if number > 0 else "RGB")


def _flat(shape: tuple[int, ...] | None, config: AdoptConfig, described: str) -> tuple[int, Mode]:
    """Return side and mode of rows of numbers, which are pixels if the caller says so."""
    number = shape[1] if shape is not None and len(shape) == 2 else -1
    if config.size is not None:
        for mode in (config.mode,) if config.mode else ("RGB", "L"):
            if number == config.size**2 * num_channels(mode):
                return config.size, mode
    raise ArtefactError(
        f"expected an input for pictures, found {described}, which is a row of numbers: if they "
        "are the pixels of a picture, row by row, say its side with --size"
    )


def _scaling(graph: Graph, value: str) -> Scaling | None:
    """Follow the arithmetic at the start of the graph."""
    factor, offset = np.ones(1), np.zeros(1)
    nodes: list[str] = []
    for node in _chain(graph, value):
        if node.canonical in _MOVES or node.canonical in ("identity", "to"):
            continue
        number = _operand(graph, node)
        if number is None or node.canonical not in _ELEMENTWISE:
            break
        nodes.append(str(node))
        if node.canonical in ("mul", "div"):
            number = number if node.canonical == "mul" else 1 / number
            factor, offset = factor * number, offset * number
        else:
            offset = offset + (number if node.canonical == "add" else -number)
    return Scaling(factor, offset, tuple(nodes)) if nodes else None


def _operand(graph: Graph, node: Node) -> NDArray[np.float64] | None:
    """Return the numbers that a node adds or multiplies: one, or one a channel."""
    if len(node.inputs) < 2:
        return None
    first, second = node.inputs[:2]
    if node.canonical in ("add", "mul") and str(first) in graph.entries:
        second = first
    found = (second,) if isinstance(second, float) else graph.entries.get(second, ())
    numbers = np.asarray(found, np.float64)
    is_usable = len(numbers) in _CHANNELS and bool(np.isfinite(numbers).all())
    return numbers if is_usable and (node.canonical != "div" or numbers.all()) else None


def _taken(scaling: Scaling | None, dtype: str) -> tuple[str | None, ChannelOrder | None]:
    """Return which numbers the graph takes, and the channel order that its means tell."""
    if np.dtype(dtype).kind in "iu":
        return "0..255", None
    if scaling is None:
        return None, None
    factor, offset = scaling.factor, scaling.offset
    order: ChannelOrder | None = None
    means = -offset / factor
    if len(means) == len(IMAGENET_MEAN) and len(set(means.round(6))) > 1:
        order = "RGB" if means[0] > means[-1] else "BGR"  # in photographs red is the brightest
    if (np.abs(factor) < 0.5).all() and (np.abs(255 * factor + offset) <= _NORMALISED).all():
        return "0..255", order
    if (np.abs(offset) > _NORMALISED).all():  # Caffe's means, of pixels up to 255
        return "0..255", order
    return ("0..1", order) if (np.abs(factor) <= _NORMALISED).all() else (None, order)
