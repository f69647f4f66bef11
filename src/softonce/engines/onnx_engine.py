"""ONNX files, run by ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from softonce.artefact import Metadata
from softonce.engines.graph_engine import GraphEngine, in_batches
from softonce.errors import ArtefactError, describe_error, import_extra

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from softonce.engines.graph_engine import Outputs

_FATAL = 4
"""What fails raises with the words that the library would print as well."""


def open_onnx(path: Path, *, threads: int | None = None) -> GraphEngine:
    """Open a file that `softonce export --to onnx` wrote.

    Raises:
        ArtefactError: if it is damaged, or carries no record of softonce.
        MissingExtraError: if ONNX Runtime is not installed.
    """
    session = start_session(path, threads)
    about = session.get_modelmeta().custom_metadata_map
    names = [output.name for output in session.get_outputs()]

    def run(images: NDArray[np.uint8]) -> Outputs:
        return dict(zip(names, session.run(names, {"images": images}), strict=True))

    batch = session.get_inputs()[0].shape[0]

    metadata = Metadata.from_json(about.get("softonce"), path)
    return GraphEngine(
        "onnxruntime", metadata, about.get("softonce_precision", "fp32"), in_batches(run, batch)
    )


def start_session(path: Path, threads: int | None) -> Any:
    """Return what runs an ONNX file, ours or another.

    Raises:
        ArtefactError: if it cannot be run.
        MissingExtraError: if ONNX Runtime is not installed.
    """
    onnxruntime = import_extra("onnxruntime", "export")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = _FATAL
    try:
        return onnxruntime.InferenceSession(
            path,
            options,
            providers=["CPUExecutionProvider"],
            enable_fallback=0,  # which would try again what has failed, and print lines of its own
        )
    except Exception as error:  # the library raises a class of its own for each failure
        raise ArtefactError(
            f"expected an ONNX file that can be run at {path}, found: "
            f"{describe_error(error)}; export it again"
        ) from error
