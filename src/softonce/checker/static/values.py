"""What a name can hold while source is read: scores, modules, losses, functions, containers."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from softonce.checker.kinds import NOTHING, Kind

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable

    from softonce.checker.findings import Place

CLOCK = count(1)
State = tuple[Any, ...]


class Value:
    """Anything that a name can hold."""

    __slots__ = ()


@dataclass(slots=True, eq=False)
class Cell(Value):
    """A value that is changed in place, by everybody who holds it.

    Attributes:
        born: when it was made.
        version: when it was last changed; equal versions of a cell hold the same.
    """

    born: int = field(default_factory=CLOCK.__next__, init=False, repr=False)
    version: int = field(default=0, init=False, repr=False)

    def state(self) -> State:
        """Return what it holds, for `restore`."""
        raise NotImplementedError

    def restore(self, state: State) -> None:
        """Hold again what `state` returned."""
        raise NotImplementedError


class Scope(dict[str, Value]):
    """The names of a function, a class or a file: a cell as well."""

    __slots__ = ("born", "version")

    def __init__(self, names: dict[str, Value] | None = None) -> None:
        super().__init__(names or ())
        self.born = next(CLOCK)
        self.version = 0

    def state(self) -> State:
        """Return the names."""
        return self.version, dict(self)

    def restore(self, state: State) -> None:
        """Hold only the names of that state."""
        self.version, names = state
        self.clear()
        self.update(names)


class Maker(NamedTuple):
    """Where a kind was made, by which operation, and through which calls it came from there.

    `tests` are those of options that were decided on the way: of an object of other options they
    may go the other way.
    """

    place: Place
    op: str
    node: ast.expr | None = None
    function: ast.AST | None = None
    eval_only: bool = False
    path: tuple[Place, ...] = ()
    tests: frozenset[ast.expr] = frozenset()


@dataclass(frozen=True, slots=True)
class Scores(Value):
    """A tensor.

    Attributes:
        kind: what it may hold.
        makers: kind -> where that kind was made.
        dim: the axis of the classes, if it is known.
        num_classes: C, if it is known.
        rank: the number of axes, if it is known.
        before: what a normalising operation was applied to.
        direct: whether nothing but shape operations followed the maker.
        tempered: the probabilities that were divided by a temperature to make this.
        optional: whether an option that nobody is seen to set decides between the kinds.
        blank: whether it was zeros, or nothing, that the loop fills in row by row.
        exponent: the text of x if this is exp(x), or the sum of it if `summed`.
    """

    kind: Kind
    makers: tuple[tuple[Kind, Maker], ...] = ()
    dim: int | None = None
    num_classes: int | None = None
    rank: int | None = None
    before: Scores | None = None
    direct: bool = False
    tempered: Maker | None = None
    optional: bool = False
    exponent: str = ""
    summed: bool = False
    blank: bool = False

    def maker(self, bits: Kind) -> Maker | None:
        """Return what made one of the bits."""
        return next((maker for bit, maker in self.makers if bit & bits), None)

    @property
    def known(self) -> bool:
        """Whether nothing else is possible."""
        return not self.kind & Kind.OTHER


UNKNOWN = Scores(Kind.OTHER)
BLANK = Scores(Kind.OTHER, blank=True)
EMPTY = Scores(NOTHING)
"""A tensor without entries, which a loop puts others behind."""
ANYTHING = Scores(Kind.OTHER)
"""Too many possibilities to keep apart; joined with anything it stays what it is."""


@dataclass(frozen=True, slots=True)
class Const(Value):
    """A number, a string, a bool or None."""

    value: Any


@dataclass(slots=True, eq=False)
class Sequence(Cell):
    """A tuple or list; if its length is unknown, `items` are the possible entries."""

    items: list[Value]
    exact: bool = True

    def state(self) -> State:
        """Return the entries, and whether they are all."""
        return self.version, list(self.items), self.exact

    def restore(self, state: State) -> None:
        """Hold the entries of that state."""
        self.version, self.items[:], self.exact = state


@dataclass(slots=True, eq=False)
class Mapping(Cell):
    """A dict, or an object that is read by key and by attribute alike."""

    items: dict[Any, Value]
    exact: bool = True

    def state(self) -> State:
        """Return the entries, and whether they are all."""
        return self.version, dict(self.items), self.exact

    def restore(self, state: State) -> None:
        """Hold the entries of that state."""
        self.version, items, self.exact = state
        self.items.clear()
        self.items.update(items)


@dataclass(slots=True, eq=False)
class Options(Mapping):
    """The options of a program, or what collects them: as they are if nobody sets them."""


@dataclass(slots=True, eq=False)
class External(Value):
    """A name of another library, by its full dotted name."""

    name: str


@dataclass(slots=True, eq=False)
class Later(Value):
    """A long literal at the top of a file, evaluated when its name is first read."""

    evaluate: Callable[[], Value]
    known: Value | None = None

    def now(self) -> Value:
        """Return what it is."""
        if self.known is None:
            self.known = UNKNOWN  # where it reads itself
            self.known = self.evaluate()
        return self.known


@dataclass(slots=True, eq=False)
class Partial(Value):
    """`functools.partial`, or a method of a tensor waiting for its call."""

    function: Value
    args: list[Value]
    kwargs: dict[str, Value]


@dataclass(slots=True, eq=False)
class Method(Value):
    """A method of something that is no object of the project."""

    receiver: Value
    name: str


@dataclass(slots=True, eq=False)
class Layer(Value):
    """A torch module that is one operation, or a loss."""

    op: str
    settings: dict[str, Value]
    maker: Maker


@dataclass(slots=True, eq=False)
class Chain(Cell):
    """`nn.Sequential`, or any list of modules that are applied one after the other."""

    items: list[Value]
    names: list[str] = field(default_factory=list)
    training: bool | None = True

    def state(self) -> State:
        """Return the modules, their names, and the mode."""
        return self.version, list(self.items), list(self.names), self.training

    def restore(self, state: State) -> None:
        """Hold the modules of that state."""
        self.version, self.items[:], self.names[:], self.training = state


@dataclass(slots=True, eq=False)
class Backbone(Cell):
    """A classifier of another library: raw scores, unless its head was replaced."""

    maker: Maker
    head: Chain
    output: str = "tensor"
    num_classes: int | None = None
    attrs: dict[str, Value] = field(default_factory=dict)
    training: bool | None = True

    def state(self) -> State:
        """Return the head, what was put beside it, and the mode."""
        return self.version, self.head, dict(self.attrs), self.training

    def restore(self, state: State) -> None:
        """Hold what that state has."""
        self.version, self.head, attrs, self.training = state
        self.attrs = dict(attrs)


@dataclass(frozen=True, slots=True)
class Total(Value):
    """`sum(items)`, which is read no further than to the division that makes a mean of it.

    Attributes:
        item: any of the items.
        count: how many there are; None if that is unknown.
    """

    item: Scores
    count: int | None


@dataclass(slots=True, eq=False)
class Choice(Value):
    """One of several values, unknown which."""

    options: list[Value]


def scores(kind: Kind, maker: Maker, **more: Any) -> Scores:
    """Return a tensor that is of the kind because of the maker."""
    return Scores(kind, tuple((bit, maker) for bit in kind if bit is not Kind.OTHER), **more)
