"""Where the user's program is: lines of the stack, layers by the line that made them, cells."""

# mypy: disable-error-code="no-untyped-call"
# torch's weak dictionaries carry no annotations.
from __future__ import annotations

import linecache
import os
import sys
import sysconfig
import weakref
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from softonce.checker.findings import Place
from softonce.checker.names import MODULES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_TORCH = str(Path(torch.__file__).parent)
_CHECKER = str(Path(__file__).parents[1])
_RUNNER = str(Path(__file__).with_name("script.py"))
_ACTIVATIONS = torch.nn.modules.activation.__file__
_LIBRARIES = tuple({sysconfig.get_path("purelib"), sysconfig.get_path("stdlib"), _TORCH, _CHECKER})
_TYPED_IN = ("<stdin>", "<ipython")
_MAX_FRAMES = 64
"""Frames that are looked through for the user's line; torch's own are far fewer."""
_MADE: weakref.WeakKeyDictionary[torch.nn.Module, Place] = weakref.WeakKeyDictionary()
"""Activation layers, and the lines that made them."""
_home = [str(Path.cwd())]


def user_lines() -> tuple[Place, ...]:
    """Return the lines of the user's own files on the stack, the innermost first.

    If all of the stack is library code, the innermost line outside of torch.
    """
    found: list[Place] = []
    outside: Place | None = None
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - what frames are got by
    for _ in range(_MAX_FRAMES):
        name = frame.f_code.co_filename if frame is not None else _RUNNER
        if frame is None or name == _RUNNER:
            break  # what runs the script is no line of the script
        if not _is_library(name):
            found.append(_place(name, frame.f_lineno))
        elif outside is None and not name.startswith((_TORCH, _CHECKER)):
            outside = _place(name, frame.f_lineno)
        frame = frame.f_back
    return tuple(found) or ((outside,) if outside else ())


def origin() -> Place | None:
    """Return the line that an operation comes from: of a layer, the one that made the layer."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - what frames are got by
    while frame is not None and frame.f_code.co_filename.startswith((_TORCH, _CHECKER)):
        if frame.f_code.co_filename == _ACTIVATIONS and frame.f_code.co_name == "forward":
            made = _MADE.get(frame.f_locals["self"])
            if made is not None:
                return made
        frame = frame.f_back
    return next(iter(user_lines()), None)


def library_class() -> str:
    """Return the class of a library, other than torch, whose `forward` makes the call; or ""."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - what frames are got by
    while frame is not None and frame.f_code.co_filename.startswith((_TORCH, _CHECKER)):
        frame = frame.f_back
    if frame is None or frame.f_code.co_name != "forward":
        return ""
    return type(frame.f_locals.get("self")).__name__


@contextmanager
def layers_remembered() -> Iterator[None]:
    """Note the line of every activation layer that is made."""
    classes = [getattr(torch.nn, name) for name in MODULES if hasattr(torch.nn, name)]
    patched = [c for c in classes if c.__module__ == torch.nn.modules.activation.__name__]
    own = {c: c.__dict__.get("__init__") for c in patched}
    for c in patched:
        c.__init__ = _noting(c.__init__)
    try:
        yield
    finally:
        for c, original in own.items():
            if original is None:
                del c.__init__
            else:
                c.__init__ = original


def _noting(original: Any) -> Any:
    def __init__(self: torch.nn.Module, *args: Any, **kwargs: Any) -> None:  # noqa: N807 - as named
        original(self, *args, **kwargs)
        line = next(iter(user_lines()), None)
        if line is not None:
            _MADE[self] = line

    return __init__


@lru_cache(maxsize=4096)
def _is_library(name: str) -> bool:
    if name.startswith("<"):  # what was put together at run time has no lines to show
        return not name.startswith(_TYPED_IN)
    return name.startswith(_LIBRARIES) or "site-packages" in name


def _place(name: str, line: int) -> Place:
    shown, cell = _shown(name)
    return Place(shown, line, cell=cell)


@lru_cache(maxsize=4096)
def _shown(name: str) -> tuple[str, int]:
    """Return a file as the report names it: below this folder by its relative path, or a cell."""
    shell = sys.modules.get("IPython")
    running = shell.get_ipython() if shell is not None else None
    cells = getattr(getattr(running, "compile", None), "_filename_map", {})
    if name in cells:
        return "notebook", int(cells[name])
    is_inside = name.startswith(f"{_home[0]}{os.sep}")
    return (name[len(_home[0]) + 1 :] if is_inside else name), 0


def start_here() -> None:
    """Take this folder as the one that paths are relative to; a script may go elsewhere."""
    _home[0] = str(Path.cwd())
    _shown.cache_clear()


def read_line(place: Place) -> str:
    """Return the source of a line, wherever the script has gone since."""
    return linecache.getline(place.path, place.line) or linecache.getline(
        str(Path(_home[0], place.path)), place.line
    )
