"""Images per second of one training step: ours against torchvision's reference loop.

The same network, batch, optimizer and images on both sides; in turn, in one process. torchvision's
side is the body of `train_one_epoch` in its references/classification/train.py at its defaults:
float32, contiguous, with the two accuracies and the meters that it updates each step.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from harness import interleaved, report
from torch import Tensor, nn

from softonce import create_model
from softonce.config import TrainConfig
from softonce.engines import to_layout
from softonce.hardware import has_native_bfloat16
from softonce.losses import cross_entropy
from softonce.training.optim import build_optimizer
from softonce.training.step import TrainStep

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from torchvision_beside import load_torchvision

LR, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 1e-4
CPU = torch.device("cpu")


def our_step(name: str, images: Tensor, target: Tensor) -> Callable[[], object]:
    """One step with the defaults of `softonce train` on this processor."""
    model = to_layout(create_model(name), CPU, torch.channels_last).train()
    config = TrainConfig(lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    enabled = has_native_bfloat16(CPU)
    step = TrainStep(
        model=model,
        optimizer=build_optimizer(model, config),
        loss_fn=cross_entropy,
        autocast=partial(torch.autocast, "cpu", dtype=torch.bfloat16, enabled=enabled),
    )
    images = images.contiguous(memory_format=torch.channels_last)
    return lambda: step(images, target, lr=LR)


def torchvisions_step(name: str, images: Tensor, target: Tensor) -> Callable[[], object]:
    """One pass through the body of torchvision's loop."""
    model = getattr(load_torchvision().models, name)().train()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
    )
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


def main() -> None:
    """Time both, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--size", type=int, default=128, help="side of the images, in pixels")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    torch.manual_seed(0)
    images = torch.randn(asked.batch_size, 3, asked.size, asked.size)
    target = torch.randint(1000, (asked.batch_size,))
    ratios, figures = {}, {}
    for name in asked.models:
        cases = {
            "softonce": our_step(name, images, target),
            "torchvision": torchvisions_step(name, images, target),
        }
        seconds = interleaved(cases, rounds=asked.rounds, warmup=2)
        rates = {case: asked.batch_size / value for case, value in seconds.items()}
        ratios[name] = rates["softonce"] / rates["torchvision"]
        figures[name] = {f"{case} img/s": round(rate, 1) for case, rate in rates.items()}
        print(f"{name}: {figures[name]}, ratio {ratios[name]:.2f}")
    bfloat16 = has_native_bfloat16(CPU)
    figures |= {"px": asked.size, "batch": asked.batch_size, "native bfloat16": bfloat16}
    report("train_step", ratios=ratios, figures=figures, packages=("torch", "torchvision"))


if __name__ == "__main__":
    main()
