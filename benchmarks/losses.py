"""Time and memory of the losses against torch's, on this machine's CPU, interleaved in one run.

    python benchmarks/losses.py            all sizes: about a quarter of an hour
    python benchmarks/losses.py --largest 1000    those with no more classes
    python benchmarks/losses.py --clock CPU       on a machine that others use, too: a thread of two
                                                  that waits for its turn makes the other wait

Each case is timed twice: the CPU time of one thread, and the wall time of two; the least of all
rounds counts, since other work on the machine only adds. `forward` asks for no gradient: its logits
need none, and a head is under `no_grad` with a Parameter as its weight. The rows that ours loses
are printed at the end. Extra memory is the peak of the process above the inputs and the returned
gradients, each case in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from harness import draw_times, hardware, interleaved, report

from softonce import cross_entropy, linear_cross_entropy
from softonce.losses.kernels.products import product_dtype

CPU = torch.device("cpu")
LOGITS = ((64, 10), (256, 1000), (256, 21843), (512, 128256))
HEADS = ((64, 512, 10), (256, 512, 1000), (256, 2048, 21843), (512, 512, 128256))
STEPS = ((64, 512, 10), (256, 512, 1000))
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
CLOCKS = {"CPU, 1 thread": (1, time.process_time), "wall, 2 threads": (2, time.perf_counter)}
SECONDS = 0.25
"""What a case is repeated for, in a clock: at least three times."""
MEMORY = (1024, 512, 128256)
LARGE = (8192, 1024, 256_000)


def plain(features, weight, target, **options):
    return F.cross_entropy(F.linear(features, weight), target, **options)


def chunked(features, weight, target, **options):
    chunks = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=256)
    return F.linear_cross_entropy(features, weight, target, options=chunks, **options)


def sure(loss_of):
    """Return the loss of what a trained network gives: rows whose target is nearly certain."""

    def loss(logits, target, **options):
        return loss_of(logits + 12 * F.one_hot(target, logits.shape[1]), target, **options)

    return loss


def draw_logits(shape, dtype):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(shape, generator=generator).to(dtype)
    return [logits.requires_grad_()], torch.randint(shape[1], (shape[0],), generator=generator)


def draw_head(shape, dtype):
    num_rows, in_features, num_classes = shape
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(num_rows, in_features, generator=generator).to(dtype)
    weight = (torch.randn(num_classes, in_features, generator=generator) / in_features**0.5).to(
        dtype
    )
    target = torch.randint(num_classes, (num_rows,), generator=generator)
    return [features.requires_grad_(), torch.nn.Parameter(weight)], target


def forward(loss_of, leaves, target):
    with torch.no_grad():
        loss_of(*leaves, target)


def step(loss_of, leaves, target):
    for leaf in leaves:
        leaf.grad = None
    loss_of(*leaves, target).sum().backward()


def none(loss_of):
    return partial(loss_of, reduction="none")


def contenders(is_head):
    """Return who takes part in `forward` and in forward and backward; torch's plain form first."""
    torchs, ours = (plain, linear_cross_entropy) if is_head else (F.cross_entropy, cross_entropy)
    both = {"torch": torchs, "ours": ours}
    compiled = {f"{name} compiled": torch.compile(loss_of) for name, loss_of in both.items()}
    others = {"torch.linear_cross_entropy": F.linear_cross_entropy, "torch in chunks": chunked}
    return both | compiled | (others if is_head else {})


def cases_of(shape, dtype):
    """Yield each problem of a shape: its name, and what to time by contender."""
    is_head = len(shape) == 3
    leaves, target = (draw_head if is_head else draw_logits)(shape, dtype)
    found = contenders(is_head)
    if is_head and dtype != torch.float32 and shape[-1] > 1000:
        is_slow = product_dtype(dtype, CPU) == torch.float32  # torch then takes minutes a step
        found = {name: f for name, f in found.items() if not is_slow or "ours" in name}
    both = {name: found[name] for name in ("torch", "ours") if name in found}
    half = target.clone()
    half[::2] = -100

    def timed(run, functions, target=target):
        return {name: partial(run, f, leaves, target) for name, f in functions.items()}

    yield "forward", timed(forward, found)
    yield "forward and backward", timed(step, found)
    yield "none, forward and backward", timed(step, {n: none(f) for n, f in both.items()})
    yield "half of the rows ignored", timed(step, both, half)
    if not is_head and shape[1] <= 1000:
        yield "sure rows, forward and backward", timed(step, {n: sure(f) for n, f in both.items()})


def steps_of(shape):
    """Yield a compiled training step of two hidden layers, a head and its loss."""
    num_rows, width, num_classes = shape
    torch.manual_seed(0)
    body = torch.nn.Sequential(*(torch.nn.Linear(width, width) for _ in range(2)))
    head = torch.nn.Linear(width, num_classes, bias=False)
    images, target = torch.randn(num_rows, width), torch.randint(num_classes, (num_rows,))

    def whole(loss_of):
        compiled = torch.compile(lambda x, y: loss_of(body(x), head.weight, y), fullgraph=True)
        return partial(step, lambda y: compiled(images, y), [])

    def of_logits(features, weight, target):
        return cross_entropy(F.linear(features, weight), target)

    losses = {"torch": plain, "ours": linear_cross_entropy, "ours, cross_entropy": of_logits}
    yield "compiled step", {name: partial(whole(f), target) for name, f in losses.items()}


