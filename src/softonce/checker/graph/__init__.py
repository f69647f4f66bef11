"""What a model file puts out: the kind of every output, and the node that makes it.

Nothing of the file is run, and nothing is unpickled: ONNX is parsed as protobuf, a `.pt2` is a zip
of which only the JSON is read, OpenVINO's `.xml` is read without entities, and of a `.safetensors`
artefact the header.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softonce.checker.graph.foreign import recognize
from softonce.checker.graph.nodes import ModelFile as ModelFile
from softonce.checker.graph.nodes import Output as Output
from softonce.checker.graph.nodes import foreign, unreadable
from softonce.errors import ArtefactError
from softonce.formats import SUFFIXES, format_of

if TYPE_CHECKING:
    from pathlib import Path


def read_model(path: Path) -> ModelFile:
    """Read what a model file says of its outputs.

    Args:
        path: a file of one of the `softonce.formats`.

    Raises:
        ArtefactError: if the file is missing, damaged, or of another kind.
        MissingExtraError: if an .onnx file needs the package `onnx`.

    Example:
        >>> from pathlib import Path
        >>> read_model(Path("nothing.onnx"))
        Traceback (most recent call last):
        softonce.errors.ArtefactError: expected a model file at nothing.onnx, found nothing: ...
    """
    if not path.is_file():
        raise ArtefactError(f"expected a model file at {path}, found nothing: check the path")
    found = recognize(path)
    if found is not None:
        raise foreign(path, found)
    form = format_of(path)
    if form is None:
        expected = f"a file of {' '.join(SUFFIXES)}"
        raise unreadable(path, expected, f"the ending {path.suffix.lower()!r}")
    return form.read(path)
