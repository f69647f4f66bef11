"""Images per second of one training step: ours against torchvision's loop and timm's.

The same architecture, batch, optimizer and images on all sides; in turn, in one process.
torchvision's side is the body of `train_one_epoch` in its references/classification/train.py at its
defaults: float32, contiguous, with the two accuracies and the meters that it updates each step.
timm's is the body of `train_one_epoch` in its train.py: at its defaults (float32, contiguous), and
with what it offers for speed: --channels-last, and --amp --amp-dtype bfloat16 where the processor
multiplies bfloat16 natively. Ours is there three times on such a processor: as `softonce train`
decides by its own measurement, and with each precision fixed by hand. Times are wall-clock seconds,
or with --cpu-time the CPU seconds of this process, for a machine that others use, too: with one
thread, as threads that wait for each other there take CPU seconds as well.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from harness import interleaved, report
from torch import Tensor, nn

from softonce import create_model
from softonce.config import TrainConfig
from softonce.engines.networks import to_layout
from softonce.hardware import has_native_bfloat16
from softonce.precision import bfloat16_pays
from softonce.training.layers import layers_of
from softonce.training.objective import Objective
from softonce.training.optim import build_optimizer
from softonce.training.plan import decide, default_amp, settle
from softonce.training.step import TrainStep

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from torchvision_beside import load_torchvision

LR, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 1e-4
CPU = torch.device("cpu")
Step = Callable[[], object]


def our_step(
    name: str, images: Tensor, target: Tensor, *, amp: bool, compiled: bool = False
) -> Callable[[int], object]:
    """One step of `softonce train` on so many of the images, in a fixed precision."""
    model = to_layout(create_model(name), CPU, torch.channels_last).train()
    asked = TrainConfig(
        "photos", output=Path("run"), recipe="none", lr=LR, momentum=MOMENTUM,
        weight_decay=WEIGHT_DECAY, opt="sgd", amp=amp,
    )  # fmt: skip
    plan = decide(settle(asked, model.default_preprocessing, small=False, num_train=len(images)))
    step = TrainStep(
        model=torch.compile(model) if compiled else model,
        optimizer=build_optimizer(layers_of(model), plan),
        objective=Objective(),
        autocast=partial(torch.autocast, "cpu", dtype=torch.bfloat16, enabled=plan.amp),
    )
    images = images.contiguous(memory_format=torch.channels_last)
    return lambda num: step(images[:num], target[:num], lr=LR)


def our_steps(name: str, images: Tensor, target: Tensor) -> dict[str, Step]:
    """Our step by default, and in each precision that the processor has."""
    fixed = {"float32": our_step(name, images, target, amp=False)}
    chosen, num = "float32", len(images)
    if default_amp(CPU) is None:
        fixed["bfloat16"] = our_step(name, images, target, amp=True)
        chosen = "bfloat16" if bfloat16_pays(fixed, num, what="a step") else "float32"
    default = our_step(name, images, target, amp=chosen == "bfloat16")
    cases = {"softonce": default} | {f"softonce {key}": step for key, step in fixed.items()}
    return {case: partial(step, num) for case, step in cases.items()}


def torchvisions_step(name: str, images: Tensor, target: Tensor) -> Step:
    """One pass through the body of torchvision's loop."""
    model = getattr(load_torchvision().models, name)().train()
    criterion = nn.CrossEntropyLoss()
    optimizer = _sgd(model)
    meters: list[float] = []

    def step() -> None:
        logits = model(images)
        loss = criterion(logits, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.inference_mode():
            top = logits.topk(5, dim=1).indices.t().eq(target)
            meters.extend(top[:k].flatten().sum().item() * 100 / len(target) for k in (1, 5))
        meters.append(loss.item())

    return step


def timms_step(name: str, images: Tensor, target: Tensor, *, best: bool) -> Step:
    """One pass through the body of timm's loop; it reads the loss at its log interval alone."""
    load_torchvision()
    import timm

    layout = torch.channels_last if best else torch.contiguous_format
    model = to_layout(timm.create_model(name), CPU, layout).train()
    images = images.contiguous(memory_format=layout)
    criterion, optimizer = nn.CrossEntropyLoss(), _sgd(model)
    enabled = best and has_native_bfloat16(CPU)  # where it is emulated, it is not their best
    precision = partial(torch.autocast, "cpu", dtype=torch.bfloat16, enabled=enabled)

    def step() -> None:
        with precision():
            logits = model(images)
            loss = criterion(logits, target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)


def main() -> None:
    """Time all, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--size", type=int, default=128, help="side of the images, in pixels")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cpu-time", action="store_true", help="CPU seconds, not the wall's")
    parser.add_argument("--compile", action="store_true", help="also time our compiled step")
    asked = parser.parse_args()
    torch.manual_seed(0)
    images = torch.randn(asked.batch_size, 3, asked.size, asked.size)
    target = torch.randint(1000, (asked.batch_size,))
    ratios, figures = {}, {}
    for name in asked.models:
        cases = {
            **our_steps(name, images, target),
            "torchvision": torchvisions_step(name, images, target),
            "timm": timms_step(name, images, target, best=False),
            "timm at its best": timms_step(name, images, target, best=True),
        }
        if asked.compile:
            compiled = our_step(name, images, target, amp=has_native_bfloat16(CPU), compiled=True)
            cases["softonce compiled"] = partial(compiled, asked.batch_size)
        clock = time.process_time if asked.cpu_time else time.perf_counter
        seconds = interleaved(cases, rounds=asked.rounds, warmup=2, clock=clock)
        rates = {case: asked.batch_size / value for case, value in seconds.items()}
        ours = [case for case in rates if case.startswith("softonce")]
        others = [case for case in rates if case not in ours]
        found = {f"{name}, {a} to {b}": rates[a] / rates[b] for a in ours for b in others}
        fixed = [rates[case] for case in ("softonce float32", "softonce bfloat16") if case in rates]
        found[f"{name}, default to the better precision"] = rates["softonce"] / max(fixed)
        ratios |= found
        figures[name] = {f"{case} img/s": round(rate, 1) for case, rate in rates.items()}
        print(f"{name}: {figures[name]}", *(f"{k} {v:.2f}" for k, v in found.items()), sep="\n  ")
    bfloat16 = has_native_bfloat16(CPU)
    figures |= {"px": asked.size, "batch": asked.batch_size, "native bfloat16": bfloat16}
    figures |= {"clock": "CPU" if asked.cpu_time else "wall", "threads": torch.get_num_threads()}
    report("train_step", ratios=ratios, figures=figures, packages=("torch", "torchvision", "timm"))


if __name__ == "__main__":
    main()
