"""`softonce decide`."""

from __future__ import annotations

from softonce.config import DecideConfig


def decide(config: DecideConfig) -> None:
    """Store in a classifier which answers it withholds, which sets it gives, and what it marks."""
    from softonce.cli.tables import print_decisions
    from softonce.evaluation.deciding import decide as run_decide
    from softonce.run_folder import model_file

    print_decisions(run_decide(config), f"kept in {model_file(config.artefact)}")
