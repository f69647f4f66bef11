"""A service to talk to: an engine that computes little, in a thread of this process or its own.

`python service_beside.py SECONDS LINGER OPTIONS...` is `softonce serve OPTIONS...` with it.
"""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from softonce import engines
from softonce.artefact import Metadata
from softonce.cli.app import main
from softonce.config import ServeConfig
from softonce.inference import top_predictions
from softonce.preprocessing import Preprocessing
from softonce.serving import server, service
from softonce.serving.metrics import Metrics
from softonce.serving.server import build_server, listening

CLASSES = ("red", "green", "blue")
METADATA = Metadata(
    arch="fake",
    arch_args={},
    classes=CLASSES,
    preprocessing=Preprocessing(size=8, resize=10),
    temperature=2.0,
)


@dataclass
class FakeEngine:
    """Its logits are the mean colours; it can be slow, and fails for a picture that is black."""

    seconds: float = 0.0
    metadata: Metadata = METADATA
    name: str = "fake"
    sizes: list[int] = field(default_factory=list)

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        is_black = ~pixels.any((1, 2, 3))
        if not is_black.all():  # as those are by which it is warmed up
            self.sizes.append(len(pixels))
            time.sleep(self.seconds)
            if is_black.any():
                raise FloatingPointError("black")
        return pixels.mean((2, 3), dtype=np.float32) / 50


def options(**changes: Any) -> ServeConfig:
    return ServeConfig(Path("model.onnx"), port=0, **changes)


@contextmanager
def running(engine: Any, token: str | None = None, **changes: Any) -> Iterator[httpx.Client]:
    """Answer in a thread while the block runs, and give a client for it."""
    config = options(**changes)
    with listening(config.host, config.port) as listener:
        engines = engine if isinstance(engine, dict) else {"model": engine}
        built = build_server(engines, config, token)
        thread = threading.Thread(target=built.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not built.started:
                time.sleep(0.01)
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with httpx.Client(base_url=address, timeout=30) as client:
                yield client
        finally:
            built.should_exit = True
            thread.join()


def picture(colour: tuple[int, ...] = (200, 10, 10), form: str = "PNG", size=(16, 12)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, form)
    return file.getvalue()


def noise(seed: int, size: tuple[int, int] = (24, 20), form: str = "JPEG") -> bytes:
    rng = np.random.default_rng(seed)
    pixels = rng.normal(60 + 120 * np.eye(3)[seed % 3], 30, (size[1], size[0], 3))
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(file, form)
    return file.getvalue()


def raw(client: httpx.Client, data: bytes, **params: Any) -> httpx.Response:
    headers = {"Content-Type": "application/octet-stream"}
    return client.post("/v1/predict", content=data, headers=headers, params=params)


def expected_record(data: bytes, engine: Any, *, top_k: int = 5) -> dict[str, Any]:
    """The record of a direct prediction, by the functions that `softonce predict` is made of."""
    from softonce.data.images import decode, fit_image, open_image, to_pixels

    metadata = engine.metadata
    image = decode(open_image(data), metadata.preprocessing.mode)
    pixels = to_pixels(fit_image(image, metadata.preprocessing))[None]
    (record,) = top_predictions(
        engine.logits(pixels), metadata.classes, temperature=metadata.temperature, top_k=top_k
    )
    return {"path": None, **record, "error": None}


class Counted(Metrics):
    """Says at the end how many requests were taken."""

    num_taken = 0

    def request(self, route: str, status: int, seconds: float) -> None:
        Counted.num_taken += 1
        super().request(route, status, seconds)


if __name__ == "__main__":
    slowness, linger, *words = sys.argv[1:]
    server.LINGER, service.Metrics = float(linger), Counted
    engines.open_as_asked = server.open_as_asked = lambda *args: FakeEngine(float(slowness))
    status = main(["serve", "model.onnx", "--port", "0", *words])
    sys.stdout.write(f"{Counted.num_taken}\n")
    sys.exit(status)
