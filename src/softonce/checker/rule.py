"""What a rule is, and how bad it is to break one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """How bad: errors end a run with status 1, warnings do so under `--strict`, notes never."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"

    @property
    def lower(self) -> Severity:
        """The next lower level, for what happens on one branch only."""
        return Severity.WARNING if self is Severity.ERROR else Severity.NOTE


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        code: `SO` and three digits.
        name: words joined by hyphens.
        severity: of a finding that is proven on every branch.
        summary: what is wrong, in one line.
        message: what a finding says; `{loss}` is the consumer, `{op}` what made the kind, `{made}`
            where, `{floor}` a sentence with numbers or nothing.
        why: the reason, in numbers.
        fix: what to do.
        default: whether it is on without being selected.
        watched: whether only a running script can show it.
    """

    code: str
    name: str
    severity: Severity
    summary: str
    message: str
    why: str
    fix: str
    default: bool = True
    watched: bool = False
