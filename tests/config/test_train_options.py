"""What type checkers know of `softonce.train` is what it takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from softonce import TrainConfig
from softonce.config.train_options import TrainOptions


def alternatives(hint: Any) -> set[Any]:
    """Return what a hint allows, with paths as text, and tuples as sequences."""
    if get_origin(hint) is tuple:
        return {Sequence[get_args(hint)[0]]}
    if hint is Path:
        return {Path, str}
    if get_origin(hint) is Callable:  # a function is spelled, so that the configuration holds text
        return {str}
    if get_args(hint) and get_origin(hint) not in (Literal, Sequence):
        return {one for member in get_args(hint) for one in alternatives(member)}
    return {hint}


def kinds(hint: Any) -> set[Any]:
    return {Sequence if get_origin(one) is Sequence else one for one in alternatives(hint)}


def test_every_option_is_there_with_its_type_and_no_other() -> None:
    asked, taken = get_type_hints(TrainConfig), get_type_hints(TrainOptions)
    names = [field.name for field in dataclasses.fields(TrainConfig)]
    assert list(taken) == names
    for name in names:
        assert kinds(taken[name]) == kinds(asked[name]), name
