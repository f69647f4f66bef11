"""Which column of a table holds the path, the label, the split and the group of a picture."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from softonce.data.sources.source import WHOLE, as_split
from softonce.errors import DataError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NAMES = {
    "path": (
        "path", "filepath", "imagepath", "imgpath", "filename", "imagefilename", "file",
        "imagefile", "image", "imagename", "img", "imgname", "imageid", "imgid", "id",
    ),
    "label": (
        "label", "labels", "class", "classname", "classlabel", "labelname", "category", "target",
        "tag", "y",
    ),
    "split": (
        "split", "set", "subset", "partition", "phase", "usage", "isvalid", "isval",
        "isvalidation", "istest", "valid", "val", "validation",
    ),
    "group": (),
}  # fmt: skip
"""How columns are called by fastai, Hugging Face, Kaggle and others, in letters and digits only,
the likeliest first. A group is never guessed: to part less than is possible must be asked for."""

_GROUPS = ("patient", "subject", "group", "camera", "location", "individual", "study", "series",
           "sequence", "video", "site", "case")  # fmt: skip
_TRUTHS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


@dataclass(frozen=True)
class Columns:
    """The names of a table's columns.

    Args:
        path: of the image's path; None is guessed, as the others are.
        label: of its class.
        split: of train, val or test, or of whether it is val.
        group: of what must not be parted between train and val, as a patient.
    """

    path: str | None = None
    label: str | None = None
    split: str | None = None
    group: str | None = None

    @classmethod
    def of(cls, config: Any) -> Columns:
        """Return what the options of a verb name."""
        return cls(**{role: getattr(config, f"{role}_col", None) for role in _NAMES})

    def find(
        self, header: Sequence[str], where: str, *, needed: tuple[str, ...] = ("path", "label")
    ) -> Columns:
        """Return the columns of a table, those left open by their usual names.

        Args:
            header: the names of all columns.
            where: what a message calls the table.
            needed: what must be there. If that is only the path, a lone column is it.

        Raises:
            DataError: if what is needed is not there, or nothing at all.
            UnknownNameError: if there is no column of a name that was asked for.
        """
        if not header:
            raise DataError(f"expected a row for each image in {where}, found none: fill it in")
        found: dict[str, str | None] = {}
        plain = {_plain(name): name for name in reversed(header)}
        for role, asked in asdict(self).items():
            if asked is not None and asked not in header:
                raise UnknownNameError.of(f"--{role}-col of {where}", asked, header)
            guesses = (plain[name] for name in _NAMES[role] if name in plain)
            taken = [*found.values(), *asdict(self).values()]
            found[role] = asked or next((name for name in guesses if name not in taken), None)
        if needed == ("path",) and len(header) == 1:
            found["path"] = header[0]
        if missing := [role for role in needed if found[role] is None]:
            flags = " ".join(f"--{role}-col NAME" for role in missing)
            remedy = f"name that of the {' and '.join(missing)} ({flags})"
            raise DataError(
                f"expected a column for each {' and '.join(needed)} in the first line of {where}, "
                f"found {', '.join(map(repr, header[:12]))}: "
                + (remedy if "label" in needed else "call it path")
            )
        return Columns(**found)

    def unused(self, header: Sequence[str]) -> list[str]:
        """Return the columns that are not used."""
        return [name for name in header if name and name not in asdict(self).values()]


def groups_among(names: Sequence[str]) -> list[str]:
    """Return the columns that by their names tell which pictures belong together."""
    return [name for name in names if any(part in _plain(name) for part in _GROUPS)]


def read_split(value: Any, column: str, where: str) -> str:
    """Return the split that a cell names: `train`, `val`, `test`, or `all` if it is empty.

    Raises:
        DataError: if it names none.
    """
    text = "" if value is None else str(value).strip()
    if not text:
        return WHOLE
    of_true = "test" if "test" in _plain(column) else "val"
    truth = _TRUTHS.get(text.lower().removesuffix(".0"))
    split = as_split(text) if truth is None else of_true if truth else "train"
    if split is None:
        raise DataError(
            f"expected train, val or test, or true or false, as the split in {where}, found "
            f"{text!r}: correct it, or name another column with --split-col"
        )
    return split


def cell(row: Mapping[str, Any], column: str, role: str, where: str) -> str:
    """Return the text of a cell that must not be empty.

    Raises:
        DataError: if it is empty, no text or number, or holds a null character.
    """
    value = row.get(column)
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # as pandas writes whole numbers beside empty cells
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    text = value.strip() if role == "label" and isinstance(value, str) else value
    if not isinstance(text, str) or not text or "\0" in text:
        raise DataError(f"expected a {role} in {where}, found {value!r}: fill it in")
    return text


def _plain(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())
