"""Where the rows of a run go in addition to `metrics.jsonl`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from softonce.errors import ArgumentError, MissingExtraError, describe_value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch.utils.tensorboard import SummaryWriter


@runtime_checkable
class Sink(Protocol):
    """Receives each row of `metrics.jsonl`, as it is written.

    A row has `step`, `epoch`, `split`, and what was measured. After a resume, rows of steps that
    were sent before may come again. `examples/track_elsewhere.py` is one.
    """

    def write(self, row: Mapping[str, Any], /) -> None:
        """Take one row."""

    def close(self) -> None:
        """Send what is still held back; the run is over, or has stopped."""


def check_sinks(sinks: Any) -> None:
    """Raise an `ArgumentError` unless these are sinks, before a run has begun.

    Example:
        >>> check_sinks(["tensorboard"])
        Traceback (most recent call last):
        softonce.errors.ArgumentError: expected a list of sinks with write(row) and close(), ...
    """
    is_list = isinstance(sinks, Iterable) and not isinstance(sinks, str)
    wrong = [sink for sink in sinks if not isinstance(sink, Sink)] if is_list else [sinks]
    if wrong:
        raise ArgumentError(
            "expected a list of sinks with write(row) and close(), "
            f"found {describe_value(wrong[0])}"
            ": track='tensorboard' is an option"
        )


class TensorBoard:
    """Writes a curve for every number of a row, named `split/number`, into the run folder.

    Args:
        run: the run folder.
        step: where the run goes on; what was written of later steps is taken back.

    Raises:
        MissingExtraError: if TensorBoard is not installed.
    """

    def __init__(self, run: Path, *, step: int = 0) -> None:
        self.writer = import_tensorboard()(str(run / "tensorboard"), purge_step=step + 1)

    def write(self, row: Mapping[str, Any], /) -> None:
        """Add the row's numbers at its step."""
        for name, value in row.items():
            if isinstance(value, (int, float)) and name != "step":
                self.writer.add_scalar(f"{row['split']}/{name}", value, row["step"])

    def close(self) -> None:
        """Flush the curves."""
        self.writer.close()


def import_tensorboard() -> type[SummaryWriter]:
    """Return torch's writer.

    Raises:
        MissingExtraError: if TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError.of("tensorboard", "track") from error
    return SummaryWriter
