"""From an evaluation to its page: the worst mistakes, the versions, the speed."""

from __future__ import annotations

import io
import platform
from importlib import metadata as packages
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from softonce import __version__
from softonce.data.images import open_image, shown
from softonce.errors import ImageError
from softonce.inference import probs
from softonce.plurals import format_count
from softonce.report.page import Mistake, Report, write_report

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from softonce.artefact import Metadata
    from softonce.data.samples import Samples
    from softonce.data.splits import Splits
    from softonce.evaluation import Evaluation
    from softonce.run_folder import RunFolder

NUM_MISTAKES = 24
_THUMBNAIL_SIDE = 128
_SMALLEST_SHOWN = 64


def write_run_report(
    run: RunFolder,
    evaluation: Evaluation,
    metadata: Metadata,
    splits: Splits,
    *,
    loss_parts: Sequence[str],
    notes: Sequence[str],
    history: Sequence[dict[str, Any]],
) -> Path:
    """Write a run's `report.html`, and return its path."""
    best = metadata.training["best_epoch"]
    report = Report(
        title=f"{metadata.arch} on {metadata.training['data']}",
        classes=metadata.classes,
        headline={
            "model": metadata.arch,
            "data": metadata.training["data"],
            "images": f"{len(splits.train)} train, {len(splits.val)} val"
            + (f", {len(splits.test)} test" if splits.test else ""),
            "best epoch": f"{best} of {metadata.training['epochs']}",
        },
        figures=evaluation.figures,
        uncalibrated=evaluation.uncalibrated,
        temperature=evaluation.temperature,
        split=evaluation.split,
        selection=_selection(evaluation, metadata),
        history=history,
        loss_parts=loss_parts,
        images=_images(splits),
        mistakes=worst_mistakes(evaluation),
        bad_files=[file.to_dict() for file in splits.bad_files],
        leaks=splits.leaks,
        notes=notes,
        config_toml=run.config.read_text(encoding="utf-8"),
        versions=versions(),
        speed=_speed(history),
    )
    write_report(report, run.report)
    return run.report


def _selection(evaluation: Evaluation, metadata: Metadata) -> str:
    """Return what val has chosen in this run, and what that means for the figures."""
    best, epochs = metadata.training["best_epoch"], metadata.training["epochs"]
    chosen = [f"chose the epoch ({best} of {epochs})"] if epochs > 1 else []
    if evaluation.temperature != 1.0:
        chosen.append(f"fitted the temperature ({evaluation.temperature:.3g})")
    if not chosen:
        return ""
    words = " and ".join(chosen)
    if evaluation.split != "val":
        return f"Val {words}; the figures are of {evaluation.split}, which had no part in that."
    return (
        f"Val {words}, and the figures are of the same images: expect somewhat worse ones of new "
        "images. A test/ folder, which has no part in training, would tell how much."
    )


def _images(splits: Splits) -> dict[str, list[int]]:
    """Return, of each split, how many images of each class were used."""
    parts = {"train": splits.train, "val": splits.val, "test": splits.test}
    num = len(splits.train.samples.classes)
    return {
        name: np.bincount(part.samples.target, minlength=num).tolist()
        for name, part in parts.items()
        if part is not None
    }


def write_evaluation_report(evaluation: Evaluation, title: str, path: Path) -> None:
    """Write the page of an evaluation alone."""
    report = Report(
        title=title,
        classes=evaluation.classes,
        headline={"images": f"{evaluation.figures.n} of {evaluation.split}"},
        figures=evaluation.figures,
        uncalibrated=evaluation.uncalibrated,
        temperature=evaluation.temperature,
        split=evaluation.split,
        mistakes=worst_mistakes(evaluation),
        bad_files=[file.to_dict() for file in evaluation.scan.bad_files],
        versions=versions(),
    )
    write_report(report, path)


def worst_mistakes(evaluation: Evaluation) -> list[Mistake]:
    """Return the most confident wrong predictions, with thumbnails, the worst first."""
    samples = evaluation.scan.samples
    confidence, pred = probs(evaluation.logits, temperature=evaluation.temperature).max(dim=1)
    wrong = (pred != torch.from_numpy(samples.target)).nonzero()[:, 0]
    order = wrong[confidence[wrong].argsort(descending=True, stable=True)][:NUM_MISTAKES]
    return [
        Mistake(
            path=samples.where(index),
            target=int(samples.target[index]),
            pred=int(pred[index]),
            prob=confidence[index].item(),
            thumbnail=_thumbnail(samples, index),
        )
        for index in order.tolist()
    ]


def versions() -> dict[str, str]:
    """Return the versions that a figure may depend on."""
    found = {name: packages.version(name) for name in ("torch", "numpy", "pillow", "safetensors")}
    return {"softonce": __version__, "python": platform.python_version(), **found}


def _speed(history: Sequence[dict[str, Any]]) -> dict[str, str]:
    rates = [row["images_per_second"] for row in history if "images_per_second" in row]
    if not rates:
        return {}
    middle = sorted(rates)[len(rates) // 2]
    return {
        "training": f"{middle:,.0f} img/s (median of {format_count(len(rates), 'epoch')})",
        "time": f"{max(row['seconds'] for row in history):,.0f} s",
        "hardware": f"{platform.machine()}, {format_count(torch.get_num_threads(), 'thread')}",
    }


def _thumbnail(samples: Samples, index: int) -> bytes:
    """Return a small PNG of the picture; tiny pictures are enlarged without smoothing."""
    try:
        image = shown(open_image(samples.read(index)))
    except ImageError:
        return b""
    image.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
    while max(image.size) < _SMALLEST_SHOWN:
        image = image.resize((image.width * 2, image.height * 2), 0)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
