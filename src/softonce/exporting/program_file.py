"""Deployed networks as programs of torch.export."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from softonce.exporting.network import to_program

if TYPE_CHECKING:
    from pathlib import Path

    from softonce.exporting.job import ExportJob


def write(job: ExportJob, path: Path) -> None:
    """Write a classifier as a `.pt2` that carries its record."""
    torch.export.save(to_program(job.network()), path, extra_files=job.record)
