"""The graph's own preprocessing against Pillow's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from softonce.data.images import fit_image, to_pixels
from softonce.engines.graph_engine import as_pictures
from softonce.exporting.network import fit_pixels, half_to_even, pad_side, to_grey
from softonce.preprocessing import Preprocessing

sides = st.integers(1, 90)
quick = settings(max_examples=60, deadline=None)


def picture(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng([width, height])
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def both(image: Image.Image, preprocessing: Preprocessing) -> tuple[Any, Any]:
    """What the graph makes of the picture, and what Pillow does."""
    planes = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    colour = torch.tensor(preprocessing.mean).mul(255).round()[:, None, None]
    found = fit_pixels(planes, preprocessing, colour)[0].numpy()
    return found, to_pixels(fit_image(image, preprocessing)).astype(np.float32)


@quick
@given(width=sides, height=sides, size=st.integers(1, 20), more=st.integers(0, 9))
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_a_picture_of_any_size_lies_where_pillow_puts_it(
    fit: Any, interpolation: Any, width: int, height: int, size: int, more: int
) -> None:
    resize = size + more if fit == "crop" else size
    preprocessing = Preprocessing(size=size, resize=resize, fit=fit, interpolation=interpolation)
    found, expected = both(picture(width, height), preprocessing)
    assert np.abs(found - expected).mean() <= 1  # elsewhere it would be 60


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_the_nearest_pixel_is_pillows(fit: Any) -> None:
    for width, height in ((61, 47), (47, 61), (9, 13), (32, 32)):
        preprocessing = Preprocessing(size=16, fit=fit, interpolation="nearest")
        found, expected = both(picture(width, height), preprocessing)
        np.testing.assert_array_equal(found, expected)


def test_halves_are_rounded_as_python_does() -> None:
    assert [half_to_even(number) for number in range(99)] == [round(n / 2) for n in range(99)]


@given(side=st.integers(1, 5000), size=st.integers(1, 600), more=st.integers(0, 5000))
def test_a_padded_side_is_rounded_as_pythons(side: int, size: int, more: int) -> None:
    longest = side + more
    assert pad_side(side, size, longest) == max(1, round(side * size / longest))


def test_grey_is_pillows_to_the_bit() -> None:
    image = picture(211, 97)
    grey = to_grey(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None])
    np.testing.assert_array_equal(grey[0, 0].numpy(), np.array(image.convert("L")))


@quick
@given(size=st.integers(1, 20), more=st.integers(0, 9))
@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_pixels_that_are_framed_come_out_of_the_graph_as_they_were(
    fit: Any, size: int, more: int
) -> None:
    preprocessing = Preprocessing(size=size, resize=size + more, fit=fit)
    pixels = to_pixels(picture(size, size))[None]
    if fit != "crop":
        preprocessing = Preprocessing(size=size, fit=fit)
    framed = Image.fromarray(as_pictures(pixels, preprocessing)[0])
    for found in both(framed, preprocessing):
        np.testing.assert_array_equal(found, pixels[0])
