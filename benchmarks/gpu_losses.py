"""Time and peak memory of loss and gradient on a GPU: ours against torch's and the kernel packages.

    python benchmarks/gpu_losses.py            needs a GPU, else ends with status 2
    python benchmarks/gpu_losses.py --dry-run  runs through once, tiny, on the CPU: no measurement

A run is loss, then backward from an upstream gradient of 0.5, then nothing: no optimizer. Each
round runs every contender once, in turn; the medians are reported. Packages that are not installed
are listed as absent, and what a contender cannot do as its error. `differs` is the relative
difference of its loss from the first contender's. `host` is what the CPU takes to start it all: a
step that takes less than that on the device waits for the host.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from harness import RESULTS, draw_times, report
from torch import Tensor
from torch.nn import LinearCrossEntropyOptions

import softonce
from softonce.losses.kernels import triton_rows
from softonce.losses.kernels.interface import Mass

Loss = Callable[..., Tensor]

LOGITS = ((8192, 128256), (4096, 50257), (65536, 1000), (256, 1000), (64, 10))
"""Rows and classes: two language models, ImageNet in a segmentation and in a step, a small one."""
HEADS = (
    (8192, 2304, 256000),
    (16384, 2048, 248320),
    (8192, 4096, 128256),
    (4096, 2048, 32000),
    (256, 2048, 1000),
)
"""Rows, features and classes: those of the published figures of others, and small ones. Those of
the second are TRL's (pull request 6858), on an H100: Liger 321 ms, plain 137, CCE 92.6."""
TINY_LOGITS, TINY_HEADS = ((6, 40),), ((6, 8, 40),)
VALID = (1.0, 0.5)
UPSTREAM = 0.5
PACKAGES = ("liger-kernel", "cut-cross-entropy", "quack-kernels")


@dataclass(frozen=True)
class Problem:
    """Tensors of one shape; `pristine` is what some contenders overwrite with the gradient."""

    name: str
    leaves: tuple[Tensor, ...]
    target: Tensor
    pristine: Tensor

    def run(self, loss_of: Loss) -> Tensor:
        """Return the loss, the gradients made."""
        loss = loss_of(*self.leaves, self.target)
        if loss.requires_grad:
            loss.backward(torch.full_like(loss, UPSTREAM))
        return loss.detach()

    def reset(self) -> None:
        """Undo a run."""
        with torch.no_grad():
            self.leaves[0].copy_(self.pristine)
        for leaf in self.leaves:
            leaf.grad = None


@dataclass
class Measured:
    """What is known of one contender on one problem."""

    loss: float = float("nan")
    mebibytes: float = float("nan")
    host: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    failure: str = ""


def row_kernel(logits: Tensor, target: Tensor) -> Tensor:
    """Our kernel alone, without autograd: the loss, and the gradient in the logits' place."""
    ignored = target == -100
    scale = UPSTREAM / (~ignored).sum()
    with torch.no_grad():
        mass = Mass(index=target, ignored=ignored)
        rows = triton_rows.forward_rows(logits, mass, scale=scale, dlogits=logits)
        return rows.loss.sum() / (~ignored).sum()


def contenders_for_logits(is_dry: bool) -> Iterator[tuple[str, Callable[[], Loss]]]:
    """Name what takes logits, and how each is got."""
    yield "torch eager", lambda: F.cross_entropy
    yield "softonce", lambda: softonce.cross_entropy
    yield "softonce kernel alone", lambda: row_kernel
    if not is_dry:
        yield "torch compiled", lambda: torch.compile(F.cross_entropy, dynamic=False)
    yield "liger-kernel", _liger_cross_entropy
    yield "quack-kernels", _quack_cross_entropy


def contenders_for_heads(is_dry: bool) -> Iterator[tuple[str, Callable[[], Loss]]]:
    """Name what takes features and the head's weight, and how each is got."""
    yield "torch eager", lambda: F.linear_cross_entropy
    yield "softonce", lambda: softonce.linear_cross_entropy
    if not is_dry:
        yield "torch compiled", lambda: torch.compile(F.linear_cross_entropy, dynamic=False)
    yield "torch chunked", _torch_chunked
    yield "torch chunks of 256", lambda: _torch_chunked(batch_chunk_size=256)
    yield "liger-kernel", _liger_linear
    yield "liger-kernel, fp32 sums", lambda: _liger_linear(accum_dtype=torch.float32)
    yield "cut-cross-entropy", lambda: _cut(filter_eps="high")
    yield "cut-cross-entropy, exact", lambda: _cut(filter_eps=None)
    yield "quack-kernels", _quack_linear