def measure(cases, clock):
    """Return the least seconds of a call, by contender: small calls are timed many at once."""
    threads, read = CLOCKS[clock]
    torch.set_num_threads(threads)
    for run in cases.values():
        run()  # compiles
    longest = max(_seconds(run) for run in cases.values())
    times = max(1, min(100, int(SECONDS / 20 / longest)))
    rounds = max(3, min(31, int(SECONDS / (times * longest))))
    repeated = {name: partial(_repeat, run, times) for name, run in cases.items()}
    least = interleaved(repeated, rounds=rounds, clock=read, of_rounds=min)
    return {name: seconds / times for name, seconds in least.items()}


def _seconds(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _repeat(run, times):
    for _ in range(times):
        run()


def problems(largest):
    """Yield every problem: its name, and what to time."""
    for shape in LOGITS + HEADS:
        if shape[-1] > largest:
            continue
        for name, dtype in DTYPES.items():
            torch.compiler.reset()  # or a shape would be compiled for any that follows
            for what, cases in cases_of(shape, dtype):
                yield f"{' x '.join(map(str, shape))}, {name}, {what}", cases
    for shape in STEPS:
        torch.compiler.reset()
        for what, cases in steps_of(shape):
            yield f"{' x '.join(map(str, shape))}, float32, {what}", cases


def resident():
    """Return the memory of this process, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def extra_memory(name, shape, dtype):
    """Return the peak above inputs and gradients of one step, in MiB, after a small warm-up."""
    loss_of = {"torch": plain, "ours": linear_cross_entropy}[name]
    step(loss_of, *draw_head((8, 8, 8), dtype))
    leaves, target = draw_head(shape, dtype)
    peak, done = [0.0], threading.Event()

    def watch():
        while not done.wait(0.0005):
            peak[0] = max(peak[0], resident())

    before = resident()
    watcher = threading.Thread(target=watch)
    watcher.start()
    step(loss_of, leaves, target)
    done.set()
    watcher.join()
    gradients = sum(leaf.numel() * leaf.itemsize for leaf in leaves) / 2**20
    return max(peak[0], resident()) - before - gradients


def memory_figures(largest):
    """Return the extra memory of each head and dtype, each measured in a process of its own."""
    shapes = [shape for shape in (HEADS[2], MEMORY, LARGE) if shape[-1] <= largest]
    found = {}
    for shape in shapes:
        for dtype, kind in DTYPES.items():
            is_slow = product_dtype(kind, CPU) != kind
            names = ("ours",) if shape == LARGE or is_slow else ("torch", "ours")
            for name in names if shape != LARGE or dtype == "float32" else ():
                command = [sys.executable, __file__, "--memory", json.dumps([name, shape, dtype])]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                title = f"{' x '.join(map(str, shape))}, {dtype}, {name}"
                found[title] = round(float(done.stdout.splitlines()[-1]), 1)
                print(f"extra MiB: {title}: {found[title]}", flush=True)
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    parser.add_argument("--largest", type=int, default=10**9, help="classes of a problem at most")
    parser.add_argument("--clock", choices=("CPU", "wall"), default="", help="one of the two")
    asked = parser.parse_args()
    if asked.memory:
        name, shape, dtype = json.loads(asked.memory)
        print(extra_memory(name, tuple(shape), DTYPES[dtype]))
        return
    print(f"{hardware()}, torch {torch.__version__}")
    clocks = [clock for clock in CLOCKS if clock.startswith(asked.clock)]
    ratios, milliseconds = {}, {}
    for title, cases in problems(asked.largest):
        for clock in clocks:
            least = measure(cases, clock)
            full = f"{title} ({clock})"
            milliseconds[full] = {name: round(s * 1e3, 4) for name, s in least.items()}
            base = least.get("torch")
            shown = "  ".join(f"{name} {s * 1e3:.4g}" for name, s in least.items())
            print(f"{full}: {shown} ms", flush=True)
            ratios |= {
                f"{full}: {name}": base / seconds
                for name, seconds in least.items()
                if base is not None and name.startswith("ours")
            }
    figures = {"milliseconds": milliseconds, "extra MiB": memory_figures(asked.largest)}
    lost = [f"  {ratio:5.2f}x  {name}" for name, ratio in ratios.items() if ratio < 1]
    print(f"\n{len(lost)} of {len(ratios)} rows lost to torch", *lost, sep="\n")
    path = report("losses", ratios=ratios, figures=figures)
    panels = {
        name: times
        for name, times in milliseconds.items()
        if f"float32, forward and backward ({clocks[-1]}" in name
    }
    label = "ms, forward and backward"
    draw_times(panels, path.with_suffix(".png"), ours="ours", label=label)


if __name__ == "__main__":
    main()
