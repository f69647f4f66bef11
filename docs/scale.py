"""The arithmetic of large heads and large data: bytes, bytes on the wire, and floors of time.

Plain formulas; what they are calibrated with is measured (`benchmarks/scale_rates.py`,
`benchmarks/train_step.py`) or a vendor's published peak, and named so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "benchmarks/results"
FLOAT32, BFLOAT16 = 4, 2
CLASSES = (10**4, 10**5, 10**6, 10**7)
DEVICES = (1, 2, 4, 8, 16, 32, 64)
FEATURES = 2048  # of a ResNet-50
ROWS = 128  # images a device and step
BLOCK = 8192  # classes at a time


@dataclass(frozen=True)
class Device:
    """What a device can do at most.

    Attributes:
        flops: products in bfloat16, FLOP/s.
        wire: bytes a second that leave it, one way.
    """

    name: str
    flops: float
    wire: float


# NVIDIA's data sheet of the H100 SXM: 989 TFLOP/s of dense bfloat16, NVLink of 900 GB/s both ways.
H100 = Device("H100 SXM, published peaks", 989e12, 450e9)


def head_bytes(classes: int, devices: int) -> float:
    """Return the bytes of weight, gradient and momentum of a head on each of its devices.

    Example:
        >>> head_bytes(1_000_000, devices=8) / 1e9
        3.072
    """
    return 3 * FLOAT32 * classes * FEATURES / devices


def logit_bytes(classes: int) -> float:
    """Return what plain cross-entropy keeps: logits, log-probabilities and gradient.

    For the rows of one device and all classes, or the rows of P devices and a P-th of the classes.

    Example:
        >>> logit_bytes(1_000_000) / 1e9
        1.536
    """
    return 3 * FLOAT32 * ROWS * classes


def replicated_wire(classes: int, devices: int) -> float:
    """Return the bytes that a device sends a step where every device has the whole head.

    A ring all-reduce of the head's gradient.
    """
    return 2 * (devices - 1) / devices * FLOAT32 * classes * FEATURES


def sharded_wire(devices: int) -> float:
    """Return the bytes that a device sends a step where each has a share of the classes.

    The features of all rows go round in bfloat16, their gradients come back in float32, and four
    floats a row (maximum, sum, target logit, smoothing) are exchanged; C is not in it.
    """
    rows = ROWS * devices
    features = (devices - 1) / devices * rows * FEATURES * (BFLOAT16 + FLOAT32)
    return features + (devices - 1) * rows / devices * 4 * FLOAT32


def product_seconds(classes: int, flops: float) -> float:
    """Return the floor of a step's three products, which the number of devices leaves alone.

    Twice the rows on twice the devices meet half of the classes each.
    """
    return 3 * 2 * ROWS * FEATURES * classes / flops


def measured(benchmark: str, figure: str) -> dict[str, object]:
    """Return the newest dated result of a benchmark that has this figure."""
    for file in sorted(RESULTS.glob(f"{benchmark}-[0-9]*.json"), reverse=True):
        result = json.loads(file.read_text(encoding="utf-8"))
        if figure in result["figures"]:
            return result | {"date": file.stem[-10:]}
    raise KeyError(f"{figure} in no result of {benchmark}")


def tables() -> dict[str, str]:
    """Return the tables of the page by name, as Markdown."""
    return {
        "memory": _memory_table(),
        "logits": _logits_table(),
        "wire": _wire_table(),
        "time": _time_table(),
        "imagenet": _imagenet_table(),
    }


def _memory_table() -> str:
    head = ["classes", *(f"{p} devices" if p > 1 else "1 device" for p in DEVICES)]
    return _table(head, [[f"{c:,}", *(_bytes(head_bytes(c, p)) for p in DEVICES)] for c in CLASSES])


def _logits_table() -> str:
    head = ["classes", "all logits at once", f"in blocks of {BLOCK:,} classes"]
    rows = [[f"{c:,}", _bytes(logit_bytes(c)), _bytes(logit_bytes(min(c, BLOCK)))] for c in CLASSES]
    return _table(head, rows)


def _wire_table() -> str:
    head = ["a step, a device", *map(str, DEVICES[1:])]
    rows = [
        [
            f"head on every device, {c:,} classes",
            *(_bytes(replicated_wire(c, p)) for p in DEVICES[1:]),
        ]
        for c in CLASSES
    ]
    rows.append(["classes divided, any number", *(_bytes(sharded_wire(p)) for p in DEVICES[1:])])
    return _table(head, rows)


def _time_table() -> str:
    rate = measured("scale_rates", "GFLOP/s float32")
    here = 1e9 * rate["figures"]["GFLOP/s float32"]
    name = f"{rate['hardware']}, measured"
    head = [
        "classes",
        f"products: {name}",
        f"products: {H100.name}",
        "wire, 8 devices, divided",
        "wire, 8 devices, head on every device",
    ]
    rows = [
        [
            f"{c:,}",
            _seconds(product_seconds(c, here)),
            _seconds(product_seconds(c, H100.flops)),
            _seconds(sharded_wire(8) / H100.wire),
            _seconds(replicated_wire(c, 8) / H100.wire),
        ]
        for c in CLASSES
    ]
    return _table(head, rows)


IMAGENET_IMAGES, IMAGENET_CLASSES, IMAGENET_BYTES = 13_151_276, 19_167, 645.65e9 / 0.56
SHARDS = 2048


def _imagenet_table() -> str:
    rates = measured("scale_rates", "pictures/s a core")
    step = measured("train_step", "resnet50")
    core = float(rates["figures"]["pictures/s a core"])
    network = float(step["figures"]["resnet50"]["softonce img/s"])
    a_shard = IMAGENET_BYTES / SHARDS
    rows = [
        ["pictures, classes", f"{IMAGENET_IMAGES:,}, {IMAGENET_CLASSES:,}"],
        ["bytes as JPEG", _bytes(IMAGENET_BYTES)],
        [f"a shard, of {SHARDS}", f"{_bytes(a_shard)}, {IMAGENET_IMAGES // SHARDS:,} pictures"],
        [
            "decoding and cropping an epoch, one core",
            f"{IMAGENET_IMAGES / core / 3600:.1f} h at {core:.0f} pictures/s (measured)",
        ],
        ["cores that feed 2,500 pictures/s", f"{2500 / core:.1f}"],
        ["reading an epoch at 1 GB/s", _seconds(IMAGENET_BYTES / 1e9)],
        ["bytes a second at 2,500 pictures/s", _bytes(2500 * IMAGENET_BYTES / IMAGENET_IMAGES)],
        [
            f"ResNet-50 at 128 px, an epoch on {step['hardware']}",
            f"{IMAGENET_IMAGES / network / 86400:.1f} days at {network:.0f} img/s",
        ],
        ["its head: weight, gradient, momentum", _bytes(head_bytes(IMAGENET_CLASSES, 1))],
    ]
    return _table(["ImageNet, winter 2021 release", ""], rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    align = "|---|" + "---:|" * (len(head) - 1)
    return "\n".join(
        [f"| {' | '.join(head)} |", align, *(f"| {' | '.join(row)} |" for row in rows)]
    )


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def _seconds(number: float) -> str:
    for unit, size in (("h", 3600), ("min", 60), ("s", 1), ("ms", 1e-3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number / 1e-6:.3g} us"
