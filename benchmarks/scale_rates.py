"""The rates that docs/scale.py is calibrated with: products of a head, pictures of a core.

A head of C classes is three products of N x D x C a step (logits, dX, dW); a picture is decoded,
cropped at random and resized on one core.
"""

import io
import statistics
import time

import numpy as np
import torch
from harness import interleaved, report
from PIL import Image

from softonce.data.augment import Augmentation, draw, random_crop_image
from softonce.data.images import open_image, to_pixels
from softonce.preprocessing import Preprocessing

ROWS, FEATURES, CLASSES = 1024, 2048, 8192
PICTURE, SIDE = (500, 400), 224
NUM_PICTURES = 200


def products(dtype: torch.dtype) -> dict[str, object]:
    x, w, z = (
        torch.randn(shape, dtype=dtype)
        for shape in ((ROWS, FEATURES), (CLASSES, FEATURES), (ROWS, CLASSES))
    )
    return {"logits": lambda: x @ w.T, "dX": lambda: z @ w, "dW": lambda: z.T @ x}


def gigaflops(dtype: torch.dtype) -> float:
    """Return the rate of the three products together."""
    seconds = interleaved(products(dtype), rounds=7, warmup=2)
    return 3 * 2 * ROWS * FEATURES * CLASSES / sum(seconds.values()) / 1e9


def jpeg() -> bytes:
    """Return a picture of ImageNet's usual size with detail at every scale."""
    noise = np.random.default_rng(0)
    layers = [
        np.asarray(
            Image.fromarray(noise.integers(0, 256, (side, side, 3), np.uint8)).resize(PICTURE)
        )
        for side in (4, 16, 64, 256)
    ]
    buffer = io.BytesIO()
    Image.fromarray(np.mean(layers, axis=0).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def pictures_per_second() -> float:
    """Return how many pictures one core decodes, crops at random and resizes."""
    data = jpeg()
    preprocessing, augmentation = (
        Preprocessing(size=SIDE),
        Augmentation(size=SIDE, crop="resized-crop"),
    )
    seconds = []
    for index in range(NUM_PICTURES):
        start = time.perf_counter()
        to_pixels(
            random_crop_image(open_image(data), preprocessing, augmentation, draw(0, 0, [index])[0])
        )
        seconds.append(time.perf_counter() - start)
    return 1 / statistics.median(seconds)


if __name__ == "__main__":
    single, half = gigaflops(torch.float32), gigaflops(torch.bfloat16)
    figures = {
        "GFLOP/s float32": round(single, 1),
        "GFLOP/s bfloat16": round(half, 1),
        "pictures/s a core": round(pictures_per_second(), 1),
        "picture": f"JPEG {PICTURE[0]} x {PICTURE[1]}, {len(jpeg())} bytes, cropped to {SIDE}",
        "products": f"{ROWS} x {FEATURES} x {CLASSES}: logits, dX, dW",
    }
    report("scale_rates", ratios={}, figures=figures, packages=("torch", "pillow"))