def _torch_chunked(**options: int) -> Loss:
    chosen = LinearCrossEntropyOptions(**options)
    return lambda x, w, target: F.linear_cross_entropy(x, w, target, options=chosen)


def _liger_cross_entropy() -> Loss:
    from liger_kernel.transformers.functional import liger_cross_entropy

    return liger_cross_entropy


def _liger_linear(**options: object) -> Loss:
    from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy as loss

    return lambda x, w, target: loss(x, w, target, **options)


def _cut(**options: object) -> Loss:
    from cut_cross_entropy import linear_cross_entropy as loss

    return lambda x, w, target: loss(x, w, target, **options)


def _quack_cross_entropy() -> Loss:
    from quack.cross_entropy import cross_entropy

    return cross_entropy


def _quack_linear() -> Loss:
    from quack.linear_cross_entropy import chunked_linear_cross_entropy

    return chunked_linear_cross_entropy


class Clock:
    """Time and peak memory of a run: by CUDA events on a GPU, by the wall in a dry run."""

    def __init__(self, device: torch.device) -> None:
        self.is_gpu = device.type == "cuda"
        self.cache = torch.empty(2**26, dtype=torch.int32, device=device) if self.is_gpu else None

    def seconds(self, run: Callable[[], object]) -> tuple[float, float]:
        """Time one run on device and host, the second-level cache emptied before it."""
        if self.cache is None:
            start = time.perf_counter()
            run()
            return (time.perf_counter() - start,) * 2
        self.cache.zero_()
        torch.cuda.synchronize()  # or the host would wait for room in the queue
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start = time.perf_counter()
        first.record()
        run()
        last.record()
        host = time.perf_counter() - start
        last.synchronize()
        return first.elapsed_time(last) / 1e3, host

    def peak_mebibytes(self, run: Callable[[], object]) -> float:
        """Return what a run allocates at most beyond what is there before it."""
        if not self.is_gpu:
            run()
            return float("nan")
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20


def measure(
    problem: Problem,
    contenders: Iterator[tuple[str, Callable[[], Loss]]],
    rounds: int,
    clock: Clock,
) -> dict[str, Measured]:
    """Run each contender twice, then all in turn, as often as `rounds`."""
    measured, losses = {}, {}
    for name, get in contenders:
        found = measured[name] = Measured()
        try:
            losses[name] = get()
            for _ in range(2):
                problem.reset()
                found.loss = problem.run(losses[name]).item()
            problem.reset()
            found.mebibytes = clock.peak_mebibytes(lambda name=name: problem.run(losses[name]))
        except ModuleNotFoundError as error:
            found.failure = f"absent: {error.name} is not installed"
        except Exception as error:  # noqa: BLE001 - one contender's failure is one line of the table
            found.failure = f"{type(error).__name__}: {str(error).splitlines()[0][:60]}"
        if found.failure:
            losses.pop(name, None)
    for _ in range(rounds):
        for name, loss_of in losses.items():
            problem.reset()
            device, host = clock.seconds(lambda loss_of=loss_of: problem.run(loss_of))
            measured[name].seconds.append(device)
            measured[name].host.append(host)
    problem.reset()
    return measured


def problems(is_dry: bool, device: torch.device) -> Iterator[Problem]:
    """Make each problem when it is its turn: two of them would not fit."""
    dtype = torch.float32 if is_dry else torch.bfloat16
    shapes = TINY_LOGITS + TINY_HEADS if is_dry else LOGITS + HEADS
    for shape, valid in itertools.product(shapes, VALID):
        yield _problem(shape, valid, dtype, device)


def _problem(
    shape: tuple[int, ...], valid: float, dtype: torch.dtype, device: torch.device
) -> Problem:
    num_rows, *inner, num_classes = shape
    draw = torch.Generator(device).manual_seed(0)
    make = {"device": device, "dtype": dtype, "generator": draw}
    first = torch.randn(num_rows, *(inner or [num_classes]), **make)
    leaves = [first.clone().requires_grad_()]
    if inner:
        weight = torch.randn(num_classes, *inner, **make) / inner[0] ** 0.5
        leaves.append(weight.requires_grad_())
    target = torch.randint(num_classes, (num_rows,), device=device, generator=draw)
    target[torch.rand(num_rows, device=device, generator=draw) >= valid] = -100
    name = f"{' x '.join(map(str, shape))}, {valid:.0%} valid"
    return Problem(name, tuple(leaves), target, first)


