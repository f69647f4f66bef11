"""What a name can hold while source is read: scores, modules, losses, functions, containers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from softonce.checker.kinds import NOTHING, Kind

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable

    from softonce.checker.findings import Place
    from softonce.checker.static.project import Class, Module

MAX_CHOICES = 8


class Value:
    """Anything that a name can hold."""

    __slots__ = ()


class Maker(NamedTuple):
    """Where a kind was made, by which operation, and through which calls it came from there."""

    place: Place
    op: str
    node: ast.expr | None = None
    module: Module | None = None
    function: ast.AST | None = None
    eval_only: bool = False
    path: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class Scores(Value):
    """A tensor.

    Attributes:
        kind: what it may hold.
        makers: kind -> where that kind was made.
        dim: the axis of the classes, where it is known.
        num_classes: C, where it is known.
        rank: the number of axes, where it is known.
        before: what a normalising operation was applied to.
        direct: whether nothing but shape operations followed the maker.
        tempered: the probabilities that were divided by a temperature to make this.
        optional: whether an option that nobody is seen to set decides between the kinds.
        blank: whether it was zeros, or nothing, that the loop fills in row by row.
        exponent: the text of x where this is exp(x), or the sum of it if `summed`.
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
ANYTHING = Scores(Kind.OTHER)
"""Too many possibilities to keep apart; joined with anything it stays what it is."""


@dataclass(frozen=True, slots=True)
class Const(Value):
    """A number, a string, a bool or None."""

    value: Any


@dataclass(slots=True, eq=False)
class Sequence(Value):
    """A tuple or list; where its length is unknown, `items` are the possible entries."""

    items: list[Value]
    exact: bool = True


@dataclass(slots=True, eq=False)
class Mapping(Value):
    """A dict, or an object that is read by key and by attribute alike."""

    items: dict[Any, Value]
    exact: bool = True


@dataclass(slots=True, eq=False)
class Options(Mapping):
    """The options of a program, or what collects them: as they are where nobody sets them."""


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
class Function(Value):
    """A function of the project, with what it is bound to and the names around it."""

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    module: Module
    scope: dict[str, Value] | None = None
    owner: Class | None = None
    bound: Value | None = None


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
class Super(Value):
    """`super()`: the classes after `owner` in the order of `instance`."""

    instance: Instance
    owner: Class


@dataclass(slots=True, eq=False)
class Instance(Value):
    """An object of a class of the project."""

    cls: Class
    attrs: dict[str, Value] = field(default_factory=dict)
    training: bool | None = True
    version: int = 0
    base: Value | None = None
    filled: set[str] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class Layer(Value):
    """A torch module that is one operation, or a loss."""

    op: str
    settings: dict[str, Value]
    maker: Maker


@dataclass(slots=True, eq=False)
class Chain(Value):
    """`nn.Sequential`, or any list of modules that are applied one after the other."""

    items: list[Value]
    names: list[str] = field(default_factory=list)
    training: bool | None = True


@dataclass(slots=True, eq=False)
class Backbone(Value):
    """A classifier of another library: raw scores, unless its head was replaced."""

    maker: Maker
    head: Chain
    output: str = "tensor"
    num_classes: int | None = None
    attrs: dict[str, Value] = field(default_factory=dict)
    training: bool | None = True


@dataclass(slots=True, eq=False)
class Choice(Value):
    """One of several values, unknown which."""

    options: list[Value]


def scores(kind: Kind, maker: Maker, **more: Any) -> Scores:
    """Return a tensor that is of the kind because of the maker."""
    return Scores(kind, tuple((bit, maker) for bit in kind if bit is not Kind.OTHER), **more)


def join(left: Value, right: Value) -> Value:
    """Return what holds where either may be."""
    if left is right or left is ANYTHING:
        return left
    if right is ANYTHING:
        return right
    if isinstance(left, Scores) and isinstance(right, Scores):
        return _join_scores(left, right)
    if isinstance(left, Const) and isinstance(right, Const):
        return left if left == right and type(left.value) is type(right.value) else UNKNOWN
    if isinstance(left, Sequence) and isinstance(right, Sequence):
        return _join_sequences(left, right)
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        keys = [*left.items, *(key for key in right.items if key not in left.items)]
        items = {k: join_present(left.items.get(k), right.items.get(k)) for k in keys}
        return Mapping(items, left.exact and right.exact)
    return choice([left, right])


def join_present(left: Value | None, right: Value | None) -> Value:
    """Join two values of which one may be absent."""
    if left is None:
        return UNKNOWN if right is None else right
    return left if right is None else join(left, right)


