"""`softonce evaluate`."""

from __future__ import annotations

import json

from softonce.config import EvaluateConfig


def evaluate(config: EvaluateConfig) -> None:
    """Measure a classifier on a folder of images; every image counts once.

    softonce evaluate ARTEFACT DATA, or softonce evaluate DATA --model NAME --weights FILE.
    """
    from softonce.cli.tables import print_evaluation, print_paths
    from softonce.report.evaluate import evaluate as run_evaluation

    evaluation = run_evaluation(config)
    if config.json:
        print(json.dumps(evaluation.to_dict(), ensure_ascii=False))  # noqa: T201 - the result
    else:
        print_evaluation(evaluation)
    paths = {}
    if config.predictions is not None:
        paths["predictions"] = config.predictions
    if config.report is not None:
        paths["report"] = config.report
    if not config.json:
        print_paths(paths)
