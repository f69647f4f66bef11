"""`softonce compare`."""

from __future__ import annotations

import json

from softonce.config import CompareConfig


def compare(config: CompareConfig) -> None:
    """Compare two classifiers on the same images: figures, differences and their intervals."""
    from softonce.cli.tables import print_comparison
    from softonce.evaluation import compare as run_comparison

    comparison = run_comparison(config)
    if config.json:
        print(json.dumps(comparison.to_dict(), ensure_ascii=False))  # noqa: T201 - the result
    else:
        print_comparison(comparison)
