"""Predictions as a sequence of records that a notebook shows and other tools take."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, overload

import numpy as np

from softonce.console.tables import format_table
from softonce.errors import ArgumentError, ImageError, MissingExtraError
from softonce.inference import array_probs
from softonce.prediction.annotated import draw_answers
from softonce.prediction.inputs import items_of
from softonce.prediction.stream import predict_items
from softonce.prediction.table import build_table, describe_decision, number, value_name
from softonce.prediction.thumbnails import thumbnail_of_file

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from softonce.artefact import Metadata
    from softonce.drawing import PictureFolder
    from softonce.inference import Candidate
    from softonce.prediction.inputs import Images
    from softonce.prediction.predictor import Predictor
    from softonce.prediction.stream import Answer
    from softonce.prediction.table import Emit

MAX_SHOWN = 20
"""So many rows or pictures are shown; a slice shows others."""

_PATH_LETTERS, _CLASS_LETTERS, _NEXT_LETTERS = 48, 30, 44
_TEXT_WIDTH = 140
"""Of the table, in letters: what its columns take at most."""

_NUM_NEXT = 2
"""Further classes in a row of the table, however many are known: it stays on one line."""

_SHOWN_SIDE = 224
"""Pixels of a picture in a notebook."""
_CELL_STYLE = "text-align:left;vertical-align:middle;padding:.2em .8em .2em 0"


class PredictionDict(TypedDict):
    """A prediction as plain values; without one, `error` says why and the others are None."""

    path: str | None
    pred: str | None
    index: int | None
    prob: float | None
    top: list[Candidate]
    error: str | None
    abstain: NotRequired[bool | None]
    set: NotRequired[list[str] | None]
    unlike: NotRequired[bool | None]


class PredictionsDict(TypedDict):
    """Predictions as plain values."""

    predictions: list[PredictionDict]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Prediction:
    """The prediction of one picture, or why there is none.

    Args:
        path: the file or address; None for a picture in memory that has no name.
        pred: name of the most probable class; None, as what follows, if there is an error.
        index: its index.
        prob: its probability, calibrated by the temperature of the classifier.
        probs: (C,) the probabilities of all classes, float64.
        logits: (C,) the network's own numbers, before the temperature, float32.
        top: the `top_k` most probable classes, the first one first: `index`, `class`, `prob` and
            `logit` of each.
        error: why the picture cannot be read; None if it can be.
        thumbnail: the picture, small, as the bytes of an image file; None if it is a file that is
            read again when it is shown.
        abstain: whether the answer is withheld; None if the classifier has no threshold.
        set: the classes of a set that holds the right one as often as was asked for; None if the
            classifier makes no sets.
        unlike: whether it is unlike the images of training; None if the classifier has no limit.
    """

    path: str | None
    pred: str | None
    index: int | None
    prob: float | None
    probs: NDArray[np.float64] | None
    logits: NDArray[np.float32] | None
    top: tuple[Candidate, ...]
    error: str | None
    thumbnail: bytes | None = None
    abstain: bool | None = None
    set: tuple[str, ...] | None = None
    unlike: bool | None = None

    def __repr__(self) -> str:
        name = "" if self.path is None else f"{self.path}: "
        if self.prob is None:
            return f"Prediction({name}error: {self.error})"
        marks = (", abstains" if self.abstain else "") + (", unlike" if self.unlike else "")
        return f"Prediction({name}{self.pred} {self.prob:.2%}{marks})"

    def to_dict(self) -> PredictionDict:
        """Return plain values that JSON can hold."""
        record: PredictionDict = {
            "path": self.path,
            "pred": self.pred,
            "index": self.index,
            "prob": self.prob,
            "top": list(self.top),
            "error": self.error,
        }
        if self.abstain is not None:
            record["abstain"] = self.abstain
        if self.set is not None:
            record["set"] = list(self.set)
        if self.unlike is not None:
            record["unlike"] = self.unlike
        return record

    def small_picture(self, side: int = 128) -> bytes:
        """Return a small JPEG or PNG of the picture; no bytes if it cannot be read any more."""
        if self.thumbnail is not None or self.path is None:
            return self.thumbnail or b""
        try:
            return thumbnail_of_file(self.path, side)
        except ImageError:
            return b""


@dataclass(frozen=True, eq=False, repr=False)
class Predictions(Sequence[Prediction]):
    """Predictions in the order of the pictures; a slice of them is one, too.

    Printed, they are a table; a notebook shows it with thumbnails.

    Args:
        rows: one for each picture.
        classes: the class names, in index order.
        emit: whether tables show probabilities or logits.
    """

    rows: tuple[Prediction, ...]
    classes: tuple[str, ...] = field(default=(), kw_only=True)
    emit: Emit = field(default="probs", kw_only=True)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> Predictions: ...
    def __getitem__(self, index: int | slice) -> Prediction | Predictions:
        if isinstance(index, slice):
            return replace(self, rows=self.rows[index])
        return self.rows[index]

    @property
    def probs(self) -> NDArray[np.float64]:
        """(N, C) probabilities; the rows of unreadable pictures are NaN."""
        return self._stack([row.probs for row in self.rows], np.float64)

    @property
    def logits(self) -> NDArray[np.float32]:
        """(N, C) logits, before the temperature; the rows of unreadable pictures are NaN."""
        return self._stack([row.logits for row in self.rows], np.float32)

    def _stack(self, rows: Sequence[NDArray[Any] | None], dtype: type[Any]) -> NDArray[Any]:
        found = np.full((len(rows), len(self.classes)), np.nan, dtype)
        for number_, row in enumerate(rows):
            if row is not None:
                found[number_] = row
        return found

    def to_dict(self) -> PredictionsDict:
        """Return plain values that JSON can hold: the `to_dict()` of each, under `predictions`."""
        return {"predictions": [row.to_dict() for row in self.rows]}

    def to_df(self) -> pd.DataFrame:
        """Return a pandas DataFrame with a row a picture.

        Its columns are path, pred, index, prob, then pred_2, prob_2, ... as far as `top_k` goes,
        and error; with `emit="logits"` they are logit, logit_2, ... instead of prob.

        Raises:
            MissingExtraError: if pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtraError.of("pandas", "notebook") from error
        value = value_name(self.emit)
        depth = max((len(row.top) for row in self.rows), default=1)
        records: list[dict[str, Any]] = []
        for row in self.rows:
            ranks = [*row.top, *[None] * (depth - len(row.top))]
            record: dict[str, Any] = {"path": row.path, "pred": row.pred, "index": row.index}
            for rank, entry in enumerate(ranks, start=1):
                suffix = "" if rank == 1 else f"_{rank}"
                record[f"pred{suffix}"] = None if entry is None else entry["class"]
                record[f"{value}{suffix}"] = None if entry is None else entry[value]
            records.append(record | {"error": row.error})
        frame = pd.DataFrame.from_records(records)
        return frame.astype({"index": "Int64"}) if records else frame

    def show(self, *, columns: int = 4) -> Figure:
        """Return a matplotlib figure of the pictures with class and probability, 20 at most.

        Args:
            columns: pictures side by side.

        Raises:
            ArgumentError: if there is no column.
            MissingExtraError: if matplotlib is not installed.
        """
        from softonce.plots import plot_pictures

        if not isinstance(columns, int) or columns < 1:
            raise ArgumentError(f"expected columns of at least 1, found {columns!r}")
        shown = self.rows[:MAX_SHOWN]
        pictures = [(row.small_picture(_SHOWN_SIDE), self._caption(row)) for row in shown]
        return plot_pictures(pictures, columns=columns)

    def _caption(self, row: Prediction) -> str:
        return row.error or f"{row.pred} {number(row.top[0], self.emit)}"

    def __repr__(self) -> str:
        if not self.rows:
            return "Predictions(none)"
        shown = [
            (
                _shorten(self._name(position)),
                row.top[: 1 + _NUM_NEXT],
                row.error,
                describe_decision(row.abstain, row.set, row.unlike),
            )
            for position, row in enumerate(self.rows[:MAX_SHOWN])
        ]
        table = build_table(shown, emit=self.emit)
        for column, letters in (
            (table.columns[1], _CLASS_LETTERS),
            (table.columns[3], _NEXT_LETTERS),
        ):
            column.no_wrap, column.overflow, column.max_width = True, "ellipsis", letters
        return "\n".join([format_table(table, width=_TEXT_WIDTH), *self._more()])

    def _repr_html_(self) -> str:
        header = "".join(
            f'<th style="{_CELL_STYLE}">{name}</th>'
            for name in ("", "path", "class", value_name(self.emit), "next")
        )
        rows = "".join(self._html_row(position) for position in range(len(self.rows[:MAX_SHOWN])))
        more = "".join(f"<p>{line}</p>" for line in self._more())
        return f"<table><thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table>{more}"

    def _html_row(self, position: int) -> str:
        row = self.rows[position]
        first, rest = "", ""
        if row.error is None:
            others = row.top[1 : 1 + _NUM_NEXT]
            first = number(row.top[0], self.emit)
            rest = ", ".join(f"{entry['class']} {number(entry, self.emit)}" for entry in others)
        cells = [self._name(position), row.error or row.pred or "", first, rest]
        escaped = [html.escape(cell.encode("utf-8", "replace").decode()) for cell in cells]
        cells = [_html_picture(row.small_picture(), row.pred or ""), *escaped]
        return "<tr>" + "".join(f'<td style="{_CELL_STYLE}">{c}</td>' for c in cells) + "</tr>"

    def _name(self, position: int) -> str:
        path = self.rows[position].path
        return f"[{position}]" if path is None else path

    def _more(self) -> list[str]:
        left = len(self.rows) - MAX_SHOWN
        return [f"... {left} more"] if left > 0 else []


