"""What dynamic batching brings: `softonce serve` with it and with `--max-batch 1`, on loopback.

The load comes from a second process over persistent connections, the image raw in the body. Both
services are up all the time and are loaded in turns; one thread computes in each, so that the other
core is left to HTTP and to the load. Throughput is measured at saturation; latency
under half the load that one at a time can bear, the same for both.

Batching pays where a network computes many pictures in less time than one by one. That is so where
reading the weights takes longer than a picture's arithmetic: a network of ImageNet on small
pictures, as in fine-tuning. With large pictures the arithmetic is everything, and there is less to
win; the figures say how much the engine alone gains.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from harness import interleaved, report
from PIL import Image

from softonce import create_model
from softonce.artefact import Metadata, write_artefact
from softonce.engines import open_engine
from softonce.preprocessing import Preprocessing

GENERATOR = Path(__file__).with_name("load_generator.py")
NUM_CLASSES, NUM_PICTURES, MAX_BATCH = 10, 64, 32


def write_model(folder: Path, name: str, size: int, kind: str) -> Path:
    """Write a network with random weights, whose speed is that of any others."""
    model = create_model(name, num_classes=NUM_CLASSES)
    metadata = Metadata(
        arch=name,
        arch_args={"num_classes": NUM_CLASSES, "in_channels": 3},
        classes=tuple(map(str, range(NUM_CLASSES))),
        preprocessing=Preprocessing(size=size),
    )
    artefact = folder / "model.safetensors"
    write_artefact(artefact, model.state_dict(), metadata)
    if kind == "torch":
        return artefact
    command = [sys.executable, "-m", "softonce", "export", artefact, "--to", kind, "--quiet"]
    subprocess.run(command, check=True, capture_output=True)
    return artefact.with_suffix({"onnx": ".onnx", "openvino": ".xml"}[kind])


def write_pictures(folder: Path, size: int) -> list[Path]:
    """Write noisy JPEGs a little larger than what the network sees."""
    draw, paths = np.random.default_rng(0), []
    for number in range(NUM_PICTURES):
        pixels = draw.normal(draw.uniform(60, 200, 3), 30, (size + 8, size + 16, 3))
        paths.append(folder / f"{number}.jpg")
        Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(paths[-1], quality=85)
    return paths


@contextmanager
def service(file: Path, max_batch: int) -> Iterator[int]:
    """Serve in a process of its own, and give the port."""
    command = [sys.executable, "-m", "softonce", "serve", file, "--port", "0"]
    command += ["--threads", "1", "--max-batch", str(max_batch)]
    with subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if found := re.search(r" at http://[^:]+:(\d+)", line):
                break
        else:
            raise RuntimeError(f"expected a service of {file}, found none")
        yield int(found[1])
        process.terminate()


def load(port: int, pictures: list[Path], **options: float | str) -> dict[str, Any]:
    """Run the generator, and return what it measured."""
    flags = [f"--{name}={value}" for name, value in options.items()]
    command = [sys.executable, GENERATOR, str(port), *flags, *pictures]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    measured = json.loads(done.stdout)
    if set(measured["statuses"]) != {"200"}:
        raise RuntimeError(f"expected answers of status 200, found {measured['statuses']}")
    return measured


def engine_ms(file: Path) -> dict[str, float]:
    """Time the engine alone: milliseconds a picture, one by one and in the largest batch."""
    engine = open_engine(file, threads=1)
    size = engine.metadata.preprocessing.size
    cases = {n: np.zeros((n, 3, size, size), np.uint8) for n in (1, MAX_BATCH)}
    runs = {str(n): (lambda pixels=pixels: engine.logits(pixels)) for n, pixels in cases.items()}
    seconds = interleaved(runs, rounds=15, warmup=3)
    return {n: round(1000 * value / int(n), 3) for n, value in seconds.items()}


def empty_request_ms(port: int, count: int = 300) -> float:
    """Time a request that computes nothing: what HTTP costs, client included."""
    start = time.perf_counter()
    for _ in range(count):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz").read()
    return round(1000 * (time.perf_counter() - start) / count, 3)


def measure(file: Path, pictures: list[Path], asked: argparse.Namespace) -> dict[str, Any]:
    """Load both services in turns."""
    cases = {"one at a time": 1, "batched": MAX_BATCH}
    rates: dict[str, list[float]] = {name: [] for name in cases}
    p99: dict[str, list[float]] = {name: [] for name in cases}
    connections = asked.connections
    with ExitStack() as open_services:
        ports = {n: open_services.enter_context(service(file, b)) for n, b in cases.items()}
        for _ in range(asked.rounds):
            for name, port in ports.items():
                found = load(port, pictures, connections=connections, seconds=asked.seconds)
                rates[name].append(found["requests"] / found["seconds"])
        half = statistics.median(rates["one at a time"]) / 2
        longer = 3 * asked.seconds  # a hundredth of few requests is one of them
        for _ in range(asked.rounds):
            for name, port in ports.items():
                found = load(port, pictures, connections=connections, seconds=longer, rate=half)
                p99[name].append(found["p99_ms"])
        empty = empty_request_ms(ports["batched"])
    return {
        "requests/s at saturation": {n: round(statistics.median(v), 1) for n, v in rates.items()},
        "p99 ms at half load": {n: round(statistics.median(v), 2) for n, v in p99.items()},
        "half load, requests/s": round(half, 1),
        "ms of a request that computes nothing, with a new connection": empty,
    }


def decode_ms(pictures: list[Path]) -> float:
    """Time what reading a picture costs."""
    start = time.perf_counter()
    for path in pictures:
        Image.open(io.BytesIO(path.read_bytes())).convert("RGB")
    return round(1000 * (time.perf_counter() - start) / len(pictures), 3)


def main() -> None:
    """Measure each network, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["resnet18@32", "resnet18@64"])
    parser.add_argument(
        "--to", nargs="+", default=["torch", "onnx"], choices=["torch", "onnx", "openvino"]
    )
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    ratios: dict[str, float] = {}
    figures: dict[str, object] = {"connections": asked.connections, "max batch": MAX_BATCH}
    for model, kind in itertools.product(asked.models, asked.to):
        name, size = model.split("@")
        with tempfile.TemporaryDirectory() as place:
            file = write_model(Path(place), name, int(size), kind)
            pictures = write_pictures(Path(place), int(size))
            found = measure(file, pictures, asked)
            alone = engine_ms(file)
            found |= {"engine ms a picture, by batch": alone, "decode ms": decode_ms(pictures)}
        label = f"{model} px, {kind}"
        rates, p99 = found["requests/s at saturation"], found["p99 ms at half load"]
        ratios[f"{label}, throughput batched to one at a time"] = (
            rates["batched"] / rates["one at a time"]
        )
        ratios[f"{label}, p99 batched to one at a time"] = p99["batched"] / p99["one at a time"]
        ratios[f"{label}, engine alone"] = alone["1"] / alone[str(MAX_BATCH)]
        figures[label] = found
    packages = ("torch", "fastapi", "uvicorn", "onnxruntime")
    report("serving", ratios=ratios, figures=figures, packages=packages)


if __name__ == "__main__":
    main()
