"""What containers, objects and scopes hold: copied at a branch, merged where branches meet.

A cell is changed in place, so that everybody who holds it sees the change. At an undecided branch
the other way must start from what was there before: the heap notes the state of each cell before
its first change on a level (a call, a branch, a round of a loop), which is a copy of the whole
heap that costs as much as what was changed. A level is either kept or undone; `merge` lets each
cell hold what any of several ways has left in it. A cell made on a level needs no note there: the
other ways have never seen it.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from softonce.checker.static.lattice import choice, join_all, join_present, mark_optional
from softonce.checker.static.objects import Instance
from softonce.checker.static.values import (
    CLOCK,
    UNKNOWN,
    Backbone,
    Cell,
    Chain,
    Const,
    Layer,
    Mapping,
    Options,
    Scope,
    Sequence,
    State,
    Value,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AnyCell = Cell | Scope
_Cell = TypeVar("_Cell", bound=AnyCell)
Changes = dict[int, tuple[AnyCell, State]]
"""What each changed cell holds, by the cell's identity."""
_NEW = -1
_MODULES = (Layer, Chain, Backbone, Instance)


@dataclass(frozen=True, slots=True)
class KnownCall:
    """What a call gave, which holds for the same arguments if it finds the same to change."""

    result: Value
    reads_options: bool
    before: Changes
    changes: Changes
    given: object
    """The key has the ids of what was given: it must live as long as the key."""

    def is_valid(self) -> bool:
        """Return whether each cell that the call changed is as it was before."""
        return all(cell.version == state[0] for cell, state in self.before.values())


class _Level:
    __slots__ = ("before", "born")

    def __init__(self) -> None:
        self.born = next(CLOCK)
        self.before: Changes = {}


class Heap:
    """The states of all cells on the way that is being run."""

    def __init__(self) -> None:
        self._levels: list[_Level] = []

    def write(self, cell: _Cell) -> _Cell:
        """Return the cell, which is about to be changed."""
        if self._levels:  # `note`, written out: this is the hottest line of the heap
            level = self._levels[-1]
            if cell.born <= level.born and id(cell) not in level.before:
                level.before[id(cell)] = (cell, cell.state())
        cell.version = next(CLOCK)
        return cell

    def note(self, cell: AnyCell) -> None:
        """Note what a cell holds, if it is older than the level that runs."""
        if self._levels:
            level = self._levels[-1]
            if cell.born <= level.born and id(cell) not in level.before:
                level.before[id(cell)] = (cell, cell.state())

    @property
    def depth(self) -> int:
        """How many levels are open."""
        return len(self._levels)

    def open(self) -> int:
        """Begin a level; return its mark."""
        self._levels.append(_Level())
        return len(self._levels) - 1

    def changes(self, mark: int) -> Changes:
        """Return what the cells hold that were changed since the mark."""
        return {
            key: (cell, cell.state())
            for level in self._levels[mark:]
            for key, (cell, _) in level.before.items()
        }

    def undo(self, mark: int, *, forget: bool = False) -> Changes:
        """Go back to the mark; return what the changed cells held, if that is of use."""
        changes = {} if forget else self.changes(mark)
        for level in reversed(self._levels[mark:]):
            for cell, state in level.before.values():
                cell.restore(state)
        del self._levels[mark:]
        return changes

    def keep(self, mark: int) -> Changes:
        """End the levels since the mark; return what each older cell held before its change."""
        born, before = self._levels[mark].born, self._before(mark)
        before = {key: noted for key, noted in before.items() if noted[0].born <= born}
        del self._levels[mark:]
        if self._levels:
            level = self._levels[-1]
            for key, (cell, state) in before.items():
                if cell.born <= level.born:
                    level.before.setdefault(key, (cell, state))
        return before

    def _before(self, mark: int) -> Changes:
        """Return what each changed cell held before its first change since the mark."""
        before: Changes = {}
        for level in reversed(self._levels[mark:]):
            before |= level.before
        return before

    def merge(self, ways: list[Changes], *, optional: bool = False) -> None:
        """Let each cell hold what any of the ways has left; one that a way lacks is unchanged.

        `optional` says that options decide between the ways.
        """
        for key, cell in _cells(ways).items():
            states = [way[key][1] if key in way else cell.state() for way in ways]
            self._put(cell, states, optional=optional)

    def join_exits(self, mark: int, exits: list[Changes], *, falls_through: bool = True) -> None:
        """Merge the way at hand with those that left the levels since the mark before it did."""
        if not exits:
            return
        before = self._before(mark)
        for key, cell in _cells([*exits, before]).items():
            # A cell that had not changed when a way left held what it held before its first change.
            unchanged = before[key][1] if key in before else cell.state()
            states = [way[key][1] if key in way else unchanged for way in exits]
            self._put(cell, [*states, cell.state()] if falls_through else states)

    def end_round(self, mark: int) -> None:
        """End one round of a loop, which may as well not have been run."""
        now = self.changes(mark)
        for key, (cell, before) in self.keep(mark).items():
            if now[key][1][0] == before[0]:
                continue
            if isinstance(cell, (Sequence, Chain)) and len(before[1]) < len(cell.items):
                # What a loop fills is filled: how often is unknown.
                self.write(cell)
                if isinstance(cell, Sequence):
                    cell.exact = False
            else:
                self._put(cell, [before, now[key][1]])

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Run what happens once and for all, such as an import, whatever branch it stands in."""
        levels, self._levels = self._levels, []
        yield
        self._levels = levels

    def clear(self) -> None:
        """Forget all levels: what ran on them has failed."""
        self._levels.clear()

    def _put(self, cell: AnyCell, states: list[State], *, optional: bool = False) -> None:
        joined = states[0]
        for state in states[1:]:
            if state[0] != joined[0]:
                joined = (_NEW, *_JOINED[type(cell)](cell, joined[1:], state[1:], optional))
        if joined[0] == cell.version or (
            # What has not changed keeps its version: calls on it need not be run again.
            joined[0] == _NEW and not isinstance(cell, Scope) and joined[1:] == cell.state()[1:]
        ):
            return
        self.write(cell)
        cell.restore((cell.version if joined[0] == _NEW else joined[0], *joined[1:]))


class Hooks:
    """The hooks of all modules: of each the lists that it has, which are cells of the heap."""

    def __init__(self) -> None:
        self._lists: dict[tuple[int, str], tuple[Value, Sequence]] = {}

    def of(self, module: Value, way: str) -> Sequence | None:
        """Return the hooks of a module, in order; None if it never had one."""
        held = self._lists.get((id(module), way))
        return None if held is None else held[1]

    def opened(self, module: Value, way: str) -> Sequence:
        """Return the hooks of a module, none if it never had one."""
        hooks = self.of(module, way)
        if hooks is None:
            hooks = Sequence([])
            hooks.born = 0  # as old as the module: another branch finds it empty
            self._lists[id(module), way] = (module, hooks)  # the id must live as long as the key
        return hooks


def _cells(ways: list[Changes]) -> dict[int, AnyCell]:
    return {key: cell for way in ways for key, (cell, _) in way.items()}


Part = tuple[Any, ...]


def _either(left: Value | None, right: Value | None, optional: bool) -> Value:
    if left is right and left is not None:
        return left
    joined = join_present(left, right)
    return mark_optional(joined) if optional else joined


def _scopes(cell: Scope, left: Part, right: Part, optional: bool) -> Part:
    """A name that one way leaves out is the other's."""
    (one,), (two,) = left, right
    differ = {name for name in one.keys() | two.keys() if one.get(name) is not two.get(name)}
    changed = {name: _either(one.get(name), two.get(name), optional) for name in differ}
    return (one | changed,)


