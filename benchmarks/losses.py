"""Time and memory of the losses against torch's, on this machine's CPU, interleaved in one run.

    python benchmarks/losses.py

Each case is a forward and a backward pass. Extra memory is the peak of the process above the
inputs and the returned gradients, each case in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from harness import draw_times, hardware, interleaved, report

from softonce import cross_entropy, linear_cross_entropy
from softonce.losses.kernels.products import product_dtype

CPU = torch.device("cpu")
HEADS = {(64, 512, 10): 200, (256, 512, 1000): 40, (256, 2048, 21843): 5, (1024, 512, 128256): 3}
LOGITS = {(64, 10): 300, (256, 1000): 200, (256, 21843): 20, (512, 128256): 5}
MEMORY = (1024, 512, 128256)
LARGE = (8192, 1024, 256_000)


def eager(features, weight, target):
    return F.cross_entropy(F.linear(features, weight), target)


def chunked(features, weight, target, size=None):
    options = torch.nn.LinearCrossEntropyOptions(**({"batch_chunk_size": size} if size else {}))
    return F.linear_cross_entropy(features, weight, target, options=options)


def autocast(loss_of, *tensors):
    with torch.autocast("cpu", torch.bfloat16):
        return loss_of(*tensors)


HEAD_CASES = {
    "torch": eager,
    "torch, half of the rows ignored": eager,
    "torch.linear_cross_entropy": F.linear_cross_entropy,
    "torch chunked, 256 rows": partial(chunked, size=256),
    "torch chunked, default": chunked,
    "torch bf16": partial(autocast, eager),
    "ours": linear_cross_entropy,
    "ours, upstream 3": linear_cross_entropy,
    "ours, half of the rows ignored": linear_cross_entropy,
    "ours bf16": partial(autocast, linear_cross_entropy),
}


def head(shape):
    num_rows, in_features, num_classes = shape
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(num_rows, in_features, generator=generator)
    weight = torch.randn(num_classes, in_features, generator=generator) / in_features**0.5
    target = torch.randint(num_classes, (num_rows,), generator=generator)
    return features.requires_grad_(), weight.requires_grad_(), target


def step(loss_of, leaves, target, upstream=1):
    for leaf in leaves:
        leaf.grad = None
    loss = loss_of(*leaves, target)
    (loss if upstream == 1 else loss * upstream).backward()


def time_heads(shape, rounds):
    *leaves, target = head(shape)
    half = target.clone()
    half[::2] = -100
    cases = {}
    for name, loss_of in HEAD_CASES.items():
        wanted = half if "ignored" in name else target
        cases[name] = partial(step, loss_of, leaves, wanted, 3 if "upstream" in name else 1)
    num_classes, once = shape[2], {}
    if num_classes > 10_000 and product_dtype(torch.bfloat16, CPU) == torch.float32:
        del cases["torch bf16"]  # emulated: minutes a step
    if num_classes > 50_000:  # half a minute a step
        once["torch chunked, default"] = cases.pop("torch chunked, default")
    return interleaved(cases, rounds=rounds) | interleaved(once, rounds=1, warmup=0)


def time_logits(shape, rounds):
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = torch.arange(shape[0]) % shape[1]
    compiled = torch.compile(F.cross_entropy)
    functions = {"torch": F.cross_entropy, "torch compiled": compiled, "ours": cross_entropy}
    cases = {name: partial(step, loss_of, [logits], target) for name, loss_of in functions.items()}
    return interleaved(cases, rounds=rounds, warmup=2)


def resident():
    """Return the memory of this process, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def extra_memory(name, shape):
    """Return the peak above inputs and gradients of one step, in MiB, after a small warm-up."""
    step(HEAD_CASES[name], *_split(head((8, 8, 8))))
    leaves, target = _split(head(shape))
    peak, done = [0.0], threading.Event()

    def watch():
        while not done.wait(0.0005):
            peak[0] = max(peak[0], resident())

    before = resident()
    watcher = threading.Thread(target=watch)
    watcher.start()
    step(HEAD_CASES[name], leaves, target)
    done.set()
    watcher.join()
    gradients = sum(leaf.numel() * 4 for leaf in leaves) / 2**20
    return max(peak[0], resident()) - before - gradients


def _split(tensors):
    *leaves, target = tensors
    return leaves, target


def measure_elsewhere(name, shape):
    command = [sys.executable, __file__, "--memory", name, "--shape", json.dumps(shape)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def show(title, medians):
    print(f"\n{title}")
    for name, seconds in medians.items():
        print(f"  {name:34s}{seconds * 1e3:12.3f} ms{medians['torch'] / seconds:8.2f}x")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--memory")
    parser.add_argument("--shape")
    options = parser.parse_args()
    if options.memory:
        print(extra_memory(options.memory, tuple(json.loads(options.shape))))
        return
    torch.set_num_threads(2)
    print(f"{hardware()}, torch {torch.__version__}, float32 unless it says bf16")
    ratios, figures = {}, {"milliseconds": {}, "extra MiB": {}}
    for shapes, time_one in ((LOGITS, time_logits), (HEADS, time_heads)):
        for shape, rounds in shapes.items():
            title = " x ".join(map(str, shape))
            medians = time_one(shape, rounds)
            show(title, medians)
            figures["milliseconds"][title] = {k: round(v * 1e3, 4) for k, v in medians.items()}
            base = medians["torch"]
            ratios |= {
                f"{title}: {name}": base / t for name, t in medians.items() if "ours" in name
            }
            half = medians.get("ours, half of the rows ignored")
            if half is not None:
                ratios[f"{title}: half ignored against all rows"] = medians["ours"] / half
                default = medians["torch chunked, default"]
                ratios[f"{title}: ours against torch chunked, default"] = default / medians["ours"]
    for name in ("torch", "ours", "ours bf16"):
        figures["extra MiB"][name] = round(measure_elsewhere(name, MEMORY), 1)
    figures["extra MiB"]["ours, 8192 x 1024 x 256000"] = round(measure_elsewhere("ours", LARGE), 1)
    print(f"\nextra memory, {MEMORY}: {figures['extra MiB']}")
    extra = figures["extra MiB"]
    ratios["extra memory: torch against ours"] = extra["torch"] / max(extra["ours"], 1.0)
    path = report("losses", ratios=ratios, figures=figures)
    label = "ms, forward and backward"
    draw_times(figures["milliseconds"], path.with_suffix(".png"), ours="ours", label=label)


if __name__ == "__main__":
    main()
