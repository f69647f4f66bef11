"""Answers in NumPy's files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from softonce.auditing.answers import Answers, target_of
from softonce.auditing.columns import LABELS
from softonce.auditing.shapes import claim_of_name, plain_name
from softonce.errors import DataError, UnknownNameError, describe_error

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from softonce.auditing.answers import Fields

_RANK = 2  # answers and classes


def read_arrays(opened: BinaryIO, path: Path, fields: Fields) -> Answers:
    """Return the answers of an .npy or .npz file.

    Raises:
        DataError: if there is no array of answers, or it holds NaN.
    """
    arrays = open_arrays(opened, path)
    name = array_of_scores(arrays, path, fields)
    values = np.asarray(arrays[name], np.float64)
    if np.isnan(values).any():
        raise DataError(f"expected finite numbers in {path}, found NaN: look at the classifier")
    classes = tuple(map(str, range(values.shape[1])))
    flat = {
        plain_name(each): each for each, array in arrays.items() if array.shape == values.shape[:1]
    }
    label = fields.label or next((flat[each] for each in LABELS if each in flat), None)
    if label is not None and label not in flat.values():
        raise UnknownNameError.of(f"--label-col of {path}", label, flat.values())
    labels = [] if label is None else [str(value) for value in arrays[label].tolist()]
    target = None if label is None else target_of(labels, classes, str(path))
    return Answers(values, classes, str(path), target, claim_of_name(name))


def open_arrays(opened: BinaryIO, path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file of NumPy by name; that of a .npy has none.

    Raises:
        DataError: if it is damaged, or holds Python objects.
    """
    try:
        found = np.load(opened, allow_pickle=False)
        is_one = isinstance(found, np.ndarray)
        arrays = {"": found} if is_one else {name: found[name] for name in found.files}
    except Exception as error:  # its head is parsed as Python: a damaged one may raise anything
        raise _no_arrays(path, describe_error(error, 120)) from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise _no_arrays(path, f"none in {name}")
    return arrays


def _no_arrays(path: Path, found: str) -> DataError:
    return DataError(
        f"expected arrays of NumPy at {path}, found: {found}; write them with numpy.save or "
        "numpy.savez"
    )


def array_of_scores(arrays: Mapping[str, NDArray[Any]], path: Path, fields: Fields) -> str:
    """Return the name of the array of answers.

    Raises:
        DataError: if there is none.
    """
    matrices = [
        name for name, array in arrays.items() if array.ndim == _RANK and array.dtype.kind in "fiu"
    ]
    best = min(matrices, key=lambda each: claim_of_name(each) is None, default=None)
    name = best if fields.scores is None else fields.scores
    if name is None or name not in matrices:
        shapes = {each: array.shape for each, array in arrays.items()}
        raise DataError(
            f"expected an array of answers and classes at {path}, found {shapes}: name it with "
            "--field"
        )
    return name
