"""Pictures of any size become the network's square inside an OpenVINO graph, and compile once.

OpenVINO compiles most operations anew for each shape that they meet and keeps the code. Its own
antialiased resize (`bilinear_pillow`) keeps its tables and buffers as well: a picture of a new size
took a second and tens of megabytes for good. Here no costly operation sees the picture's size.
The resize is two products with matrices that hold the filter, `rows @ picture @ columns`; the
picture goes through a loop, `_ROWS` rows at a time, padded to a multiple of `_COLUMNS`, and
whatever its size the products give the square that the network takes and nothing beyond it.

Positions are counted in whole numbers, so that they stay exact if the runtime computes in half
precision, as OpenVINO does by itself on processors that have it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from softonce.errors import import_extra
from softonce.preprocessing import num_channels

if TYPE_CHECKING:
    from collections.abc import Callable

    from softonce.preprocessing import Preprocessing

_ROWS, _COLUMNS = 64, 128
"""Of a block, and what widths are padded to. Larger blocks waste more of the products on padding;
with smaller columns more widths differ, and each is compiled once (0.6 MiB)."""
_GREY = (19595, 38470, 7471)
"""Pillow's weights of red, green and blue, in 65536ths."""
_FIXED = 4096
"""What a pixel's value is multiplied by while blocks are added, as whole numbers."""
_LEAST_SUM = 1 / 16
"""Below the sum of the taps of any pixel that lies inside; outside, instead of zero."""