def _shorten(path: str) -> str:
    """Return the end of a long path, which tells files apart."""
    return path if len(path) <= _PATH_LETTERS else f"...{path[3 - _PATH_LETTERS :]}"


def _html_picture(data: bytes, label: str) -> str:
    if not data:
        return ""
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    style = "max-width:96px;max-height:96px;image-rendering:auto"
    return f'<img alt="{html.escape(label)}" src="{source}" style="{style}">'


def predict_images(
    predictor: Predictor,
    images: Images,
    *,
    top_k: int,
    emit: Emit,
    batch_size: int,
    pictures: PictureFolder | None = None,
) -> Predictions:
    """Predict whatever `items_of` takes; `pictures` gets annotated copies.

    Raises:
        ArgumentError: if there is nothing to predict, or something that is not a picture.
    """
    answers = predict_items(
        predictor,
        items_of(images, predictor.engine.metadata.preprocessing.mode),
        batch_size=batch_size,
        top_k=top_k,
        with_thumbnails=True,
    )
    if pictures is not None:
        answers = draw_answers(answers, pictures, emit=emit)
    metadata = predictor.engine.metadata
    rows = tuple(_prediction(answer, metadata) for answer in answers)
    return Predictions(rows, classes=metadata.classes, emit=emit)


def _prediction(answer: Answer, metadata: Metadata) -> Prediction:
    record, logits = answer.record, answer.logits
    probs = None
    if logits is not None:
        probs = array_probs(logits[None].astype(np.float64), **metadata.normalised_by)[0]
    return Prediction(
        path=record["path"],
        pred=record["class"],
        index=record["pred"],
        prob=record["prob"],
        probs=probs,
        logits=logits,
        top=tuple(record["top"]),
        error=record["error"],
        thumbnail=answer.thumbnail,
        abstain=record.get("abstain"),
        set=None if (held := record.get("set")) is None else tuple(held),
        unlike=record.get("unlike"),
    )
