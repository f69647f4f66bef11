"""The preprocessing that another library's configuration says, beside a model file or in it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from softonce.errors import SoftonceError
from softonce.preprocessing import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from softonce.preprocessing import Interpolation, Mode

_MAX_BYTES = 10_000_000
_PILLOW: dict[Any, Interpolation] = {0: "nearest", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers of its filters, which Hugging Face writes."""


class Said(NamedTuple):
    """A preprocessing and its source.

    Attributes:
        preprocessing: as the configuration says it.
        place: as a report says it.
    """

    preprocessing: Preprocessing
    place: str


def find_preprocessing(
    path: Path, about: Mapping[str, str], size: int | None, mode: Mode
) -> Said | None:
    """Return what a configuration says, or None.

    Args:
        path: the model file; `preprocessor_config.json` of Hugging Face and `config.json` of timm
            lie beside it.
        about: its metadata; ultralytics writes there.
        size: of the network's square if the graph fixes it.
        mode: of the network.
    """
    if about.get("task") == "classify" and "imgsz" in about:
        side = size or _number(json.loads(about["imgsz"]), 224)
        plain = Preprocessing(size=side, mean=(0.0,) * 3, std=(1.0,) * 3)
        return Said(plain, "ultralytics' metadata in the file")
    readers = {"preprocessor_config.json": _of_hugging_face, "config.json": _of_timm}
    for name, reader in readers.items():
        file = path.with_name(name)
        record = _record(file)
        try:
            found = reader(record, size, mode) if record else None
        except (SoftonceError, TypeError, ValueError, KeyError):
            continue  # of another kind: nobody has named this file
        if found is not None:
            return Said(found, str(file))
    return None


def _record(file: Path) -> dict[str, Any]:
    if not file.is_file() or file.stat().st_size > _MAX_BYTES:
        return {}
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _of_hugging_face(record: dict[str, Any], size: int | None, mode: Mode) -> Preprocessing | None:
    if "image_mean" not in record and "do_rescale" not in record:
        return None
    resized, cropped = record.get("size", 224), record.get("crop_size")
    has_crop = bool(record.get("do_center_crop")) and cropped is not None
    side = size or _number(cropped if has_crop else resized, 224)
    is_short = has_crop or (isinstance(resized, dict) and "shortest_edge" in resized)
    scale = 255 * float(record.get("rescale_factor", 1 / 255))
    if not record.get("do_rescale", True):
        scale = 255.0
    mean, std = record.get("image_mean", [0.0] * 3), record.get("image_std", [1.0] * 3)
    if not record.get("do_normalize", "image_mean" in record):
        mean, std = [0.0] * len(mean), [1.0] * len(std)
    return Preprocessing(
        size=side,
        resize=max(side, _number(resized, side)) if is_short else side,
        fit="crop" if is_short else "squash",
        interpolation=_PILLOW.get(record.get("resample"), "bilinear"),
        mean=tuple(x / scale for x in mean),
        std=tuple(x / scale for x in std),
        mode=mode,
    )


def _of_timm(record: dict[str, Any], size: int | None, mode: Mode) -> Preprocessing | None:
    config = record.get("pretrained_cfg", {})
    if not isinstance(config, dict) or "mean" not in config:
        return None
    side = size or int(config.get("input_size", [3, 224, 224])[-1])
    filters = {"nearest", "bilinear", "bicubic"}
    interpolation = config.get("interpolation")
    return Preprocessing(
        size=side,
        resize=max(side, int(side / float(config.get("crop_pct") or 0.875))),
        fit="squash" if config.get("crop_mode") == "squash" else "crop",
        interpolation=interpolation if interpolation in filters else "bicubic",
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        mode=mode,
    )


def _number(value: Any, default: int) -> int:
    """Return the side that a configuration says as a number, a list or an object."""
    if isinstance(value, dict):
        names = ("shortest_edge", "height", "width")
        value = next((value[name] for name in names if name in value), default)
    if isinstance(value, list):
        value = value[0] if value else default
    return int(value)
