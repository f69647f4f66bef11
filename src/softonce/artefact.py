"""The artefact: one .safetensors file that says by itself what it is and how to use it.

An exported file carries the same record, and is served where safetensors is not installed: it is
imported where a file is read or written.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from softonce.decisions import Decisions
from softonce.errors import ArgumentError, ArtefactError
from softonce.files import is_utf8
from softonce.inference import NormalisedBy, Normaliser
from softonce.preprocessing import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

FORMAT = 1
_OPTIONAL: dict[str, Any] = {
    "packages": {}, "trained_on": "", "decisions": {}, "normaliser": "softmax",
}  # fmt: skip
"""Fields that came later, and what they are in a record that lacks them."""


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What an artefact says of itself.

    Args:
        arch: the architecture's name or spelling, for `create_model`.
        arch_args: the further arguments of `create_model`, plain JSON values.
        classes: class names in index order.
        preprocessing: from a picture to the network's square.
        temperature: what the logits are divided by before the softmax.
        training: what it was trained on and how well it did: data, fingerprint, epochs, metrics.
        output: always `logits`.
        packages: the versions of the packages that the network comes from, beside softonce.
        trained_on: hashes of the pictures that it was trained on, as `data.membership` packs them;
            empty if nothing is known.
        decisions: which answers are withheld, and which sets of classes are given; none at first.
        normaliser: what makes probabilities of the logits: `softmax`, or `sigmoid` of a foreign
            classifier whose classes do not exclude each other.
    """

    arch: str
    arch_args: dict[str, Any]
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    temperature: float = 1.0
    training: dict[str, Any] = field(default_factory=dict)
    output: str = "logits"
    packages: dict[str, str] = field(default_factory=dict)
    trained_on: str = field(default="", repr=False)
    decisions: Decisions = field(default_factory=Decisions)
    normaliser: Normaliser = "softmax"

    @property
    def normalised_by(self) -> NormalisedBy:
        """The keywords of `inference.probs`, which makes the probabilities of its logits."""
        return {"temperature": self.temperature, "normaliser": self.normaliser}

    def to_dict(self) -> dict[str, Any]:
        """Return the record as it stands in the file, without what older versions do not know."""
        record = {"format": FORMAT} | {
            **{f.name: getattr(self, f.name) for f in dataclasses.fields(self)},
            "classes": list(self.classes),
            "preprocessing": self.preprocessing.to_dict(),
            "decisions": self.decisions.to_dict(),
        }
        return {k: v for k, v in record.items() if k not in _OPTIONAL or v != _OPTIONAL[k]}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Metadata:
        """Read the record back.

        Raises:
            ArgumentError: if the format is newer than this version, a field is missing, or the
                output is not logits.
        """
        values = _OPTIONAL | record
        found = values.pop("format", None)
        if found != FORMAT:
            raise ArgumentError(f"expected format {FORMAT}, found {found}: update softonce")
        names = {f.name for f in dataclasses.fields(cls)}
        if set(values) != names:
            raise ArgumentError(f"expected the fields {sorted(names)}, found {sorted(values)}")
        if values["output"] != "logits":
            raise ArgumentError(f"expected the output 'logits', found {values['output']!r}")
        _check_kinds(values)
        values["classes"] = tuple(values["classes"])
        values["preprocessing"] = Preprocessing.from_dict(values["preprocessing"])
        values["decisions"] = Decisions.from_dict(values["decisions"])
        return cls(**values)

    def to_json(self) -> str:
        """Return the record as an exported file carries it."""
        return json.dumps(self.to_dict(), ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | None, path: Path) -> Metadata:
        """Read the record of an exported file.

        Raises:
            ArtefactError: if there is none, or it cannot be used.
        """
        if text is None:
            raise ArtefactError(
                f"expected a record of softonce in {path}, found none: "
                "make the file with softonce export"
            )
        try:
            return cls.from_dict(json.loads(text))
        except (ValueError, TypeError, AttributeError) as error:
            raise ArtefactError(f"{path} is not a usable model: {error}") from error


def _check_kinds(values: dict[str, Any]) -> None:
    """Raise an `ArgumentError` if a field of the record is of another kind than it must be."""
    kinds: dict[str, Any] = {
        "arch": str, "arch_args": dict, "classes": list, "preprocessing": dict,
        "temperature": (int, float), "training": dict, "packages": dict, "decisions": dict,
        "trained_on": str,
    }  # fmt: skip
    for name, kind in kinds.items():
        if not isinstance(values[name], kind):
            raise ArgumentError(f"expected another kind of {name}, found {values[name]!r:.60}")
    if values["normaliser"] not in get_args(Normaliser):
        raise ArgumentError(f"expected softmax or sigmoid, found {values['normaliser']!r:.60}")
    check_class_names(values["classes"])
    if not 0 < values["temperature"] < float("inf"):
        raise ArgumentError(f"expected a temperature above 0, found {values['temperature']}")


def check_class_names(names: Sequence[Any]) -> None:
    """Check that every class has a name that can be printed and tells it from the others.

    Raises:
        ArgumentError: if one is no text, is empty, is there twice or cannot be encoded.

    Example:
        >>> check_class_names(["ants", "ants"])
        Traceback (most recent call last):
        softonce.errors.ArgumentError: expected a different name for each class, found 'ants' ...
    """
    if not all(isinstance(name, str) for name in names):
        raise ArgumentError("expected class names as text, found others")
    name, times = Counter(names).most_common(1)[0] if names else ("", 0)
    if times > 1:
        raise ArgumentError(
            f"expected a different name for each class, found {name!r:.60} {times} times"
        )
    for name in names:
        if not name.strip():
            raise ArgumentError(f"expected a name for each class, found {name!r:.60}")
        if not is_utf8(name):
            raise ArgumentError(f"expected class names in UTF-8, found {name!r:.60}")


def write_artefact(path: Path, tensors: Mapping[str, Tensor], metadata: Metadata) -> None:
    """Write an artefact, whole or not at all.

    Raises:
        StorageError: if the disk is full or the folder cannot be written.
    """
    from softonce.tensors import write_tensors

    write_tensors(path, tensors, metadata.to_dict())


def read_artefact(path: Path) -> tuple[dict[str, Tensor], Metadata]:
    """Read an artefact's tensors and metadata.

    Raises:
        ArtefactError: if the file is missing, damaged, or no artefact.
    """
    from softonce.tensors import read_tensors

    tensors, record = read_tensors(path)
    return tensors, _metadata(path, record)


def read_metadata(path: Path) -> Metadata:
    """Read an artefact's metadata, without its tensors.

    Raises:
        ArtefactError: if the file is missing, damaged, or no artefact.
    """
    from softonce.tensors import read_record

    return _metadata(path, read_record(path))


def _metadata(path: Path, record: dict[str, Any]) -> Metadata:
    try:
        return Metadata.from_dict(record)
    except (ValueError, TypeError) as error:
        raise ArtefactError(f"{path} is not a usable artefact: {error}") from error
