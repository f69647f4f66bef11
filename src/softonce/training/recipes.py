"""Named recipes: TOML files that fill in what was left open; and which one fits the data."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from softonce.console import LOG
from softonce.errors import UnknownNameError
from softonce.plurals import format_count

if TYPE_CHECKING:
    from softonce.config import TrainConfig

AUTO, PLAIN = "auto", "none"
FINETUNE, FINETUNE_SMALL = "finetune", "finetune-small"
NOTHING = "none"
"""What `--weights` names to start from nothing."""

MANY_IMAGES = 100_000
"""From here on `imagenet-90`, made for 1.28 million photographs, fits from nothing."""

# Of 245 photographs a batch of 256 made one step an epoch, and 12 epochs ended at chance; with 20
# and more they end well above it (benchmarks/small_photos.py).
MIN_STEPS_PER_EPOCH = 20
# A network that starts from nothing needs about so many steps before it is better than a guess.
MIN_STEPS = 1000
# Below this the statistics of batch norm are of too few images.
MIN_BATCH_SIZE = 4

_IN_EPOCHS = ("lr_warmup_epochs", "head_epochs", "lr_step_size")
_SIZES = ("size", "resize", "train_size")


@cache
def read_recipe(name: str) -> dict[str, Any]:
    """Return the options of a recipe, on top of those of `none`.

    Raises:
        UnknownNameError: if there is no such recipe.

    Example:
        >>> read_recipe("imagenet-90")["lr_scheduler"]
        'steplr'
    """
    if name not in recipe_names():
        raise UnknownNameError.of("recipe", name, [AUTO, *recipe_names()])
    plain, own = (_read(part) for part in (PLAIN, name))
    return plain | own


def recipe_names() -> list[str]:
    """Return the names of all recipes, sorted."""
    folder = files("softonce").joinpath("recipes")
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    )


def choose_recipe(config: TrainConfig, *, small: bool, small_network: bool, num_train: int) -> str:
    """Pick a recipe if `--recipe auto` leaves it open, and say which, and why.

    Args:
        config: with `--weights` decided.
        small: whether the pictures are small.
        small_network: whether the network was made for small pictures.
        num_train: how many images there are to learn from.
    """
    if config.recipe != AUTO:
        return config.recipe
    if has_weights(config):
        name = FINETUNE_SMALL if small_network else FINETUNE
        why = f"the network starts from {config.weights}"
    elif small:
        name, why = "scratch-small", f"{num_train:,} small images, no weights"
    else:
        name = "imagenet-90" if num_train >= MANY_IMAGES else "scratch-photos"
        why = f"{num_train:,} large images, no weights"
    LOG.info("recipe %s: %s; --recipe NAME picks another, none is plain", name, why)
    return name


def has_weights(config: TrainConfig) -> bool:
    """Return whether a network starts from weights that have learned."""
    return config.weights not in (None, NOTHING)


def with_sizes(config: TrainConfig) -> TrainConfig:
    """Fill the sizes in that a named recipe sets: they must be known before the images are read."""
    if config.recipe == AUTO or config.size is not None:
        return config
    options = read_recipe(config.recipe)
    return _fill_in(config, {name: options.get(name) for name in _SIZES})


def with_recipe(config: TrainConfig, name: str) -> TrainConfig:
    """Fill in every open option that the recipe sets, but for those that depend on others."""
    later = {*_SIZES, *_IN_EPOCHS, "lr", "batch_size", "epochs"}
    options = {k: v for k, v in read_recipe(name).items() if k not in later}
    return _fill_in(dataclasses.replace(config, recipe=name), options)


def with_enough_steps(config: TrainConfig, num_train: int, *, min_batch_size: int) -> TrainConfig:
    """Fill in the batch and the epochs so that a small set makes enough steps.

    The recipe's batch is halved until an epoch has `MIN_STEPS_PER_EPOCH` steps, and its epochs are
    raised until the run has `MIN_STEPS`, in both cases only if they were left open.

    Args:
        config: with a recipe.
        num_train: how many images there are to learn from.
        min_batch_size: the smallest batch.
    """
    options = read_recipe(config.recipe)
    batch_size, epochs = options["batch_size"], options["epochs"]
    while num_train < MIN_STEPS_PER_EPOCH * batch_size and batch_size // 2 >= min_batch_size:
        batch_size //= 2
    if not has_weights(config):
        epochs = max(epochs, math.ceil(MIN_STEPS / math.ceil(num_train / batch_size)))
    chosen = {"batch_size": batch_size, "epochs": epochs}
    changed = {
        name: f"{name.replace('_', ' ')} {value} instead of {options[name]}"
        for name, value in chosen.items()
        if getattr(config, name) is None and value != options[name]
    }
    if changed:
        LOG.info(
            "%s: with %s an epoch would have fewer than %d steps, or the run fewer than %s",
            ", ".join(changed.values()),
            format_count(num_train, "image"),
            MIN_STEPS_PER_EPOCH,
            f"{MIN_STEPS:,}",
        )
    return _fill_in(config, chosen)


def learning_rate(recipe: str, *, opt: str, batch_size: int, pretrained: bool) -> float:
    """Return a recipe's learning rate, in proportion to the batch.

    Another optimizer than the recipe's, or weights that it does not expect, has the usual rate.

    Source:
        The proportion: Goyal et al. 2017 (arXiv 1706.02677), section 2.1.
    """
    options = read_recipe(recipe)
    rate, batch = options["lr"], options["batch_size"]
    if (opt == "adamw") != (options["opt"] == "adamw"):
        rate, batch = 1e-3, 128
    elif opt == "rmsprop" and options["opt"] != "rmsprop":
        rate = rate / 10
    if pretrained and recipe not in (FINETUNE, FINETUNE_SMALL):
        rate = rate / 10
    return float(rate * batch_size / batch)


def in_epochs(recipe: str, epochs: int) -> dict[str, float]:
    """Return what a recipe says in epochs, in proportion to the epochs that there are."""
    options = read_recipe(recipe)
    share = epochs / options["epochs"]
    fewer = min(1.0, share)
    return {
        "lr_warmup_epochs": fewer * options["lr_warmup_epochs"],
        "head_epochs": math.floor(fewer * options["head_epochs"]),
        "lr_step_size": max(1, round(share * options["lr_step_size"])),
    }


def _fill_in(config: TrainConfig, options: dict[str, Any]) -> TrainConfig:
    chosen: Any = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in options.items()
        if getattr(config, name) is None
    }
    return dataclasses.replace(config, **chosen)


def _read(name: str) -> dict[str, Any]:
    text = (
        files("softonce").joinpath("recipes").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    )
    return tomllib.loads(text)
