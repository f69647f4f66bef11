"""Whether the labels fit the classes in another order: the columns were permuted on their way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from softonce.metrics.paired import Agreement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Classes = NDArray[np.int64]

_IMPROBABLE = 1e-6
"""A McNemar test this improbable says that the other order is better."""

_FAR_BETTER = 0.2
"""So much accuracy it must gain at least: confused classes are no permuted ones."""


@dataclass(frozen=True)
class Order:
    """Another order of the classes.

    Args:
        meant: (C,) the class that each column holds; a column without evidence holds its own.
        agreement: of the order as it is and of this one with the labels, on answers that had no
            part in finding it.
        words: how the orders differ.
    """

    meant: Classes
    agreement: Agreement
    words: str


def find_order(pred: Classes, target: Classes, classes: Sequence[str]) -> Order | None:
    """Return the order that the labels fit far better, if there is one.

    The order is the assignment of columns to labels that makes most answers right. It is found on
    each half of the answers and tried on the other, since on the same half it is never worse.

    Args:
        pred: (N,) the column with the largest number of each answer.
        target: (N,) the class that is right.
        classes: the names, in the order of the columns.

    Example:
        >>> target = np.arange(90) % 3
        >>> find_order((target + 1) % 3, target, ["a", "b", "c"]).meant.tolist()
        [2, 0, 1]
        >>> find_order(target, target, ["a", "b", "c"]) is None
        True

    Source:
        Kuhn 1955, The Hungarian Method for the Assignment Problem.
    """
    num_classes = len(classes)
    # Drawn, since classes may follow one another in some order.
    is_first = np.random.default_rng(0).permutation(len(target)) % 2 == 0
    found = np.empty(len(target), np.int64)
    for half in (is_first, ~is_first):
        found[~half] = _best(pred[half], target[half], num_classes)[pred[~half]]
    agreement = Agreement.of(pred == target, found == target)
    low, _ = agreement.interval()
    if agreement.only_second <= agreement.only_first or low < _FAR_BETTER:
        return None
    if agreement.p_value() > _IMPROBABLE:
        return None
    meant = _best(pred, target, num_classes)
    return Order(meant, agreement, _describe(meant, classes))


def _best(pred: Classes, target: Classes, num_classes: int) -> Classes:
    """Return the class (C,) that each column is best taken for; its own without evidence."""
    columns, labels = np.unique(pred), np.unique(target)
    counts = np.zeros((len(columns), len(labels)))
    places = np.searchsorted(columns, pred), np.searchsorted(labels, target)
    np.add.at(counts, places, 1.0)
    meant = np.arange(num_classes)
    if len(columns) <= len(labels):
        pairs = list(enumerate(assign(-counts)))
    else:
        pairs = [(row, column) for column, row in enumerate(assign(-counts.T))]
    for row, column in pairs:
        if counts[row, column]:
            meant[columns[row]] = labels[column]
    return meant


def assign(cost: NDArray[np.float64]) -> list[int]:
    """Return the column of each row that makes the sum of costs least, each column once.

    Args:
        cost: (n, m) with n <= m.

    Example:
        >>> assign(np.array([[4.0, 1.0], [2.0, 0.0]]))
        [1, 0]

    Source:
        Jonker and Volgenant 1987, A Shortest Augmenting Path Algorithm for Dense and Sparse Linear
        Assignment Problems; in the form of Crouse 2016, On implementing 2D rectangular assignment
        algorithms.
    """
    num_rows, num_columns = cost.shape
    of_row, of_column = np.zeros(num_rows), np.zeros(num_columns)
    row_of = np.full(num_columns, -1)
    for start in range(num_rows):
        shortest = np.full(num_columns, np.inf)
        before = np.full(num_columns, -1)
        is_done = np.zeros(num_columns, np.bool_)
        row, reached, visited = start, 0.0, [start]
        while True:
            path = reached + cost[row] - of_row[row] - of_column
            is_better = ~is_done & (path < shortest)
            shortest[is_better], before[is_better] = path[is_better], row
            column = int(np.where(is_done, np.inf, shortest).argmin())
            reached = shortest[column]
            is_done[column] = True
            if row_of[column] < 0:
                break
            row = int(row_of[column])
            visited.append(row)
        of_row[start] += reached
        for other in visited[1:]:
            of_row[other] += reached - shortest[np.flatnonzero(row_of == other)[0]]
        of_column[is_done] -= reached - shortest[is_done]
        _augment_(row_of, before, column, start)
    columns = np.empty(num_rows, np.int64)
    taken = np.flatnonzero(row_of >= 0)
    columns[row_of[taken]] = taken
    found: list[int] = columns.tolist()
    return found


def _augment_(row_of: Classes, before: Classes, column: int, start: int) -> None:
    """Turn the path that ends in a free column around, so that one more row has a column."""
    while True:
        row = int(before[column])
        following = np.flatnonzero(row_of == row)
        row_of[column] = row
        if row == start:
            return
        column = int(following[0])


def _describe(meant: Classes, classes: Sequence[str]) -> str:
    """Return how the order differs: by a rule if one is known, else by its first pairs."""
    num = len(classes)
    moved = np.flatnonzero(meant != np.arange(num))
    for words, rule in _rules(classes):
        if (meant[moved] == rule[moved]).all() and len(moved) == int(
            (rule != np.arange(num)).sum()
        ):
            return words
    shifts = np.unique((meant[moved] - moved) % num)
    if len(shifts) == 1:
        step = int(shifts[0]) if shifts[0] <= num // 2 else int(shifts[0]) - num
        return (
            f"each column holds the class {abs(step)} {'after' if step > 0 else 'before'} its own"
        )
    pairs = ", ".join(f"{classes[i]} holds {classes[meant[i]]}" for i in moved[:4])
    return pairs + (f" and {len(moved) - 4} more" if len(moved) > 4 else "")


def _rules(classes: Sequence[str]) -> list[tuple[str, Classes]]:
    """Return orders that classes are often in by mistake: the class (C,) of each column."""
    places = np.arange(len(classes))
    as_text = np.array(sorted(places.tolist(), key=str), np.int64)
    by_name = np.argsort(np.array(classes, dtype=object), kind="stable")
    return [
        ("the classes are reversed", places[::-1]),
        ("the numbers of the classes were sorted as text: 0, 1, 10, 11, 2", as_text),
        ("the names were sorted before the numbers were read", np.argsort(as_text)),
        ("the classes are in the order of their names", by_name),
    ]
