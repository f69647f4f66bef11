"""The square inside an OpenVINO graph against Pillow's, and what pictures of many sizes cost."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from softonce.data.images import fit_image, to_pixels
from softonce.engines.openvino_pixels import SquareBuilder
from softonce.preprocessing import Preprocessing

openvino = pytest.importorskip("openvino")

PREPROCESSINGS = {
    f"{fit} {interpolation} {mode}": Preprocessing(
        size=16,
        resize=19 if fit == "crop" else 16,
        fit=fit,  # type: ignore[arg-type] # the parameters are its own values
        interpolation=interpolation,  # type: ignore[arg-type]
        mode=mode,
        mean=(0.4,) * (1 if mode == "L" else 3),
        std=(0.2,) * (1 if mode == "L" else 3),
    )
    for fit, interpolation, mode in (
        ("crop", "bilinear", "RGB"),
        ("crop", "bicubic", "L"),
        ("pad", "bicubic", "RGB"),
        ("squash", "bilinear", "L"),
        ("squash", "nearest", "RGB"),
    )
}


@cache
def compiled(name: str, precision: str = "f32") -> Any:
    builder = SquareBuilder(PREPROCESSINGS[name])
    images = openvino.opset13.parameter([-1, -1, -1, builder.in_channels], openvino.Type.u8)
    square = builder.build(images.output(0))
    if precision != "f32":  # what is behind the last product, OpenVINO computes in float32
        size = builder.channels
        unchanged = openvino.opset13.constant(np.eye(size, dtype=np.float32))
        square = openvino.opset13.matmul(square, unchanged, False, False)
    model = openvino.Model([square], [images], "square")
    return openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision})


@pytest.mark.parametrize("name", PREPROCESSINGS)
@settings(max_examples=8, deadline=None)
@given(width=st.integers(3, 200), height=st.integers(3, 200), number=st.integers(1, 3))
def test_pictures_of_any_size_become_the_square_that_pillow_makes(
    name: str, width: int, height: int, number: int
) -> None:
    preprocessing = PREPROCESSINGS[name]
    rng = np.random.default_rng([width, height])
    small = rng.integers(0, 256, (number, 6, 6, 3), dtype=np.uint8)
    clouds = [Image.fromarray(each).resize((width, height)) for each in small]
    found = compiled(name)(np.stack([np.array(cloud) for cloud in clouds]))[0]
    expected = [
        to_pixels(fit_image(cloud.convert(str(preprocessing.mode)), preprocessing))
        for cloud in clouds
    ]
    # Pillow makes the cheaper of its two passes first, and rounds between them.
    assert np.abs(found.transpose(0, 3, 1, 2) - np.stack(expected)).mean() <= 0.5


@pytest.mark.parametrize("name", PREPROCESSINGS)
def test_pictures_that_need_no_resize_keep_every_pixel(name: str) -> None:
    preprocessing = PREPROCESSINGS[name]
    side = preprocessing.resize
    pictures = np.random.default_rng(0).integers(0, 256, (4, side, side, 3), dtype=np.uint8)
    found = compiled(name)(pictures)[0].transpose(0, 3, 1, 2)
    mode = str(preprocessing.mode)
    for square, picture in zip(found, pictures, strict=True):
        expected = to_pixels(fit_image(Image.fromarray(picture).convert(mode), preprocessing))
        np.testing.assert_array_equal(square, expected)


@pytest.mark.parametrize("name", PREPROCESSINGS)
def test_in_bfloat16_a_pixel_is_where_it_was(name: str) -> None:
    """OpenVINO computes so by itself, on processors that have it."""
    small = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    picture = np.array(Image.fromarray(small).resize((400, 300)))[None]
    exact, near = (compiled(name, each)(picture)[0] for each in ("f32", "bf16"))
    assert np.abs(near - exact).max() <= 3


BARE = """
import sys
import numpy, openvino

def resident():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024

model = openvino.Core().compile_model(sys.argv[1], "CPU", {"INFERENCE_NUM_THREADS": 1})
draw = numpy.random.default_rng(0)
model({"images": numpy.zeros((1, 700, 700, 3), numpy.uint8)})
before = resident()
for width, height in draw.integers(100, 700, (60, 2)):
    model({"images": numpy.zeros((1, height, width, 3), numpy.uint8)})
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_sixty_sizes_leave_nothing_behind_in_a_program_without_softonce(
    exported: Any,
) -> None:
    command = [sys.executable, "-c", BARE, str(exported("openvino"))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 50  # MiB; with OpenVINO's own resize it is 2,000
