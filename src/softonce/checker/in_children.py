"""Watching the child processes of a watched script; it loads torch only if the child does.

A child finds a folder in its environment: there it writes what it saw, and its parent reports it
once, however many children saw the same. Children of `multiprocessing` are watched while their
function runs, but for a loader's workers; other Python programs, such as the workers of torchrun
and accelerate, from their import of torch on.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import multiprocessing.process
import os
import sys
from contextlib import ExitStack, contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from softonce.checker.findings import Finding
    from softonce.checker.runtime.session import watch

VARIABLE = "SOFTONCE_WATCH"
_WORKERS = frozenset({"_worker_loop"})
"""What a loader's worker runs: it computes no loss."""
_SITE = """\
# Python imports this at its start; the folder then leaves the path, and the environment's own
# module of this name, if there is one, takes its turn.
import importlib.machinery, importlib.util, sys
sys.path.remove({folder!r})
try:
    from softonce.checker.in_children import start
except ImportError:
    pass
else:
    start()
spec = importlib.machinery.PathFinder.find_spec("sitecustomize", sys.path)
if spec is not None and spec.loader is not None:
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
"""


class Shared(NamedTuple):
    """What a script and its children share.

    Attributes:
        folder: where each child writes its findings.
        steps: how many steps are looked at from the start.
        every: then one step in so many.
        is_live: whether a finding is printed when it becomes certain.
    """

    folder: str
    steps: int
    every: int
    is_live: bool


@contextmanager
def children_watched(shared: Shared) -> Iterator[None]:
    """Let every Python process that this one starts find the folder."""
    folder = shared.folder
    Path(folder, "sitecustomize.py").write_text(_SITE.format(folder=folder), encoding="utf-8")
    before = {name: os.environ.get(name) for name in (VARIABLE, "PYTHONPATH")}
    os.environ[VARIABLE] = json.dumps(shared)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (folder, before["PYTHONPATH"])))
    put_back = _watch_processes(shared)
    try:
        yield
    finally:
        put_back()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def start() -> None:
    """Watch this process, a child of a watched one."""
    text = os.environ.get(VARIABLE)
    if not text or os.environ.get("RANK", "0") != "0":
        return
    shared = Shared(*json.loads(text))
    if not Path(shared.folder).is_dir():
        return  # the parent has ended and reported
    _watch_processes(shared)
    # What multiprocessing starts runs its function later, and then is watched.
    if not any("multiprocessing" in word for word in sys.orig_argv[1:4]):
        sys.meta_path.insert(0, _AfterTorch(shared))


def told_first(folder: str, finding: Finding) -> bool:
    """Return whether no other process has told this finding yet."""
    key = repr((finding.code, finding.place, finding.made))
    name = hashlib.sha256(key.encode()).hexdigest()[:32]
    try:
        Path(folder, f"{name}.told").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def reports(folder: str) -> list[dict[str, Any]]:
    """Return what the children wrote, in the order of their numbers."""
    return [json.loads(path.read_bytes()) for path in sorted(Path(folder).glob("*.json"))]


def _watch_processes(shared: Shared) -> Callable[[], None]:
    """Watch the function of each process of `multiprocessing`; return what ends that."""
    process: Any = multiprocessing.process.BaseProcess
    original = process._bootstrap  # noqa: SLF001 - what a child runs, whatever its class

    def bootstrap(self: Any, *args: Any, **kwargs: Any) -> Any:
        target = getattr(getattr(self, "_target", None), "__name__", "")
        if target in _WORKERS:
            return original(self, *args, **kwargs)
        with _watched(shared):
            return original(self, *args, **kwargs)

    def put_back() -> None:
        process._bootstrap = original  # noqa: SLF001

    process._bootstrap = bootstrap  # noqa: SLF001
    return put_back


@contextmanager
def _watched(shared: Shared) -> Iterator[None]:
    """Watch this process from now on, or from its import of torch on."""
    if "torch" not in sys.modules:
        sys.meta_path.insert(0, _AfterTorch(shared))
        yield
        return
    with ExitStack() as cleanup:
        _look(shared, cleanup)
        yield


def _look(shared: Shared, cleanup: ExitStack) -> None:
    """Start a session that writes its findings into the folder."""
    from softonce.checker.runtime.endings import before_the_end
    from softonce.checker.runtime.session import print_line, watch

    session = watch(steps=shared.steps, every=shared.every, report=False)

    def tell(finding: Finding) -> None:
        _write(shared, session)
        if shared.is_live and told_first(shared.folder, finding):
            print_line(finding)

    session.tell = tell
    cleanup.callback(_write, shared, session)
    cleanup.enter_context(before_the_end(lambda: _write(shared, session)))
    cleanup.enter_context(session)


def _write(shared: Shared, session: watch) -> None:
    """Write what was seen so far; a process that saw no loss writes nothing."""
    from softonce.checker.findings import to_dict

    if not session.ledger.num_looks or not Path(shared.folder).is_dir():
        return
    found = [to_dict(finding) for finding in session.ledger.findings()]
    record = {"findings": found, "looks": session.ledger.num_looks, "steps": session.num_steps}
    # The parent may read at any moment: a file is whole or not there.
    part = Path(shared.folder, f"{os.getpid()}.part")
    part.write_text(json.dumps(record), encoding="utf-8")
    part.replace(part.with_suffix(".json"))


class _AfterTorch:
    """Starts the session when torch has been imported: a finder that finds one module."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, *_: object
    ) -> ModuleSpec | None:
        """Find torch, and have its loader start the session; find nothing else."""
        if name != "torch" or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return spec
        loader: Any = spec.loader
        original = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            original(module)
            cleanup = ExitStack()
            atexit.register(cleanup.close)
            _look(self.shared, cleanup)

        loader.exec_module = exec_module
        return spec
