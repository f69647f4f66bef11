"""What an audit says, each with its evidence and how sure it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

Level: TypeAlias = Literal["fault", "warning", "note"]
"""A fault makes the status 1: the numbers do not mean what they are read as."""

Sure: TypeAlias = Literal["certain", "likely", "cannot be told"]


@dataclass(frozen=True)
class Finding:
    """One thing that an audit says.

    Args:
        name: short, for programs, such as `second-softmax`.
        level: how bad it is.
        says: what is the matter, in a sentence.
        evidence: what shows it.
        sure: how sure that is; of what cannot be told, the evidence is the reason why not.
        fix: what to do, if anything.
    """

    name: str
    level: Level
    says: str
    evidence: str
    sure: Sure = "certain"
    fix: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)
