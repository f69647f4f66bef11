"""What a run notices about itself, each in one line while it happens."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from softonce.console import LOG
from softonce.floors import double_softmax_floor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TypeVar

    from softonce.metrics import Figures

    Item = TypeVar("Item")

PLATEAU_EPOCHS = 3
"""Epochs in a row at the floor; a single one can be chance."""
UNPREDICTED_EPOCHS = 5
"""A class may come late: in the first epochs a network often knows one class only."""
DIVERGED = 2.0
"""A loss of twice that of guessing is no noise."""
STARVED_SHARE = 0.4
"""Below it more workers would change little."""
STARVED_SECONDS = 2.0
"""Shorter epochs are mostly the start of the workers."""


def watch_floor(plateau: int, num_classes: int, loss: float, top1: float) -> int:
    """Say when a loss sits where only a second softmax keeps it: nearly all right, yet so high.

    Returns:
        Epochs in a row at the floor, which were `plateau` before this one.
    """
    floor = double_softmax_floor(num_classes)
    plateau = plateau + 1 if floor <= loss <= 1.05 * floor and top1 >= 0.9 else 0
    if plateau == PLATEAU_EPOCHS:
        LOG.warning(
            "the loss has stood at %.3f for %d epochs, with %.0f %% right: that is the floor "
            "ln(1 + (C-1)/e) = %.3f of a network with its own softmax; give logits to the loss",
            loss,
            PLATEAU_EPOCHS,
            100 * top1,
            floor,
        )
    return plateau


@dataclass
class Watch:
    """Says each thing once a sitting.

    Args:
        classes: class names in index order.
        workers: processes that decode.
    """

    classes: tuple[str, ...]
    workers: int
    said: set[str] = field(default_factory=set)
    unpredicted: dict[str, int] = field(default_factory=dict)
    waited: float = 0.0
    since: float = field(default_factory=time.monotonic)

    def time_waits(self, batches: Iterable[Item]) -> Iterator[Item]:
        """Pass batches on, and say when the step mostly waits for them."""
        iterator = iter(batches)
        next_batch = next(iterator, None)  # the first one starts the workers: it does not count
        self.waited, self.since = 0.0, time.monotonic()
        while next_batch is not None:
            yield next_batch
            begin = time.monotonic()
            next_batch = next(iterator, None)
            now = time.monotonic()
            self.waited += now - begin
            self._watch_waiting(now - self.since)

    def _watch_waiting(self, seconds: float) -> None:
        if seconds >= STARVED_SECONDS and self.waited > STARVED_SHARE * seconds:
            self._say(
                "waiting",
                f"{self.waited / seconds:.0%} of the time is spent waiting for images: raise "
                f"--workers (now {self.workers}), or make the files smaller",
            )

    def loss(self, loss: float, least: float | None) -> None:
        """Say when the loss is far above guessing, or back above it after it was far below.

        Args:
            loss: the epoch's mean so far, in nats.
            least: that of the best epoch before, or None.
        """
        guessing = math.log(len(self.classes))
        had_learned = least is not None and least < guessing / DIVERGED
        if loss > DIVERGED * guessing or (had_learned and loss > guessing):
            before = "" if least is None else f", {least:.3f} at its least"
            self._say(
                "diverging",
                f"the loss is {loss:.3f} (guessing evenly: {guessing:.3f}{before}): the training "
                "diverges; lower --lr, raise --lr-warmup-epochs or set --clip-grad-norm 1",
            )

    def predictions(self, found: Figures) -> None:
        """Say when a class of val has not been predicted for five epochs in a row."""
        if not found.confusion:
            return
        columns = [sum(column) for column in zip(*found.confusion, strict=True)]
        rows = [sum(row) for row in found.confusion]
        for name, support, predicted in zip(self.classes, rows, columns, strict=True):
            missing = support > 0 and predicted == 0
            self.unpredicted[name] = self.unpredicted.get(name, 0) + 1 if missing else 0
            if self.unpredicted[name] == UNPREDICTED_EPOCHS:
                self._say(
                    "unpredicted",
                    f"for {UNPREDICTED_EPOCHS} epochs no image of val has been taken for {name!r}, "
                    f"though {support} are: look at its images, or try --class-weights balanced",
                )

    def _say(self, kind: str, text: str) -> None:
        if kind not in self.said:
            self.said.add(kind)
            LOG.warning("%s", text)
