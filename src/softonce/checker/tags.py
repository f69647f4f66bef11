"""What is known of one tensor, and one call of an operation on such tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from softonce.checker.kinds import NOTHING, Kind

if TYPE_CHECKING:
    from softonce.checker.findings import Place

Shape: TypeAlias = "tuple[int, ...] | None"
"""The sizes of a tensor; a size that is not known is -1."""


class Clue(NamedTuple):
    """What a tensor is of another one, as far as `by_hand` needs it.

    Attributes:
        form: `exp`, `total` (a sum of exponentials), `lse` (its logarithm), `complement` (1 - p),
            or `share` (rows that sum to `weight`, of `kind`).
        token: the tensor that it was made of.
        source: of a total, what the exponentials were taken of.
        shape: the shape of that tensor.
        axis: of a total, the axis of that tensor which it is over, counted from the end.
        is_kept: whether the axis of a total is there, with size 1.
        kind: of a share, P or BP.
        weight: of a share, what its rows sum to, or their largest value.
    """

    form: str
    token: object = None
    source: object = None
    shape: Shape = None
    axis: int | None = None
    is_kept: bool = True
    kind: Kind = NOTHING
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Scores:
    """What is known of one tensor.

    Attributes:
        kind: the possibilities; OTHER if only a clue is known.
        axis: where the classes lie, counted from the end: -1 is the last; None is unknown.
        op: the operation that made the kind.
        made: its line, or its node.
        direct: whether only views and copies have been made of it since.
        before: what the operation that made the kind was applied to.
        clue: what it is of another tensor.
        token: stands for its entries, in their order: a view that keeps both has the same.
    """

    kind: Kind
    axis: int | None = None
    op: str = ""
    made: Place | None = None
    direct: bool = True
    before: Scores | None = field(default=None, repr=False)
    clue: Clue | None = field(default=None, repr=False)
    token: object = field(default_factory=object, compare=False, repr=False)


Operand: TypeAlias = "Scores | float | None"
"""Scores, a number (nan: one that is not known), or a tensor of which nothing is known."""


class Call(NamedTuple):
    """One call of an operation.

    Attributes:
        op: its canonical name.
        operands: what it is given, in order; of `clamp` and `hardtanh` the bounds are two of them.
        dim: its `dim`, if it has one; several if it takes several.
        shapes: of the operands, as far as they are known.
        after: the shape of what comes out.
        order: for each axis of what comes out the axis that it was, -1 for a new one; empty if
            that is not known.
        mask: of `where`, the shape of the condition.
        made: the line, or the node.
    """

    op: str
    operands: tuple[Operand, ...]
    dim: tuple[int, ...] = ()
    shapes: tuple[Shape, ...] = ()
    after: Shape = None
    order: tuple[int, ...] = ()
    mask: Shape = None
    made: Place | None = None

    @property
    def before(self) -> Shape:
        """The shape of the first operand."""
        return self.shapes[0] if self.shapes else None
