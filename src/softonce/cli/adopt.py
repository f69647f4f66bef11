"""`softonce adopt`."""

from __future__ import annotations

from softonce.config import AdoptConfig


def adopt(config: AdoptConfig) -> None:
    """Make a softonce classifier of another program's model file.

    The softmax or sigmoid is found in the graph and taken off; the file that is written takes
    pictures of any size and gives logits and probabilities, and evaluate, predict, serve, compare,
    decide, export and inspect take it. It answers as the original does, or is not written.
    """
    from softonce.adoption import adopt as run_adopt
    from softonce.cli.tables import print_adopted, print_paths

    adopted = run_adopt(config)
    print_adopted(adopted)
    print_paths({"adopted": adopted.file})
