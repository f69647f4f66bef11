"""The formats of model files, one file each; everything that names formats derives from here.

The modules import nothing beyond the standard library until a file is written, opened or read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softonce.formats import artefact, onnx, openvino, torch_export
from softonce.formats.record import Precision as Precision
from softonce.formats.record import Runtime as Runtime

if TYPE_CHECKING:
    from pathlib import Path

    from softonce.formats.record import Format as Format

ARTEFACT = artefact.FORMAT

FORMATS: tuple[Format, ...] = (ARTEFACT, onnx.FORMAT, openvino.FORMAT, torch_export.FORMAT)

WRITTEN = {form.name: form for form in FORMATS if form.write is not None}
"""What `softonce export --to` takes."""

ENGINES = tuple({runtime.name: None for form in FORMATS for runtime in form.runtimes})
"""What `--engine` takes, beside auto."""

SUFFIXES = tuple(form.suffix for form in FORMATS)


def format_of(path: Path) -> Format | None:
    """Return the format that the suffix of a file names, or None.

    Example:
        >>> from pathlib import Path
        >>> format_of(Path("run/model.xml")).name
        'openvino'
    """
    return next((form for form in FORMATS if form.suffix == path.suffix.lower()), None)


def is_artefact(path: Path) -> bool:
    """Return whether a file is one of our own artefacts, by its suffix."""
    return format_of(path) is ARTEFACT
