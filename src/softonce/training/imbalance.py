"""How many images of each class there are to learn from, and what follows if they are uneven."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from softonce.console import LOG
from softonce.plurals import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from softonce.config import TrainConfig

UNEVEN = 3
"""Of two classes, always answering the one with three times the images is right for 75 % of them:
from here on top-1 looks better than it is."""

MAX_COUNTS = 8
"""Classes whose counts fit on a line."""


def say_counts(counts: Sequence[int], classes: Sequence[str], config: TrainConfig) -> None:
    """Print the number of images of each class; if they are uneven, also what helps.

    Args:
        counts: training images of each class, at least 1.
        classes: class names in index order.
        config: what was asked for, which may help already.
    """
    least, most = int(np.argmin(counts)), int(np.argmax(counts))
    if counts[most] < UNEVEN * counts[least]:
        LOG.info("train: %s", _in_words(counts, classes))
    elif helps := _remedies(config):
        LOG.info("train: %s; %s", _in_words(counts, classes), helps)
    else:
        LOG.warning(
            "train: %s. Every image counts alike: always answering %s would be right for %.1f %% "
            "of them, and %s may hardly be predicted. --sampler balanced shows each class equally "
            "often, --class-weights balanced weighs the loss instead, and --select-by balanced "
            "chooses the epoch by the mean recall of the classes",
            _in_words(counts, classes),
            classes[most],
            100 * counts[most] / sum(counts),
            classes[least],
        )


def _in_words(counts: Sequence[int], classes: Sequence[str]) -> str:
    """Return the counts of a few classes, or the smallest and the largest of many."""
    least, most = int(np.argmin(counts)), int(np.argmax(counts))
    if counts[least] == counts[most]:
        each = format_count(counts[least], "image")
        return f"{each} of each of {format_count(len(counts), 'class')}"
    if len(counts) <= MAX_COUNTS:
        named = zip(counts, classes, strict=True)
        return ", ".join(f"{format_count(count, 'image')} of {name}" for count, name in named)
    num_small = sum(count * UNEVEN <= counts[most] for count in counts)
    few = f", {num_small:,} of them with a third of the largest or less" if num_small else ""
    return (
        f"{format_count(len(counts), 'class')} of {counts[least]:,} ({classes[least]}) to "
        f"{format_count(counts[most], 'image')} ({classes[most]}){few}"
    )


def _remedies(config: TrainConfig) -> str:
    """Return what the configuration does for rare classes; nothing if it does nothing."""
    if config.sampler == "balanced":
        return "--sampler balanced shows each class equally often"
    if config.class_weights != ("none",):
        return f"--class-weights {' '.join(config.class_weights)} weighs them in the loss"
    return ""
