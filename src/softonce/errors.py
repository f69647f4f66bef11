"""What can go wrong, as one tree; every message says what was expected, found, and to be done.

::

    SoftonceError                 the command line prints its message and ends with status 2
    ├── ArgumentError             a value that the caller passed (also a ValueError)
    │   └── UnknownNameError      a name that is in no list; the message has the nearest ones
    ├── ConfigError               a TOML file or a flag
    ├── DataError                 a folder of images, or one image (`ImageError`)
    │   └── ImageError            one file that cannot be read as an image
    ├── WeightsError              a state dict that does not fit, or cannot be had
    ├── ArtefactError             a model file that is not, or no longer, what it should be
    ├── CheckpointError           a training state that cannot be resumed
    ├── TrainingError             the loss has become infinite or NaN
    ├── StorageError              a file cannot be written
    └── MissingExtraError         an optional package is not installed (also an ImportError)
"""

from __future__ import annotations

import difflib
import importlib
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_SHOWN = 60  # characters of a value in a message, which stays on one line


class SoftonceError(Exception):
    """Root of everything that softonce raises on purpose."""


class ArgumentError(SoftonceError, ValueError):
    """An argument has the wrong shape, type or value."""


class UnknownNameError(ArgumentError):
    """A name is in no list.

    Example:
        >>> print(UnknownNameError.of("model", "resnet5", ["resnet18", "resnet50", "vgg"]))
        expected a known model, found 'resnet5'; did you mean resnet50?
        >>> print(UnknownNameError.of("model", "ResNet-20", ["resnet18", "cifar_resnet20"]))
        expected a known model, found 'ResNet-20'; did you mean cifar_resnet20?
    """

    @classmethod
    def of(
        cls, kind: str, name: str, known: Iterable[str], *, listing: str = ""
    ) -> UnknownNameError:
        """Build the error with the nearest of the `known` names, or all of them if none is near.

        If they are too many for a line, `listing` is the command that lists them.
        """
        known = list(known)
        if guess := _same_but_for_affixes(name, known):
            return cls(f"expected a known {kind}, found {name!r}; did you mean {guess}?")
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        every = f"{listing} lists all {len(known):,}" if listing else f"known: {', '.join(known)}"
        hint = f"the nearest names are: {', '.join(near)}" if near else every
        return cls(f"expected a known {kind}, found {name!r}; {hint}")


def _same_but_for_affixes(name: str, known: list[str]) -> str | None:
    """Return the only known name that ends in `name` or begins with it, spelling aside."""
    key = _fold_spelling(name)
    for fits in (str.__eq__, str.endswith, str.startswith):
        found = [each for each in known if key and fits(_fold_spelling(each), key)]
        if len(found) == 1:
            return found[0]
    return None


def _fold_spelling(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())


class ConfigError(SoftonceError):
    """A TOML file or a flag holds something that is not understood."""


class DataError(SoftonceError):
    """A folder of images cannot be used as it is."""


class ImageError(DataError):
    """One file cannot be read as an image; the message is only the reason."""


class WeightsError(SoftonceError):
    """A state dict does not fit the model, or cannot be downloaded or read."""


class ArtefactError(SoftonceError):
    """A file is not an artefact of softonce, or is damaged."""


class CheckpointError(SoftonceError):
    """A training state is missing, damaged, or belongs to another run."""


class TrainingError(SoftonceError):
    """Training cannot continue: the loss is infinite or NaN."""


class StorageError(SoftonceError):
    """A file cannot be written: a full disk, or a folder that is not ours."""


class MissingExtraError(SoftonceError, ImportError):
    """An optional package is not installed.

    Example:
        >>> print(MissingExtraError.of("torch", "train"))
        'torch' is not installed; install it with: pip install "softonce[train]"
    """

    @classmethod
    def of(cls, package: str, extra: str) -> MissingExtraError:
        """Build the error that names the package and the command that installs its extra."""
        return cls(
            f'{package!r} is not installed; install it with: pip install "softonce[{extra}]"'
        )


def import_extra(package: str, extra: str) -> Any:
    """Import a package that comes with an extra.

    Raises:
        MissingExtraError: if it, or what it needs, is not installed.

    Example:
        >>> import_extra("no_such_package", "parquet")
        Traceback (most recent call last):
        softonce.errors.MissingExtraError: 'no_such_package' is not installed; install it with: ...
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingExtraError.of(error.name or package, extra) from error


def describe_error(error: BaseException, most: int = 200) -> str:
    r"""Return what an error says, in one line of at most so many letters; its type if nothing.

    Example:
        >>> describe_error(ValueError("two\n  lines")), describe_error(KeyError())
        ('two lines', 'KeyError')
    """
    return " ".join(str(error).split())[:most] or type(error).__name__


def describe_value(value: object) -> str:
    """Return a short form of a value for a message, and its type unless that is plain to see.

    Example:
        >>> describe_value(3), describe_value("3")
        ('3', "'3' (str)")
    """
    try:
        text = " ".join(repr(value).split())
    except Exception:  # noqa: BLE001 - the __repr__ of a caller's class may raise anything
        text = "a value"
    short = text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."
    is_plain = value is None or type(value) in (int, float)
    return short if is_plain else f"{short} ({type(value).__name__})"
