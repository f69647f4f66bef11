"""`--lr find`: rates are tried on a copy; if that says nothing the default stays.

No image is seen twice in a trial, so the loss of each step is of images that the network has not
learned from: a network that learns them by heart looks no better for it.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from contextlib import closing
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import TYPE_CHECKING

from softonce.console import LOG
from softonce.distributed import on_rank_zero
from softonce.errors import ConfigError
from softonce.files import replacing
from softonce.plurals import format_count
from softonce.training.plan import decide
from softonce.training.trial import Build, advance, build_trial

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from softonce.config import TrainConfig

LR_RANGE = {"adamw": (1e-6, 1.0)}
LR_STEPS = 100
"""Steps of a trial, or one epoch if that is shorter: fastai takes 100, too."""
MIN_LR_STEPS = 50
"""Of fewer, a decade of rates has less than eight, and the smoothed loss lags behind by ten."""

_SMOOTHING = 0.9
"""Weight of the average so far: the loss of one batch is noisy, and ten steps are a tenth of a
trial."""
_DIVERGED = 4  # times the least loss: no rate above can be the best
_CERTAIN = 2  # standard errors
_WARM_UP = 0.2  # share of a trial's steps, as recipes warm up before their largest rate


@dataclass(frozen=True)
class Sweep:
    """The losses of one pass over the training images, while the rate rises.

    Args:
        num_steps: how many were to be made, of which the last may have been left out.
        rates: the rate of each step.
        losses: the loss of each step, before it was made.
    """

    num_steps: int

    rates: list[float]
    losses: list[float]

    @property
    def smooth(self) -> list[float]:
        """The exponential moving average of the losses, without its bias towards zero."""
        found, average = [], 0.0
        for step, loss in enumerate(self.losses, start=1):
            average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
            found.append(average / (1 - _SMOOTHING**step))
        return found

    @property
    def best(self) -> float:
        """A tenth of the rate at which the smoothed loss was lowest, to three digits."""
        smooth = self.smooth
        return float(f"{self.rates[smooth.index(min(smooth))] / 10:.3g}")

    def objection(self) -> str | None:
        """Return why nothing can be chosen by these losses; None if something can."""
        if self.num_steps < MIN_LR_STEPS:
            steps = format_count(self.num_steps, "step")
            return f"{steps} in one pass over the images, and {MIN_LR_STEPS} tell rates apart"
        smooth = self.smooth
        if not math.isfinite(min(smooth)) or smooth.index(min(smooth)) == 0:
            return "the loss only rose"
        # Neighbours differ only by noise, as the rate hardly does.
        noise = statistics.pstdev(b - a for a, b in pairwise(self.losses)) / math.sqrt(2)
        error = noise * math.sqrt((1 - _SMOOTHING) / (1 + _SMOOTHING))
        drop = statistics.fmean(self.losses[: len(self.losses) // 5]) - min(smooth)
        if drop < 2 * _CERTAIN * error:
            return f"the loss fell by {drop:.3f}, no more than its noise makes it"
        return None


def find_lr(config: TrainConfig, build: Build) -> float:
    """Return the learning rate to train with: a better one than the default, or the default.

    The rate rises from tiny to huge over one pass over the training images; a tenth of the rate
    with the lowest loss is the candidate. It then has to beat the default, on equally many steps
    each from the same weights. A lower candidate is taken only if the network does not learn with
    the default: in the short run a low rate looks better than it is in the end.

    Args:
        config: settled, with `--lr find`.
        build: a plan -> a job on a copy of the network.

    Raises:
        ConfigError: if the first loss is not finite.

    Source:
        Smith 2015 (arXiv 1506.01186), section 3.3, for the sweep; Wu et al. 2018 (arXiv
        1803.02021) for what short trials get wrong.
    """
    default = decide(dataclasses.replace(config, lr=None)).lr
    sweep = _sweep(config, build)
    objection = sweep.objection() or _worse(sweep, default, lambda lr: _losses(config, build, lr))
    chosen = default if objection else sweep.best
    output = decide(dataclasses.replace(config, lr=chosen)).folder
    on_rank_zero(lambda: _draw(sweep, chosen, default, output.lr_find))
    if objection:
        LOG.info("lr %g, the default: --lr find chose none (%s); see %s",
                 default, objection, output.lr_find)  # fmt: skip
    else:
        LOG.info(
            "lr %g, which beat the default %g: a tenth of the rate at which the loss was lowest "
            "(%.3f) in %d steps from %g up; see %s",
            chosen,
            default,
            min(sweep.smooth),
            len(sweep.rates),
            sweep.rates[0],
            output.lr_find,
        )
    return chosen


def _sweep(config: TrainConfig, build: Build) -> Sweep:
    """Raise the rate with every step, until the loss is far above its least."""
    job = build_trial(config, build)
    low, high = LR_RANGE.get(job.plan.opt, (1e-5, 10.0))
    num = min(LR_STEPS, len(job.train))
    found = Sweep(num, [], [])
    with closing(job.train), closing(job.train.batches()) as batches:
        for step, batch in enumerate(islice(batches, num)):
            lr = low * (high / low) ** (step / max(1, num - 1))
            loss = advance(job, batch, step, lr)
            if not math.isfinite(loss):
                break
            found.rates.append(lr)
            found.losses.append(loss)
            if found.smooth[-1] > _DIVERGED * min(found.smooth):
                break
    if not found.rates:
        raise ConfigError("expected a finite loss for --lr find, found none: look at the images")
    return found


def _losses(config: TrainConfig, build: Build, lr: float) -> list[float]:
    """Return the losses of one pass with this rate, after a warm-up."""
    job = build_trial(config, build)
    num = min(LR_STEPS, len(job.train))
    with closing(job.train), closing(job.train.batches()) as batches:
        return [
            advance(job, batch, step, lr * min(1.0, (step + 1) / (_WARM_UP * num)))
            for step, batch in enumerate(islice(batches, num))
        ]


def _worse(sweep: Sweep, default: float, run: Callable[[float], list[float]]) -> str | None:
    """Return why the candidate is no better than the default, from a trial of each."""
    if math.isclose(sweep.best, default, rel_tol=0.1):
        return f"the sweep found {sweep.best:g}, which is the same"
    usual, found = run(default), run(sweep.best)
    start = statistics.fmean(sweep.losses[: len(sweep.losses) // 5])
    late = len(usual) // 2  # from here on half of the images have been learned from
    gains = [a - b for a, b in zip(usual[late:], found[late:], strict=True)]
    if all(map(math.isfinite, found)) and not all(map(math.isfinite, usual)):
        return None
    if sweep.best < default and statistics.fmean(usual[late:]) < start:
        return f"the sweep found {sweep.best:g}, but the network learns with more"
    if not statistics.fmean(gains) > _CERTAIN * _error_of_mean(gains):
        return f"{sweep.best:g}, which the sweep found, was no better in {len(usual)} steps of each"
    return None


def _error_of_mean(values: list[float]) -> float:
    mean = statistics.fmean(values)  # by hand, as `statistics.stdev` takes no NaN
    return math.sqrt(sum((x - mean) ** 2 for x in values) / (len(values) - 1) / len(values))


def _draw(sweep: Sweep, chosen: float, default: float, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.semilogx(sweep.rates, sweep.losses, ".", color="#9db8d2", markersize=4, label="each step")
    axes.semilogx(sweep.rates, sweep.smooth, color="#2066a8", linewidth=2, label="smoothed")
    axes.axvline(chosen, color="#c0392b", linestyle="--", label=f"chosen: {chosen:g}")
    if chosen != default:
        axes.axvline(default, color="#808080", linestyle=":", label=f"default: {default:g}")
    axes.set(xlabel="learning rate", ylabel="training loss of new images (nats)")
    axes.set_title("Loss while the learning rate rises, in one pass over the images", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
