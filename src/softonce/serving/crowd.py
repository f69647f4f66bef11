"""Which connections may stay open: so many, and a few more that may only ask how the service is."""

from __future__ import annotations

import asyncio
from collections import Counter
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

from softonce.console import LOG

if TYPE_CHECKING:
    from softonce.serving.metrics import Metrics

RESERVE = 64
"""Connections beyond the limit: enough for every probe and scraper of a cluster at once."""

_QUIET_SECONDS = 10.0
"""Between two lines of log about refusals: a flood of clients must not become a flood of log."""

WORDS = {
    "shed": "gave way to new ones",
    "head": "did not send a whole head in time",
    "full": "found no place",
    "stuck": "did not take their answers",
}
"""Why connections are ended, beside `idle`, which is as it should be."""


class Stage(IntEnum):
    """How dear a connection is; the cheapest goes first when there are too many."""

    STRANGER = 0  # has not sent a whole head yet
    IDLE = 1  # was answered, and may ask again
    SENDING = 2  # its body is arriving
    ANSWERING = 3  # is never ended for others


class Guest(Protocol):
    """A connection, as the crowd sees it."""

    def shed(self) -> None:
        """End at once, and leave the crowd."""


class Crowd:
    """The open connections, by stage and age.

    A connection beyond the limit takes the place of another: of one that has never sent a whole
    head, else of an idle one, else of one whose body is still arriving; the oldest first. If all
    are being answered, it gets a place in the reserve.

    Args:
        limit: connections in ordinary places.
        metrics: are told why connections end.
        reserve: connections beyond the limit.

    Example:
        >>> from types import SimpleNamespace
        >>> crowd = Crowd(1, SimpleNamespace(ended=print))
        >>> guest = object()
        >>> crowd.enter(guest), crowd.size
        (True, 1)
    """

    def __init__(self, limit: int, metrics: Metrics, reserve: int = RESERVE) -> None:
        self.limit, self.reserve, self._metrics = limit, reserve, metrics
        # By place (ordinary, reserve) and stage, oldest first: dictionaries keep their order.
        self._places: tuple[dict[Guest, Stage], dict[Guest, Stage]] = ({}, {})
        self._stages = [[dict[Guest, None]() for _ in Stage] for _ in self._places]
        self._unsaid: Counter[str] = Counter()
        self._silence: asyncio.TimerHandle | None = None

    @property
    def size(self) -> int:
        """Number of open connections."""
        return sum(map(len, self._places))

    def enter(self, guest: Guest) -> bool:
        """Take a new connection in, and return whether its place is an ordinary one."""
        for place, limit in enumerate((self.limit, self.reserve)):
            if len(self._places[place]) >= limit:
                self._make_room(place)
            if len(self._places[place]) < limit:
                self._places[place][guest] = Stage.STRANGER
                self._stages[place][Stage.STRANGER][guest] = None
                return place == 0
        self.note("full")
        guest.shed()
        return False

    def leave(self, guest: Guest) -> None:
        """Forget a connection that has ended."""
        for place, guests in enumerate(self._places):
            stage = guests.pop(guest, None)
            if stage is not None:
                del self._stages[place][stage][guest]

    def move(self, guest: Guest, stage: Stage) -> None:
        """Note what a connection does now; it is the youngest of that stage."""
        for place, guests in enumerate(self._places):
            if guest in guests:
                del self._stages[place][guests[guest]][guest]
                guests[guest] = stage
                self._stages[place][stage][guest] = None

    def note(self, reason: str) -> None:
        """Count a connection that was ended or refused; say so, but not each time."""
        self._metrics.ended(reason)
        if reason in WORDS:
            self._unsaid[reason] += 1
            if self._silence is None:
                self._say()

    def _make_room(self, place: int) -> None:
        for stage in (Stage.STRANGER, Stage.IDLE, Stage.SENDING):
            oldest = next(iter(self._stages[place][stage]), None)
            if oldest is not None:
                self.note("shed")
                oldest.shed()
                self.leave(oldest)
                return

    def _say(self) -> None:
        found = ", ".join(f"{count:,} {WORDS[reason]}" for reason, count in self._unsaid.items())
        LOG.warning(
            "connections: %s; %d are open, --max-connections %d", found, self.size, self.limit
        )
        self._unsaid.clear()
        self._silence = asyncio.get_running_loop().call_later(_QUIET_SECONDS, self._break_silence)

    def _break_silence(self) -> None:
        self._silence = None
        if self._unsaid:
            self._say()
