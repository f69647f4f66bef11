"""The options of `softonce explain`."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from softonce.config.coercion import coerce_fields_
from softonce.config.fields import OUTPUT, Quiet, check_range
from softonce.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

ROW = Group("A row of logits", sort_key=1)


def _split(_: Any, tokens: Sequence[Any]) -> tuple[float, ...]:
    """Read `2.0,0.5,-1`, with commas, spaces or both."""
    words = [word for token in tokens for word in token.value.replace(",", " ").split()]
    try:
        return tuple(map(float, words))
    except ValueError as error:
        raise ConfigError(f"expected numbers in --logits, found {' '.join(words)!r}") from error


@Parameter(name="*")
@dataclass(frozen=True)
class ExplainConfig:
    """Explain a rule of the checker, or the softmax and loss of a row of logits.

    Example:
        >>> ExplainConfig(logits=(2.0, 0.5, -1.0), target=0).temperature
        1.0
    """

    rule: str = ""
    """Code or name of a rule; without one, all rules are listed."""

    _: KW_ONLY

    logits: Annotated[
        tuple[float, ...],
        Parameter(group=ROW, converter=_split, n_tokens=1, allow_leading_hyphen=True, negative=()),
    ] = ()
    """Logits of one image, such as 2.0,0.5,-1."""
    target: Annotated[int, Parameter(group=ROW)] = 0
    """Index of its class."""
    temperature: Annotated[float, Parameter(group=ROW)] = 1.0
    """Number that the logits are divided by."""
    label_smoothing: Annotated[float, Parameter(group=ROW)] = 0.0
    """Share of the target spread evenly over all classes."""
    json: Annotated[bool, Parameter(group=OUTPUT, negative=())] = False
    """Print one JSON object instead of tables; needs --logits."""
    quiet: Quiet = False
    """Print only warnings."""

    def __post_init__(self) -> None:
        """Check the row."""
        coerce_fields_(self)
        check_range(self, "label_smoothing", 0, 1)
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise ConfigError(f"expected --temperature above 0, found {self.temperature}")
        if not self.logits:
            if self.json:
                raise ConfigError("expected --logits beside --json, found none")
            return
        if self.rule:
            raise ConfigError(
                f"expected a rule or --logits, found {self.rule!r} beside --logits: "
                "separate logits by commas, as in --logits 2.0,0.5,-1"
            )
        if len(self.logits) < 2 or not all(map(math.isfinite, self.logits)):
            raise ConfigError(
                f"expected two or more finite numbers in --logits, found {list(self.logits)}"
            )
        if not 0 <= self.target < len(self.logits):
            raise ConfigError(
                f"expected --target of 0 to {len(self.logits) - 1}, found {self.target}: "
                "it is the index of one of the logits"
            )