def mark_optional(value: Value) -> Value:
    """Return the value with its undecided kinds marked as a matter of options."""
    if isinstance(value, Scores) and value.kind.bit_count() > 1:
        return replace(value, optional=True)
    if isinstance(value, Sequence):
        return Sequence([mark_optional(item) for item in value.items], value.exact)
    return value


def join_all(values: list[Value]) -> Value:
    """Join any number of values."""
    if not values:
        return UNKNOWN
    result = values[0]
    for value in values[1:]:
        result = join(result, value)
    return result


def choice(values: list[Value]) -> Value:
    """Return one of the values, unknown which, flat and without repetition."""
    options: list[Value] = []
    for value in values:
        for option in value.options if isinstance(value, Choice) else [value]:
            if not any(option is seen or _same(option, seen) for seen in options):
                options.append(option)
            if len(options) > MAX_CHOICES or option is ANYTHING:
                return ANYTHING
    return options[0] if len(options) == 1 else Choice(options)


def _same(left: Value, right: Value) -> bool:
    if isinstance(left, (Scores, Const)):
        return bool(left == right)
    return isinstance(left, External) and isinstance(right, External) and left.name == right.name


def options_of(value: Value) -> list[Value]:
    """Return the values that a value may be, without None.

    Beside a module or a loss of known class, an unknown one (`torch.load`) is left out as well:
    what is wrong with the known one is wrong wherever it is used.
    """
    if not isinstance(value, Choice):
        return [value]
    options = [v for v in value.options if not (isinstance(v, Const) and v.value is None)]
    if any(isinstance(v, (Instance, Layer, Chain, Backbone)) for v in options):
        options = [v for v in options if not isinstance(v, Scores)]
    return options or [UNKNOWN]


def _join_scores(left: Scores, right: Scores) -> Scores:
    if left == right:
        return left
    if left.blank and right.blank and Kind.OTHER in (left.kind, right.kind):
        return right if left.kind == Kind.OTHER else left
    makers = dict(right.makers) | dict(left.makers)
    return Scores(
        left.kind | right.kind,
        tuple(makers.items()),
        left.dim if left.dim == right.dim else None,
        left.num_classes if left.num_classes == right.num_classes else None,
        left.rank if left.rank == right.rank else None,
        left.before if left.before == right.before else None,
        left.direct and right.direct,
        left.tempered if left.tempered == right.tempered else None,
        left.optional or right.optional,
        blank=left.blank and right.blank,
    )


def _join_sequences(left: Sequence, right: Sequence) -> Sequence:
    if left.exact and right.exact and len(left.items) == len(right.items):
        return Sequence([join(a, b) for a, b in zip(left.items, right.items, strict=True)])
    return Sequence([join_all([*left.items, *right.items])], exact=False)


def as_scores(value: Value | None) -> Scores:
    """Return the value as a tensor: the join of its options, unknown where it is none."""
    if isinstance(value, Scores):
        return value
    if isinstance(value, Choice):
        joined = Scores(NOTHING)
        for option in options_of(value):
            joined = _join_scores(as_scores(option), joined) if joined.kind else as_scores(option)
        return joined
    return UNKNOWN


def number_of(value: Value | None) -> float | None:
    """Return the number that a value is, if it is one."""
    if isinstance(value, Const) and isinstance(value.value, (int, float)):
        return None if isinstance(value.value, bool) else value.value
    return None


def int_of(value: Value | None) -> int | None:
    """Return the integer that a value is, if it is one."""
    number = number_of(value)
    return number if isinstance(number, int) else None


def with_maker(tensor: Scores, maker: Maker) -> Scores:
    """Return the tensor with another maker of all its bits."""
    return replace(tensor, makers=tuple((bit, maker) for bit, _ in tensor.makers))


def signature(value: Value, depth: int = 3) -> Any:
    """Return something hashable that is equal for values that behave alike."""
    if isinstance(value, Scores):
        return value
    if isinstance(value, Const):
        return (type(value.value), value.value)
    if depth and isinstance(value, Sequence):
        return ("seq", value.exact, *(signature(item, depth - 1) for item in value.items))
    if depth and isinstance(value, Mapping):
        pairs = ((key, signature(item, depth - 1)) for key, item in value.items.items())
        return ("map", value.exact, *pairs)
    if isinstance(value, Function):
        return (id(value.node), id(value.bound), id(value.scope))
    if isinstance(value, Instance):
        return (id(value), value.version, value.training)
    return id(value)
