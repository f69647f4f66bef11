"""Reports to write, and what a browser would see of them."""

from __future__ import annotations

import dataclasses
import functools
import io
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from softonce import metrics
from softonce.data.doubles import Double
from softonce.report import Mistake, Report, write_report
from softonce.report.page import ConfusedPictures, FirstBatch

EVIL = "<script>alert(1)</script>"
CLASSES = ["airplane", "고양이", EVIL, "dog", "eel", "fish", "goat"]


def thumbnail() -> bytes:
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(picture, "JPEG")
    return picture.getvalue()


EVIL_MISTAKE = Mistake(
    path='a"><b onclick=1>',
    target=1,
    pred=2,
    prob=0.98,
    thumbnail=thumbnail(),
    lit=(thumbnail(), thumbnail()),
)


@functools.cache
def figures(num_classes: int = 7, *, temperature: float = 1.0, absent: int = 0) -> metrics.Figures:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(120, num_classes, generator=generator) * 2
    target = torch.randint(num_classes - absent, (120,), generator=generator)
    rows = metrics.score_rows(logits, target, temperature=temperature)
    classes = CLASSES if num_classes == 7 else [f"kind {index}" for index in range(num_classes)]
    return metrics.figures(rows, classes, num_resamples=20)


def history(*, lowest: float = 0.4) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for epoch in range(1, 6):
        loss = lowest + 2 / epoch
        common = {"step": 9 * epoch, "epoch": epoch}
        rows.append({**common, "split": "train", "loss": loss, "lr": 0.1})
        rows.append({**common, "split": "val", "nll": loss + 0.1, "top1": 0.5})
    return rows


def full_report(**changes: Any) -> Report:
    report = Report(
        title="Seven kinds",
        classes=CLASSES,
        headline={"model": "resnet20", "data": f"folder/{EVIL}"},
        figures=figures(temperature=1.3),
        uncalibrated=figures(),
        temperature=1.3,
        split="test",
        history=history(),
        first_batch=FirstBatch(thumbnail(), f"dog; {EVIL}"),
        mistakes=[EVIL_MISTAKE],
        about_light=f"Bright is where {EVIL} is.",
        confused=[ConfusedPictures({"target": 1, "pred": 2, "count": 3}, [EVIL_MISTAKE] * 2)],
        bad_files=[{"path": "data/사진.png", "reason": f"{EVIL} is no image"}],
        doubles=[Double("train/1.png", EVIL, "train", f"test/{EVIL}", "b", "test")],
        notes=[f"a note about {EVIL}"],
        config_toml=f'model = "{EVIL}"\n',
        versions={"torch": EVIL},
        speed={"evaluation": "1,234 img/s"},
    )
    return dataclasses.replace(report, **changes)


def bare_report(**changes: Any) -> Report:
    report = Report(
        title="Bare",
        classes=CLASSES,
        headline={},
        figures=figures(),
        temperature=1.0,
        split="val",
    )
    return dataclasses.replace(report, **changes)


class Page(HTMLParser):
    """What a browser would see: the elements with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data + " "

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)

    def values(self, attribute: str) -> list[str]:
        return [attrs[attribute] or "" for _, attrs in self.elements if attribute in attrs]


def written(report: Report, folder: Path) -> Page:
    write_report(report, folder / "report.html")
    return Page((folder / "report.html").read_text(encoding="utf-8"))
