"""Small runs to interrupt, resume and compare."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from softonce import TrainConfig
from softonce.preprocessing import Preprocessing
from softonce.run_folder import RunFolder
from softonce.training.metrics_file import MetricsFile
from softonce.training.plan import Plan, decide, settle

TIME_FIELDS = ("seconds", "images_per_second")
WEIGHTS = ("model.safetensors", "last.safetensors")


def small(data: Path, run: Path, **options: Any) -> TrainConfig:
    """Two epochs of five steps; a state is saved at every step unless options say otherwise."""
    defaults = {
        "model": "cifar_resnet20",
        "recipe": "none",
        "size": 16,
        "epochs": 2,
        "batch_size": 8,
        "workers": 0,
        "checkpoint_seconds": 0.0,
    }
    return TrainConfig(data, output=run, **defaults | options)


def planned(**options: Any) -> Plan:
    """Return the plan for 50,000 small images, plain unless options say otherwise."""
    asked = TrainConfig(**{"data": "photos", "output": "run", "recipe": "none"} | options)
    return decide(settle(asked, Preprocessing(size=32), small=True, num_train=50_000))


def rows(run: Path) -> list[dict[str, Any]]:
    """Return the metrics without what a clock says."""
    found = MetricsFile(RunFolder(run).metrics).rows()
    return [{k: v for k, v in row.items() if k not in TIME_FIELDS} for row in found]


def weights(run: Path) -> list[bytes]:
    return [(run / name).read_bytes() for name in WEIGHTS]


def marked(name: str, slow: Collection[str]) -> Any:
    """Return a parameter of a test, marked slow if it is one of these."""
    return pytest.param(name, marks=pytest.mark.slow if name in slow else ())
