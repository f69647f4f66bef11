"""What a format of model files is: one record, from which flags, readers and writers derive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from softonce.checker.graph.nodes import ModelFile
    from softonce.engines.engine import Engine
    from softonce.exporting.job import ExportJob

Precision: TypeAlias = Literal["fp32", "fp16", "bf16", "int8"]


@dataclass(frozen=True)
class Runtime:
    """What computes the answers of a model file.

    Args:
        name: as `--engine` takes it.
        package: that must be importable.
        extra: that installs the package.
        is_automatic: whether `--engine auto` may take it.
    """

    name: str
    package: str
    extra: str
    is_automatic: bool = True


class Open(Protocol):
    """Opens a file of a format; see `Format.open`."""

    def __call__(self, path: Path, runtime: str, **options: Any) -> Engine:
        """Return the engine of this runtime that answers for the file."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format of model files: how they are called, written, run, and read without being run.

    The functions import what they need when they are called, so that the record costs nothing
    if the packages are not installed.

    Args:
        name: as `--to` takes it.
        title: how the help explains the name.
        suffix: of its files, in lower case.
        runtimes: what runs a file; the first also answers when an export is compared.
        open: (path, runtime, device, exact, precision, threads, trust, model) -> engine; the
            keywords are those of `softonce.engines.open_engine`.
        read_graph: path -> what the file puts out; it runs nothing and needs no torch.
        precisions: in which it can be written; none if `softonce export` does not write it.
        write: (job, path): writes the file, and what belongs beside it into the same folder.
        beside: suffixes of the files that a file needs beside it.
        extra: that installs what `write` needs.
        packages: that `write` needs beyond those of the runtimes.
    """

    name: str
    title: str
    suffix: str
    runtimes: tuple[Runtime, ...]
    open: Open
    read_graph: Callable[[Path], ModelFile]
    precisions: tuple[Precision, ...] = ()
    write: Callable[[ExportJob, Path], None] | None = None
    beside: tuple[str, ...] = ()
    extra: str = "train"
    packages: tuple[str, ...] = ()

    def read(self, path: Path) -> ModelFile:
        """Read what a file puts out, with `read_graph`.

        Raises:
            ArtefactError: if the file is damaged, or of another kind.
            MissingExtraError: if a package that reads it is not installed.
        """
        from softonce.checker.graph.nodes import unreadable

        try:
            return self.read_graph(path)
        except OSError as error:
            reason = str(error.strerror or error)
            raise unreadable(path, "a file that can be read", reason) from error
        except (LookupError, ValueError, TypeError, AttributeError, RecursionError) as error:
            # A node of a damaged graph may lack any of its operands.
            reason = str(error)[:100]
            raise unreadable(path, "a graph whose nodes fit each other", reason) from error
