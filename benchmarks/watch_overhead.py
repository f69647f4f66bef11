"""What `softonce.watch()` costs a training loop of 1,000 steps of at least 20 ms, in CPU time.

Wall time on a shared machine scatters by more than the cost that is asked for, so the process's own
CPU time is read, and in two ways. *By parts*: a step that is looked at against one that is not
watched, in turn; and what stays on every other step, on an optimizer that has nothing else to do,
where microseconds show. Of these the cost of 1,000 steps with the defaults is put together. *As a
whole*: the same loop of 1,000 steps with and without `watch`, in turn.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch
from harness import report
from torch import nn
from torch.nn import functional as F

from softonce.checker.runtime import watch

MIN_STEP_SECONDS = 0.020
STEPS = 1000
GOAL = 1.02
NUM_CLASSES, BATCH_SIZE, WIDTH = 10, 64, 10
EMPTY_STEPS = 2000
"""Steps of the empty optimizer that are timed at once."""


class Training:
    """A plain loop over a small convolutional network."""

    def __init__(self) -> None:
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

    def timed(self, steps: int) -> list[float]:
        """Return the CPU seconds of each of so many steps."""
        took = []
        for _ in range(steps):
            start = time.process_time()
            self.step()
            took.append(time.process_time() - start)
        return took

    def whole(self, *, watched: bool) -> float:
        """Return the CPU seconds of the loop, the session's start and end included."""
        start = time.process_time()
        if watched:
            with watch(report=False):
                self.timed(STEPS)
        else:
            self.timed(STEPS)
        return time.process_time() - start


def looked_at(training: Training, pairs: int) -> dict[str, float]:
    """Return the median CPU seconds of a plain step, and of what a step that is looked at adds."""
    plain: list[float] = []
    added: list[float] = []
    for _ in range(pairs):
        (before,) = training.timed(1)
        with watch(steps=1, report=False):
            (watched,) = training.timed(1)
        plain.append(before)
        added.append(watched - before)
    return {"plain": median(plain), "added by a look": median(added)}


def hooks_alone(rounds: int) -> float:
    """Return the CPU seconds that a step costs which is watched and not looked at."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)])

    def empty() -> float:
        start = time.process_time()
        for _ in range(EMPTY_STEPS):
            optimizer.step()
        return (time.process_time() - start) / EMPTY_STEPS

    added = []
    for _ in range(rounds):
        plain = empty()
        with watch(steps=1, every=10 * EMPTY_STEPS, report=False):
            optimizer.step()
            added.append(empty() - plain)
    return median(added)


def composed(parts: dict[str, float]) -> float:
    """Return watched / plain of the loop with the defaults, put together of the parts."""
    defaults = watch()
    looks = sum(step < defaults.steps or step % defaults.every == 0 for step in range(STEPS))
    cost = looks * parts["added by a look"] + (STEPS - looks) * parts["added by the hooks"]
    return 1 + cost / (STEPS * parts["plain"])


def main() -> None:
    """Measure both ways, and write the dated result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    training = Training()
    training.timed(50)
    parts = looked_at(training, asked.pairs)
    parts["added by the hooks"] = hooks_alone(rounds=15)
    wholes: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(asked.rounds):
        for watched, seconds in wholes.items():
            seconds.append(training.whole(watched=watched))
    ratios = {"watched / plain, by parts": composed(parts)}
    if asked.rounds:
        ratios["watched / plain, as a whole"] = median(wholes[True]) / median(wholes[False])
    figures: dict[str, object] = {
        "goal": GOAL,
        "steps": STEPS,
        "threads": 1,
        "CPU ms a step": {name: round(value * 1000, 4) for name, value in parts.items()},
        "at least 20 ms a step": parts["plain"] >= MIN_STEP_SECONDS,
        "CPU s of each whole loop": {
            "plain": [round(s, 2) for s in wholes[False]],
            "watched": [round(s, 2) for s in wholes[True]],
        },
    }
    report("watch_overhead", ratios=ratios, figures=figures)


if __name__ == "__main__":
    main()
