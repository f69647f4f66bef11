"""Deployed networks as programs of torch.export."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import torch

from softonce.exporting.network import to_program

if TYPE_CHECKING:
    from pathlib import Path

    from softonce.exporting.job import ExportJob


def write(job: ExportJob, path: Path) -> None:
    """Write a classifier as a `.pt2` that carries its record."""
    whole = io.BytesIO()  # torch's own writer of files aborts the process if the disk is full
    torch.export.save(to_program(job.network()), whole, extra_files=job.record)
    path.write_bytes(whole.getbuffer())