def _mappings(cell: Mapping, left: Part, right: Part, optional: bool) -> Part:
    (one, exact), (two, other) = left, right
    items = {key: _either(one.get(key), two.get(key), optional) for key in one | two}
    return items, exact and other and one.keys() == two.keys()


def _sequences(cell: Sequence, left: Part, right: Part, optional: bool) -> Part:
    (one, exact), (two, other) = left, right
    if exact and other and len(one) == len(two):
        return [_either(a, b, optional) for a, b in zip(one, two, strict=True)], True
    longer, shorter = (one, two) if len(one) > len(two) else (two, one)
    if all(isinstance(item, _MODULES) for item in longer):
        # Modules are listed to be applied in turn: one that is left out changes nothing.
        return _padded(longer, shorter, optional), exact and other
    joined = join_all([*one, *two])
    return [mark_optional(joined) if optional else joined], False


def _padded(longer: list[Value], shorter: list[Value], optional: bool) -> list[Value]:
    """Join lists of modules: what one of them lacks at its end is the identity there."""
    padding = [
        Layer("identity", {}, item.maker) if isinstance(item, Layer) else UNKNOWN
        for item in longer[len(shorter) :]
    ]
    return [_either(a, b, optional) for a, b in zip([*shorter, *padding], longer, strict=True)]


def _instances(cell: Instance, left: Part, right: Part, optional: bool) -> Part:
    (one, training, base, filled), (two, other, other_base, also) = left, right
    attrs = {
        name: _either(
            one.get(name, _default(cell, name, two)),
            two.get(name, _default(cell, name, one)),
            optional,
        )
        for name in one | two
    }
    return attrs, _mode(training, other), _bases(base, other_base), filled | also


def _default(cell: Instance, name: str, other: dict[str, Value]) -> Value | None:
    """Return what an attribute is on a way that does not set it: the class's, else unknown.

    A network or scores that one way sets are all that the attribute is read for.
    """
    for cls in cell.cls.order():
        if name in cls.scope:
            return cls.scope[name]
    return UNKNOWN if isinstance(other.get(name), (Const, Sequence, Mapping)) else None


def _bases(left: Value | None, right: Value | None) -> Value | None:
    return left if right is None else right if left is None else choice([left, right])


def _chains(cell: Chain, left: Part, right: Part, optional: bool) -> Part:
    (one, names, training), (two, more, other) = left, right
    longer, shorter = (one, two) if len(one) > len(two) else (two, one)
    items = _padded(longer, shorter, optional)
    return items, names if len(names) > len(more) else more, _mode(training, other)


def _backbones(cell: Backbone, left: Part, right: Part, optional: bool) -> Part:
    (head, attrs, training), (other_head, others, other) = left, right
    joined = head if head is other_head else Chain([choice([head, other_head])])
    items = {k: _either(attrs.get(k), others.get(k), optional) for k in attrs | others}
    return joined, items, _mode(training, other)


def _mode(left: bool | None, right: bool | None) -> bool | None:
    return left if left is right else None


_JOINED: dict[type, Callable[[Any, Part, Part, bool], Part]] = {
    Scope: _scopes,
    Sequence: _sequences,
    Mapping: _mappings,
    Options: _mappings,
    Instance: _instances,
    Chain: _chains,
    Backbone: _backbones,
}
