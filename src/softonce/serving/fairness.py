"""Whose turn it is: every request gets the same share of a resource, however much it asks for."""

from __future__ import annotations

import heapq
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """A queue of the work of many owners, who take turns in proportion to the cost of each piece.

    An owner with much work does not hold up one with little, whoever came first, and whoever waits
    is served at last. A clock counts the cost that each owner would have been served by now if all
    were served at once; what would end first goes first.

    Source:
        Demers, Keshav and Shenker 1989, Analysis and simulation of a fair queueing algorithm.

    Example:
        >>> queue = FairQueue()
        >>> for piece in ("a1", "a2", "a3", "b1"):
        ...     queue.push(piece[0], piece, cost=1)
        >>> [queue.pop() for _ in range(len(queue))]
        ['a1', 'b1', 'a2', 'a3']
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, float, Hashable, Item]] = []
        self._order = count()
        self._clock = 0.0
        self._ends: dict[Hashable, float] = {}  # of the last piece of each owner who waits
        self._waiting: Counter[Hashable] = Counter()

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[Item]:
        """Go through what waits, in no order."""
        return (item for *_, item in self._heap)

    def push(self, owner: Hashable, item: Item, *, cost: float) -> None:
        """Add a piece of an owner's work."""
        start = max(self._clock, self._ends.get(owner, 0.0))
        self._ends[owner] = end = start + cost
        self._waiting[owner] += 1
        heapq.heappush(self._heap, (end, next(self._order), cost, owner, item))

    def peek(self) -> Item:
        """Return the piece whose turn it is, and leave it."""
        return self._heap[0][-1]

    def pop(self) -> Item:
        """Take the piece whose turn it is."""
        _, _, cost, owner, item = heapq.heappop(self._heap)
        self._clock += cost / len(self._waiting)
        self._waiting[owner] -= 1
        if not self._waiting[owner]:  # whoever comes back begins anew
            del self._waiting[owner], self._ends[owner]
        return item
