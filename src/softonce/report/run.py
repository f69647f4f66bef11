"""From an evaluation to its page: the worst mistakes, the versions, the speed."""

from __future__ import annotations

import io
import platform
from dataclasses import replace
from importlib import metadata as packages
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from softonce import __version__
from softonce.plurals import format_count
from softonce.report.mistakes import find_mistakes
from softonce.report.page import FirstBatch, Report, write_report

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from softonce.artefact import Metadata
    from softonce.data.splits import Splits
    from softonce.evaluation import Evaluation
    from softonce.run_folder import RunFolder


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
    report = replace(
        _build_report(evaluation, f"{metadata.arch} on {metadata.training['data']}"),
        headline={
            "model": metadata.arch,
            "data": metadata.training["data"],
            "images": f"{len(splits.train)} train, {len(splits.val)} val"
            + (f", {len(splits.test)} test" if splits.test else ""),
            **_describe_choice(metadata.training),
        },
        selection=_selection(evaluation, metadata),
        history=history,
        loss_parts=loss_parts,
        images=_images(splits),
        first_batch=_first_batch(run.train_batch),
        bad_files=[file.to_dict() for file in splits.bad_files],
        doubles=splits.doubles,
        notes=notes,
        config_toml=run.config.read_text(encoding="utf-8"),
        speed=_speed(history),
    )
    write_report(report, run.report)
    return run.report


def _describe_choice(training: dict[str, Any]) -> dict[str, str]:
    """Return what was chosen: an epoch, or how strongly the head of a linear probe is regularised.

    Beside a probe stands what the nearest neighbours say.
    """
    place = f"{training['best_epoch']} of {training['epochs']}"
    if "l2" not in training:
        return {"best epoch": place}
    found = {"best regularisation": f"l2 {training['l2']:.2g} ({place})"}
    if "neighbours" in training:
        top1, k = training["neighbours"]["top1"], training["neighbours"]["k"]
        found[f"{k} nearest neighbours"] = f"{top1:.2%} of val"
    return found


def _selection(evaluation: Evaluation, metadata: Metadata) -> str:
    """Return what val has chosen in this run, and what that means for the figures."""
    best, epochs = metadata.training["best_epoch"], metadata.training["epochs"]
    by = metadata.training.get("select_by")
    how = f", by --select-by {by}" if by else ""
    what = "the regularisation" if "l2" in metadata.training else "the epoch"
    is_chosen = epochs > 1 and not metadata.training.get("is_crossed", False)
    chosen = [f"chose {what} ({best} of {epochs}{how})"] if is_chosen else []
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


def _first_batch(path: Path) -> FirstBatch | None:
    """Return the picture of the first batch; None if the run has none, or no longer."""
    try:
        with Image.open(path) as sheet:
            picture, description = sheet.convert("RGB"), str(sheet.info.get("Description", ""))
    except OSError:
        return None
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=85)
    return FirstBatch(buffer.getvalue(), description)


def write_evaluation_report(evaluation: Evaluation, title: str, path: Path) -> None:
    """Write the page of a single evaluation."""
    report = replace(_build_report(evaluation, title), selection=_describe_known_images(evaluation))
    write_report(report, path)


def _describe_known_images(evaluation: Evaluation) -> str:
    """Return a sentence if the network's training has met these images, or may have."""
    if evaluation.num_trained_on:
        known, all_images = evaluation.num_trained_on, evaluation.figures.n
        which = "these images" if known == all_images else f"{known} of these {all_images} images"
        return f"The network was trained on {which}: the figures say little about new ones."
    if evaluation.val_chose:
        return (
            f"Training chose the {' and the '.join(evaluation.val_chose)} on its val images. If "
            "these are the same, expect somewhat worse figures of new images."
        )
    return ""


def _build_report(evaluation: Evaluation, title: str) -> Report:
    """Return what every page has."""
    mistakes = find_mistakes(evaluation)
    return Report(
        title=title,
        classes=evaluation.classes,
        headline={"images": f"{evaluation.figures.n} of {evaluation.split}"},
        figures=evaluation.figures,
        uncalibrated=evaluation.uncalibrated,
        temperature=evaluation.temperature,
        coverage=[point[1:] for point in evaluation.coverage_curve()],
        split=evaluation.split,
        mistakes=mistakes.worst,
        about_light=mistakes.about_light,
        confused=mistakes.confused,
        bad_files=[file.to_dict() for file in evaluation.scan.bad_files],
        suspects=() if evaluation.num_trained_on else evaluation.suspects(),
        versions=versions(),
    )


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