def table(problem: Problem, measured: dict[str, Measured]) -> str:
    """Lay out one problem: milliseconds on device and host, ratio to the first, and memory."""
    lines = [
        problem.name,
        f"  {'':26}{'ms':>10}{'host ms':>10}{'ratio':>8}{'MiB':>10}{'differs':>10}",
    ]
    base = next(iter(measured.values()))
    for name, found in measured.items():
        if found.failure:
            lines.append(f"  {name:26}{found.failure}")
            continue
        seconds = statistics.median(found.seconds)
        ratio = statistics.median(base.seconds) / seconds if base.seconds else float("nan")
        differs = abs(found.loss / base.loss - 1)
        host = statistics.median(found.host)
        lines.append(
            f"  {name:26}{seconds * 1e3:10.3f}{host * 1e3:10.3f}{ratio:8.2f}"
            f"{found.mebibytes:10.0f}{differs:10.1e}"
        )
    return "\n".join(lines)


def times_of(results: dict[str, dict[str, Measured]]) -> dict[str, dict[str, float]]:
    """Return the milliseconds of each contender that was timed, by problem."""
    return {
        name: {who: statistics.median(m.seconds) * 1e3 for who, m in measured.items() if m.seconds}
        for name, measured in results.items()
    }


def figures_of(results: dict[str, dict[str, Measured]]) -> dict[str, object]:
    """Return all that was measured, as the JSON line holds it."""
    return {
        problem: {
            who: m.failure
            or {
                "ms": round(statistics.median(m.seconds) * 1e3, 4),
                "host ms": round(statistics.median(m.host) * 1e3, 4),
                "MiB": None if m.mebibytes != m.mebibytes else round(m.mebibytes, 1),
                "loss": m.loss,
            }
            for who, m in measured.items()
        }
        for problem, measured in results.items()
    }


def ratios_of(results: dict[str, dict[str, Measured]]) -> dict[str, float]:
    """Return how many times faster softonce is than each contender, by problem."""
    ratios = {}
    for problem, measured in results.items():
        ours = measured["softonce"]
        for who, other in measured.items():
            if ours.seconds and other.seconds and not who.startswith("softonce"):
                ratio = statistics.median(other.seconds) / statistics.median(ours.seconds)
                ratios[f"{problem}: {who}"] = ratio
    return ratios


def installed() -> tuple[str, ...]:
    """Return the packages whose versions the result names."""
    names = []
    for name in ("torch", "triton", *PACKAGES):
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        names.append(name)
    return tuple(names)


def main() -> int:
    """Measure, print the tables, and save the result and its picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes on the CPU, once")
    asked = parser.parse_args()
    is_dry = asked.dry_run
    if is_dry:
        os.environ["TRITON_INTERPRET"] = "1"  # before triton is imported
    elif not torch.cuda.is_available():
        sys.stderr.write(
            "expected a GPU that torch can use, found none: "
            "run it on one, or pass --dry-run to see that the script works\n"
        )
        return 2
    device = torch.device("cpu" if is_dry else "cuda")
    rounds, clock, results = 1 if is_dry else asked.rounds, Clock(device), {}
    for problem in problems(is_dry, device):
        contenders = contenders_for_heads if len(problem.leaves) > 1 else contenders_for_logits
        results[problem.name] = measure(problem, contenders(is_dry), rounds, clock)
        print(table(problem, results[problem.name]), flush=True)
    gpu = "none, no measurement" if is_dry else torch.cuda.get_device_name(device)
    figures = figures_of(results) | {"gpu": gpu, "upstream": UPSTREAM}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if is_dry else RESULTS
        path = report(
            "gpu_losses_dry_run" if is_dry else "gpu_losses",
            ratios=ratios_of(results),
            figures=figures,
            packages=installed(),
            folder=folder,
        )
        picture, label = path.with_suffix(".png"), "ms for loss and gradient"
        draw_times(times_of(results), picture, ours="softonce", label=label)
    return 0


if __name__ == "__main__":
    sys.exit(main())
