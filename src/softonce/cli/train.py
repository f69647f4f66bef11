"""`softonce train`."""

from __future__ import annotations

from softonce.config import TrainConfig


def train(config: TrainConfig = TrainConfig()) -> None:  # noqa: B008 - frozen
    """Train a classifier on a folder of images; without val/, val is split off train.

    Writes the run folder: model.safetensors (the best epoch), last.safetensors, report.html,
    metrics.jsonl, config.toml and the checkpoints that --resume goes on from.
    """
    from softonce.cli.tables import print_evaluation, print_paths
    from softonce.console import is_first_process
    from softonce.training.run import train as run_training

    result = run_training(config)
    if not is_first_process():
        return
    print_evaluation(result.evaluation)
    print_paths({"artefact": result.artefact, "report": result.report})
