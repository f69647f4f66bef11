"""What `softonce.watch()` costs a training loop, the loss looks included.

The same loop of 1,000 steps of at least 20 ms, watched with the defaults and not, in turn.
"""

from __future__ import annotations

import argparse
import time

import torch
from harness import interleaved, report
from torch import nn
from torch.nn import functional as F

from softonce.checker.runtime import watch

MIN_STEP_SECONDS = 0.020
NUM_CLASSES, BATCH_SIZE, WIDTH = 10, 64, 9


class Training:
    """A plain loop over a small convolutional network."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randn(BATCH_SIZE, 3, 32, 32, generator=generator)
        self.target = torch.randint(NUM_CLASSES, (BATCH_SIZE,), generator=generator)
        layers = [layer for _ in range(4) for layer in (nn.LazyConv2d(WIDTH, 3), nn.ReLU())]
        self.net = nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(NUM_CLASSES))
        self.net(self.images)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.01)

    def step(self) -> None:
        """Make one step."""
        loss = F.cross_entropy(self.net(self.images), self.target)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def plain(self) -> None:
        """Run the loop."""
        for _ in range(self.steps):
            self.step()

    def watched(self) -> None:
        """Run the same loop, watched with the defaults."""
        with watch(report=False):
            self.plain()


def main() -> None:
    """Time both loops, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    training = Training(asked.steps)
    start = time.perf_counter()
    for _ in range(20):
        training.step()
    step_seconds = (time.perf_counter() - start) / 20
    seconds = interleaved(
        {"plain": training.plain, "watched": training.watched}, rounds=asked.rounds, warmup=0
    )
    ms = {name: round(value / asked.steps * 1000, 3) for name, value in seconds.items()}
    figures: dict[str, object] = {
        "steps": asked.steps,
        "threads": 1,
        "rounds": asked.rounds,
        "ms a step": ms,
    }
    figures["at least 20 ms a step"] = ms["plain"] >= MIN_STEP_SECONDS * 1000
    print(f"a step takes {step_seconds * 1000:.1f} ms before the timing")
    report(
        "watch_overhead",
        ratios={"watched / plain": seconds["watched"] / seconds["plain"]},
        figures=figures,
    )


if __name__ == "__main__":
    main()
