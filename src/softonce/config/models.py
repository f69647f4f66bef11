"""The options of `softonce models`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Annotated

from cyclopts import Parameter

from softonce.config.coercion import coerce_fields_
from softonce.config.fields import OUTPUT, Quiet


@Parameter(name="*")
@dataclass(frozen=True)
class ModelsConfig:
    """List the networks that can be trained.

    Example:
        >>> ModelsConfig("timm:vit_tiny*").pattern
        'timm:vit_tiny*'
    """

    pattern: str = ""
    """Pattern that the names match, such as resnet* or timm:convnext*. [default: every name of
    softonce's own, and how many the other sources have]"""

    _: KW_ONLY

    json: Annotated[bool, Parameter(group=OUTPUT, negative=())] = False
    """Print one JSON object a line instead of a table."""
    quiet: Quiet = False
    """Print only warnings."""

    def __post_init__(self) -> None:
        """Check the kind of every option."""
        coerce_fields_(self)
