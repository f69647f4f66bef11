"""What `softonce watch` runs: a script, a folder, a module or standard input."""

from __future__ import annotations

import builtins
import importlib.util
import linecache
import os
import sys
import zipfile
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from softonce.errors import ArgumentError

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

STDIN = "<stdin>"


class Program(NamedTuple):
    """A program as Python would start it.

    Attributes:
        code: of `__main__`; None if it is to be compiled yet, so that its error is the script's.
        source: what is compiled then.
        first: `sys.argv[0]`.
        folder: `sys.path[0]`.
        attributes: of the module `__main__`.
    """

    code: CodeType | None
    source: bytes
    first: str
    folder: str
    attributes: dict[str, Any]

    def run(self) -> None:
        """Run it as `__main__`, which it stays: what runs at exit finds it there."""
        main = ModuleType("__main__")
        main.__dict__.update({"__builtins__": builtins, **self.attributes})
        sys.modules["__main__"] = main
        name = self.attributes.get("__file__", STDIN)
        code = self.code
        if code is None:
            code = compile(self.source, name, "exec", dont_inherit=True)
        exec(code, main.__dict__)  # noqa: S102 - what it is for


def find_program(name: str, *, is_module: bool = False) -> Program:
    """Return a program by its path, `-` for standard input, or the name of its module.

    Raises:
        ArgumentError: if there is none.
    """
    if is_module:
        return _module(name)
    path = Path(name)
    if name in ("-", "/dev/stdin"):
        return _from_stdin()
    if not path.exists():
        raise ArgumentError(f"expected a script at {path}, found none: check the path")
    if path.is_dir() or zipfile.is_zipfile(path):
        return _folder(path)
    # Python resolves the folder through links, and names the file by its whole path.
    full = os.path.abspath(name)  # noqa: PTH100 - as Python does, links stay
    folder = os.path.dirname(os.path.realpath(name))  # noqa: PTH120
    loader = importlib.machinery.SourceFileLoader("__main__", full)
    attributes = {"__file__": full, "__loader__": loader, "__spec__": None, "__cached__": None}
    return Program(None, path.read_bytes(), name, folder, attributes)


def _from_stdin() -> Program:
    source = sys.stdin.buffer.read()
    lines = source.decode(errors="replace").splitlines(keepends=True)
    linecache.cache[STDIN] = (len(source), None, lines, STDIN)
    attributes = {"__loader__": None, "__spec__": None}
    return Program(None, source, "-", "", attributes)


def _folder(path: Path) -> Program:
    """Return the `__main__` of a folder or of a zip file."""
    full = os.path.abspath(path)  # noqa: PTH100 - as Python does, links stay
    sys.path.insert(0, full)
    try:
        spec = importlib.machinery.PathFinder.find_spec("__main__", [full])
    finally:
        sys.path.remove(full)
    if spec is None:
        raise ArgumentError(
            f"expected a script or a folder with a __main__.py at {path}, found neither: "
            "name the script itself"
        )
    return _of_spec(spec, str(path), full)


def _module(name: str) -> Program:
    """Return a module as `python -m` finds it: of a package, its `__main__`."""
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f"{name}.__main__")
    except ModuleNotFoundError:
        spec = None
    finally:
        sys.path.remove(folder)
    if spec is None:
        raise ArgumentError(
            f"expected a module to run, found none of the name {name}: check the name, and the "
            "folder that it is run in"
        )
    return _of_spec(spec, spec.origin or name, folder)


def _of_spec(spec: ModuleSpec, first: str, folder: str) -> Program:
    get_code: Any = getattr(spec.loader, "get_code", None)
    code = get_code(spec.name) if get_code is not None else None
    if code is None:
        raise ArgumentError(
            f"expected a module of Python source, found {spec.origin or spec.name}: "
            "it cannot be watched"
        )
    attributes = {
        "__file__": spec.origin,
        "__cached__": spec.cached,
        "__loader__": spec.loader,
        "__package__": spec.parent,
        "__spec__": spec,
    }
    return Program(code, b"", first, folder, attributes)
