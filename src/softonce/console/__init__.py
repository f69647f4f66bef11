"""What long work tells its user: notes through `logging`, progress with rate and time left.

Results go to standard output; notes, errors and progress go to standard error.
"""

from softonce.console.bars import progress
from softonce.console.notes import (
    EPOCHS,
    LOG,
    collect_notes,
    command_line_notes,
    is_first_process,
    print_error,
    visible_notes,
)

__all__ = [
    "EPOCHS",
    "LOG",
    "collect_notes",
    "command_line_notes",
    "is_first_process",
    "print_error",
    "progress",
    "visible_notes",
]