class SquareBuilder:
    """Builds the operations, for the preprocessing of one classifier.

    Args:
        preprocessing: that the record names.

    Raises:
        MissingExtraError: if OpenVINO is not installed.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.openvino: Any = import_extra("openvino", "openvino")
        self.ops: Any = self.openvino.opset13
        self.preprocessing = preprocessing
        mode = preprocessing.mode
        self.in_channels = 3 if mode == "L" else num_channels(mode)
        self.channels = num_channels(mode)

    def build(self, images: Any) -> Any:
        """Return the square, (N, size, size, channels) float pixels, of uint8 (N, H, W, channels).

        Pictures that need no resize, as a service makes them, are only cut, and enter no loop.
        """
        if self.preprocessing.interpolation == "nearest":
            return self._float(self._framed(self._grey(self._nearest(images)), images))
        return self._framed(self._fit(images), images)

    def _is_plain(self, height: Any, width: Any) -> Any:
        """Return whether pictures of these sides need no resize."""
        ops, seen = self.ops, self.preprocessing
        if seen.fit == "crop":
            return ops.equal(ops.minimum(height, width), self._int(seen.resize))
        sides = (ops.equal(each, self._int(seen.size)) for each in (height, width))
        return ops.logical_and(*sides)

    def _cut(self, images: Any) -> Any:
        """Return the square of pictures that need no resize, and of others anything."""
        height, width = self._sides(images)
        for axis, sides in ((1, (height, width)), (2, (width, height))):
            index = self._indices(self._window(*sides)[1])
            last = self.ops.subtract(sides[0], self._int(1))
            index = self.ops.maximum(self.ops.minimum(index, last), self._int(0))
            images = self.ops.gather(images, index, self._int(axis))
        return self._grey(images)

    def _nearest(self, images: Any) -> Any:
        """Return the square by Pillow's nearest pixels, `floor((i + 1/2) * side / resized)`."""
        ops, (height, width) = self.ops, self._sides(images)
        for axis, sides in ((1, (height, width)), (2, (width, height))):
            resized, first = self._window(*sides)
            doubled = ops.add(ops.multiply(self._indices(first), self._int(2)), self._int(1))
            index = ops.divide(ops.multiply(doubled, sides[0]), ops.multiply(resized, self._int(2)))
            last = ops.subtract(sides[0], self._int(1))
            index = ops.minimum(ops.maximum(index, self._int(0)), last)
            images = ops.gather(images, index, self._int(axis))
        return images

    def _fit(self, images: Any) -> Any:
        """Return the square by the antialiased filter: columns first, rounded, as Pillow does."""
        ops, (height, width) = self.ops, self._sides(images)
        is_plain = self._is_plain(height, width)
        columns, rows = self._filter(width, height, _COLUMNS), self._filter(height, width, _ROWS)
        blocks = ops.divide(self._up(height, _ROWS), self._int(_ROWS))
        step, body = self._block_model()
        loop = ops.loop(ops.select(is_plain, self._int(0), blocks), ops.constant(np.array(True)))
        loop.set_function(body)
        loop.set_special_body_ports([0, 1])
        _, picture, of_columns, of_rows, total = body.get_parameters()
        for inner, outer in ((picture, images), (of_columns, columns), (of_rows, rows)):
            loop.set_invariant_input(inner, outer if inner is picture else outer.output(0))
        cut = ops.transpose(self._float(self._cut(images)), self._int([0, 3, 1, 2]))
        start = self._fixed(ops.multiply(cut, self._float(is_plain)))
        loop.set_merged_input(total, start.output(0), step)
        pixels = loop.get_iter_value(step, -1)
        loop.validate_and_infer_types()
        half = ops.constant(np.array(_FIXED // 2, np.int32))
        pixels = ops.divide(ops.add(pixels, half), ops.constant(np.array(_FIXED, np.int32)))
        limits = (ops.constant(np.array(limit, np.int32)) for limit in (0, 255))
        pixels = ops.minimum(ops.maximum(pixels, next(limits)), next(limits))
        return ops.transpose(self._float(pixels), self._int([0, 2, 3, 1]))

    def _block_model(self) -> tuple[Any, Any]:
        """Return the body of the loop, which adds what one block of rows gives, and its output."""
        ops, size = self.ops, self.preprocessing.size
        number = self._parameter("i64")
        picture = self._parameter("u8", -1, -1, -1, self.in_channels)
        columns, rows = (self._parameter("f32", size, -1) for _ in range(2))
        total = self._parameter("i32", -1, self.channels, size, size)
        height, width = self._sides(picture)
        start = ops.multiply(number, self._int(_ROWS))
        index = ops.add(start, self._int(np.arange(_ROWS)))
        index = ops.minimum(index, ops.subtract(height, self._int(1)))  # what is beyond weighs 0
        block = ops.gather(picture, index, self._int(1))
        more = self._vector(0, 0, ops.subtract(self._size(columns, 1), width), 0)
        nothing = ops.constant(np.array(0, np.uint8))
        block = ops.pad(block, self._int(np.zeros(4)), more, "constant", nothing)
        planes = ops.transpose(self._grey(block), self._int([0, 3, 1, 2]))
        narrow = ops.matmul(self._float(planes), columns, False, True)
        ends = (ops.unsqueeze(each, self._int(0)) for each in (
            start, ops.add(start, self._int(_ROWS)),
        ))  # fmt: skip
        part = ops.slice(rows, *ends, self._int([1]), self._int([1]))
        part = ops.reshape(part, self._int([size, _ROWS]), False)
        more = self._fixed(ops.matmul(part, self._rounded(narrow), False, False))
        step = ops.add(total, more)
        goes_on = ops.constant(np.array(True))
        parameters = [number, picture, columns, rows, total]
        return step.output(0), self.openvino.Model([step, goes_on], parameters, "rows")

    def _filter(self, side: Any, other: Any, block: int) -> Any:
        """Return (size, side rounded up): of each pixel of the square what it takes of each."""
        ops = self.ops
        resized, first = self._window(side, other)
        # |(j + 1/2) - (i + 1/2) * side / resized| / max(1, side / resized), times 2 * longest
        i = ops.unsqueeze(self._odd(self._indices(first)), self._int(1))
        j = ops.range(self._int(0), self._up(side, block), self._int(1), output_type="i64")
        taps = ops.unsqueeze(self._odd(j), self._int(0))
        apart = ops.abs(ops.subtract(ops.multiply(taps, resized), ops.multiply(i, side)))
        whole = ops.multiply(ops.maximum(side, resized), self._int(2))
        apart = ops.minimum(apart, ops.multiply(whole, self._int(2)))
        weights = self._kernel(ops.divide(self._float(apart), self._float(whole)))
        weights = ops.multiply(weights, ops.unsqueeze(self._float(ops.less(j, side)), self._int(0)))
        total = ops.reduce_sum(weights, self._int([1]), True)
        weights = ops.divide(weights, ops.maximum(total, self._const(_LEAST_SUM)))
        inside = self._float(self._inside(side, other))
        return ops.multiply(weights, ops.unsqueeze(inside, self._int(1)))

    def _kernel(self, apart: Any) -> Any:
        """Return the filter at a distance of 0 to 2."""
        ops, const = self.ops, self._const
        if self.preprocessing.interpolation == "bilinear":
            return ops.maximum(ops.subtract(const(1.0), apart), const(0.0))

        # Factored, so that what is far away is zero in half precision, too; with Pillow's a = -0.5.
        before, after = (ops.subtract(apart, const(each)) for each in (1.0, 2.0))
        far = ops.multiply(ops.multiply(before, const(-0.5)), ops.multiply(after, after))
        square = ops.multiply(ops.multiply(apart, apart), const(1.5))
        near = ops.multiply(before, ops.subtract(square, ops.add(apart, const(1.0))))
        return ops.select(ops.less(apart, const(1.0)), near, far)

    def _window(self, side: Any, other: Any) -> tuple[Any, Any]:
        """Return the side after the resize, and which of its pixels is the square's first."""
        ops, int_, seen = self.ops, self._int, self.preprocessing
        if seen.fit == "squash":
            return int_(seen.size), int_(0)
        if seen.fit == "crop":
            resized = ops.divide(ops.multiply(side, int_(seen.resize)), ops.minimum(side, other))
            more = ops.subtract(resized, int_(seen.size))
            odd = ops.divide(ops.floor_mod(more, int_(4)), int_(3))  # halves are rounded to even
            return resized, ops.add(ops.divide(more, int_(2)), odd)
        longest = ops.maximum(side, other)
        doubled = ops.add(ops.multiply(side, int_(2 * seen.size)), longest)
        both = ops.multiply(longest, int_(2))
        rounded = ops.divide(doubled, both)
        is_half = ops.subtract(int_(1), ops.minimum(int_(1), ops.floor_mod(doubled, both)))
        to_even = ops.multiply(is_half, ops.floor_mod(rounded, int_(2)))
        resized = ops.maximum(int_(1), ops.subtract(rounded, to_even))
        return resized, ops.negative(ops.divide(ops.subtract(int_(seen.size), resized), int_(2)))

    def _framed(self, pixels: Any, images: Any) -> Any:
        """Return the square with the mean colour around a padded picture."""
        ops, seen = self.ops, self.preprocessing
        if seen.fit != "pad":
            return pixels
        height, width = self._sides(images)
        rows = ops.unsqueeze(self._inside(height, width), self._int([1, 2]))
        columns = ops.unsqueeze(self._inside(width, height), self._int([0, 2]))
        colour = (255 * np.array(seen.mean, np.float32)).round().astype(np.int32)
        colour = ops.constant(colour)
        inside = ops.logical_and(rows, columns)
        return ops.select(inside, self._float(pixels), self._float(colour))

    def _inside(self, side: Any, other: Any) -> Any:
        """Return whether each pixel of the square lies in the resized picture."""
        resized, first = self._window(side, other)
        index, ops = self._indices(first), self.ops
        return ops.logical_and(ops.greater_equal(index, self._int(0)), ops.less(index, resized))

    def _grey(self, images: Any) -> Any:
        """Return the pictures in grey, if the network sees grey."""
        ops = self.ops
        if self.preprocessing.mode == "L":
            weights = self._float(ops.constant(np.array(_GREY, np.int32)))
            total = ops.reduce_sum(ops.multiply(self._float(images), weights), self._int([3]), True)
            total = ops.add(total, self._float(ops.constant(np.array(32768, np.int32))))
            images = ops.floor(
                ops.divide(total, self._float(ops.constant(np.array(65536, np.int32))))
            )
        return images

    def _fixed(self, pixels: Any) -> Any:
        """Return pixels as whole numbers of 4096ths."""
        scaled = self.ops.multiply(pixels, self._const(float(_FIXED)))
        nearest = self.ops.floor(self.ops.add(scaled, self._const(0.5)))
        return self.ops.convert(nearest, "i32")

    def _rounded(self, pixels: Any) -> Any:
        return self.ops.clamp(self.ops.floor(self.ops.add(pixels, self._const(0.5))), 0.0, 255.0)

    def _indices(self, first: Any) -> Any:
        """Return the places of the square's pixels in the resized picture."""
        return self.ops.add(first, self._int(np.arange(self.preprocessing.size)))

    def _odd(self, index: Any) -> Any:
        """Return the middle of each pixel, doubled."""
        return self.ops.add(self.ops.multiply(index, self._int(2)), self._int(1))

    def _up(self, side: Any, block: int) -> Any:
        blocks = self.ops.divide(self.ops.add(side, self._int(block - 1)), self._int(block))
        return self.ops.multiply(blocks, self._int(block))

    def _sides(self, images: Any) -> tuple[Any, Any]:
        return self._size(images, 1), self._size(images, 2)

    def _size(self, tensor: Any, axis: int) -> Any:
        return self.ops.gather(self.ops.shape_of(tensor), self._int(axis), self._int(0))

    def _vector(self, *sizes: Any) -> Any:
        each = (self._int(x) if isinstance(x, int) else x for x in sizes)
        return self.ops.concat([self.ops.unsqueeze(x, self._int(0)) for x in each], 0)

    def _parameter(self, kind: str, *shape: int) -> Any:
        return self.ops.parameter(list(shape), getattr(self.openvino.Type, kind))

    def _float(self, tensor: Any) -> Any:
        return self.ops.convert(tensor, "f32")

    def _const(self, number: float) -> Any:
        return self.ops.constant(np.array(number, np.float32))

    def _int(self, number: Any) -> Any:
        return self.ops.constant(np.array(number, np.int64))


_PASSED = frozenset({"Slice", "Convert", "Subtract", "Pad", "Add"})
"""What lies between the resize and the channels-last square, of `exporting.network.fit_pixels`."""


def find_resize(model: Any) -> tuple[Any, Any] | None:
    """Return (pictures, square) of a graph as `softonce export` writes it, or None.

    The square is what the chain of operations from the resize makes, up to the transposition, its
    channels last, before the normalisation.
    """
    takes_pixels = model.inputs[0].get_element_type().get_type_name() == "u8"
    for node in model.get_ops() if takes_pixels else ():
        last = node if node.get_type_name() == "Interpolate" else None
        while last is not None:
            last = _only_reader(last)
            if last is not None and _is_channels_last(last):
                return model.inputs[0], last.output(0)
            if last is not None and last.get_type_name() not in _PASSED:
                last = None
    return None


def _only_reader(node: Any) -> Any:
    readers = [each.get_node() for each in node.output(0).get_target_inputs()]
    return readers[0] if len(readers) == 1 else None


def _is_channels_last(node: Any) -> bool:
    if node.get_type_name() != "Transpose":
        return False
    order = node.input_value(1).get_node()
    is_known = order.get_type_name() == "Constant"
    return bool(is_known and order.get_data().tolist() == [0, 2, 3, 1])


def rebuild_resize_(model: Any, preprocessing: Preprocessing) -> bool:
    """Put the operations of `SquareBuilder` in the place of a resize; return whether one was."""
    found = find_resize(model)
    if found is None:
        return False
    pictures, square = found
    build: Callable[[Any], Any] = SquareBuilder(preprocessing).build
    square.replace(build(pictures).output(0))
    model.validate_nodes_and_infer_types()
    return True
