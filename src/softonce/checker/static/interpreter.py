"""Runs modules, functions and constructors on values that stand for all that is possible."""

from __future__ import annotations

import ast
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from softonce.checker.static.bodies import can_be_dropped, drop_body, statements_below
from softonce.checker.static.branches import is_option
from softonce.checker.static.calls import call
from softonce.checker.static.expressions import evaluate
from softonce.checker.static.externals import call_external
from softonce.checker.static.frame import Frame
from softonce.checker.static.heap import Changes, Heap, Hooks, KnownCall
from softonce.checker.static.lattice import join_all, mark_optional, signature
from softonce.checker.static.losses import Losses
from softonce.checker.static.objects import (
    Class,
    Function,
    FunctionNode,
    Instance,
    Module,
    decorator_names,
)
from softonce.checker.static.parameters import bind_parameters
from softonce.checker.static.project import LIBRARIES
from softonce.checker.static.rules import Rules
from softonce.checker.static.statements import bind, execute
from softonce.checker.static.values import (
    UNKNOWN,
    Chain,
    Const,
    Layer,
    Maker,
    Scope,
    Scores,
    Sequence,
    Value,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from softonce.checker.static.context import Args, Kwargs
    from softonce.checker.static.project import Project
    from softonce.checker.static.reporter import Reporter

MAX_DEPTH = 40
# How many statements one entry may take: all together, but within these.
MAX_STEPS_TOGETHER = 800_000
MAX_STEPS, MIN_STEPS = 20_000, 200
MANY_STEPS = 60_000
# As often a call at the top of a file may come to no end: what libraries do in each of their files
# (lazy imports, documentation) is long, and leaves no scores behind.
MAX_UNFINISHED = 4
# As many functions of one nested `def` are run, each with its own names around it.
MAX_NESTED = 4


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_CONTEXTS = frozenset({"contextmanager", "asynccontextmanager"})


def _is_one_of_several(value: Value | None) -> bool:
    """Return whether a method that is entered on this object might be meant for another one."""
    return isinstance(value, Instance) and len(value.cls.instances) > 1


class Interpreter:
    """Runs code without running it.

    Args:
        project: the files.
        reporter: takes the findings.
        addresses: the files that may normalise class scores.
    """

    def __init__(
        self, project: Project, reporter: Reporter, addresses: tuple[str, ...] = ()
    ) -> None:
        self.project = project
        self.reporter = reporter
        self.rules = Rules(reporter, addresses)
        self.losses = Losses(reporter, self.rules)
        self.libraries = LIBRARIES
        self.classes: dict[ast.ClassDef, Class] = {}
        self.visited: set[ast.stmt] = set()
        self._seen: set[ast.AST] = set()
        """The functions that were dropped, of which no statement was left to run."""
        self.called: set[ast.AST] = set()
        self.nested: dict[ast.AST, list[Function]] = {}
        self.steps = 0
        self.assumes_defaults = True
        self.option_reads = 0
        self.option_readers: set[ast.AST] = set()
        self._allowed = self._limit = MAX_STEPS
        self._active: list[ast.AST] = []
        self._top = 0
        """How many functions run where the file at hand is imported."""
        self._is_definition = False
        self._unfinished: Counter[ast.AST] = Counter()
        self.heap = Heap()
        self.hooks = Hooks()
        self._memo: dict[object, KnownCall] = {}
        self._free_names: dict[ast.AST, list[str]] = {}

    def share_steps(self, num_entries: int) -> None:
        """Give each of so many entries its share of the statements that may be run."""
        share = MAX_STEPS_TOGETHER // max(num_entries, 1)
        self._allowed = max(MIN_STEPS, min(MAX_STEPS, share))

    def start(self, module: Module) -> None:
        """Run a module's top level, once."""
        if not module.started:
            module.started = True
            reads, self.option_reads = self.option_reads, 0
            top, self._top = self._top, len(self._active)
            with self._budget(self._top_level_steps()), self.heap.aside():
                execute(self, Frame(module, module.scope), module.tree.body)
            module.reads_options = self.option_reads > 0
            self.option_reads, self._top = reads, top

    def read_option(self) -> None:
        """Note that what runs depends on an option of the program."""
        self.option_reads += 1

    def import_module(self, module: Module, importer: Module) -> None:
        """Run a module for a file that imports it, and before it the packages that lead to it.

        A file of the same library leaves them to whoever imports the library: to run all of a
        library for each of its parts takes long and shows nothing new.
        """
        packages = [] if module.started else self.project.packages_around(module)
        if packages and not importer.path.startswith(packages[0].folder + "/"):
            for package in packages:
                self.start(package)
        self.start(module)

    def _top_level_steps(self) -> int:
        """Return what a file's top level may take: less if many scripts have taken much."""
        return MAX_STEPS if self.steps < MANY_STEPS else MAX_STEPS // 20

    def rerun(self, module: Module) -> None:
        """Run a module's top level again, its definitions apart: options are unknown now."""
        definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import)
        body = [n for n in module.tree.body if not isinstance(n, (*definitions, ast.ImportFrom))]
        with self._budget(self._top_level_steps()):
            execute(self, Frame(module, module.scope), body)

    def decided(self, frame: Frame, test: ast.expr, outcome: bool) -> frozenset[ast.expr]:
        """Return the tests that a branch stands under, this one included if it reads options."""
        if not is_option(test):
            return frame.tests
        self.reporter.outcomes.setdefault(test, set()).add(outcome)
        return frame.tests | {test}

    def define(self, function: Function) -> None:
        """Note a nested function: it may be handed on to somebody who calls it."""
        known = self.nested.setdefault(function.node, []) if function.scopes else None
        if known is not None and len(known) < MAX_NESTED:
            known.append(function)

    def has_unseen(self, node: ast.AST) -> bool:
        """Return whether a statement below the node has not been run yet."""
        simple = (ast.Expr, ast.Assign, ast.Return, ast.AugAssign)
        return node not in self._seen and any(
            isinstance(s, simple) and s not in self.visited for s in statements_below(node)
        )

    def drop_bodies(self, module: Module) -> None:
        """Drop the trees of functions that have been run whole; a call parses its own again.

        What is defined in one is known by its tree, to those who hold it: that one stays.
        """
        for node in module.all_functions():
            if not can_be_dropped(node) or self.has_unseen(node):
                continue
            statements = list(statements_below(node))
            if not any(isinstance(each, (*_FUNCTIONS, ast.ClassDef)) for each in statements):
                self._seen.add(node)
                self.visited.difference_update(statements)
                drop_body(node)

    @contextmanager
    def _budget(self, steps: int) -> Iterator[None]:
        """Allow so many statements for the block, whatever was allowed outside."""
        limit, self._limit = self._limit, self.steps + steps
        try:
            yield
        finally:
            self._limit = limit

    @contextmanager
    def at_most(self, steps: int) -> Iterator[None]:
        """Allow no more than so many statements for the block."""
        with self._budget(min(steps, self._limit - self.steps)):
            yield

    def enter(self, function: Function) -> Value:
        """Run a function that nobody is seen to call, its arguments unknown."""
        frame = Frame(function.module, Scope(), (), function.owner)
        allowed = self._allowed if self.steps < MAX_STEPS_TOGETHER else MIN_STEPS // 4
        before = self.option_reads
        with self.at_most(allowed) if self._active else self._budget(allowed):
            result = self._run(frame, function, [], {}, entered=True)[0]
        if self.option_reads > before:
            self.option_readers.add(function.node)
        return result

    def call_function(self, caller: Frame, function: Function, args: Args, kwargs: Kwargs) -> Value:
        """Run a function of the project on what it is given."""
        node, is_at_the_top = function.node, len(self._active) == self._top
        if self._active.count(node) > 1 or len(self._active) > MAX_DEPTH:
            return UNKNOWN
        if self.steps > self._limit or (is_at_the_top and self._unfinished[node] > MAX_UNFINISHED):
            return UNKNOWN
        result = self._called(caller, function, args, kwargs)
        if is_at_the_top:
            self._unfinished[node] += self.steps > self._limit
        return result

    def _called(self, caller: Frame, function: Function, args: Args, kwargs: Kwargs) -> Value:
        self.called.add(function.node)
        if self._is_definition:
            return self._run(caller, function, args, kwargs)[0]
        key = (
            signature(function), caller.eval_only, caller.is_unproven, self._bound(function),
            self.assumes_defaults, *self._names_around(function),
            *(signature(a) for a in args),
            *((k, signature(v)) for k, v in kwargs.items()),
        )  # fmt: skip
        try:
            known = self._memo.get(key)
        except TypeError:  # a constant that cannot be hashed
            return self._run(caller, function, args, kwargs)[0]
        if known is not None and known.is_valid():
            self.heap.merge([known.changes])
            self.option_reads += known.reads_options
            return known.result
        reads = self.option_reads
        result, effects = self._run(caller, function, args, kwargs)
        has_read = self.option_reads > reads
        self._memo[key] = KnownCall(result, has_read, *effects, (function, args, kwargs))
        return result

    def _bound(self, function: Function) -> object:
        return None if function.bound is None else signature(function.bound)

    def evaluate(self, frame: Frame, node: ast.expr) -> Value:
        """Return what an expression is."""
        return evaluate(self, frame, node)

    def execute(self, frame: Frame, body: list[ast.stmt]) -> bool:
        """Run statements; return whether the block ends with them."""
        return execute(self, frame, body)

    def bind(self, frame: Frame, target: ast.expr, value: Value) -> None:
        """Store a value under a target: a name, an attribute, an item, or several."""
        bind(self, frame, target, value)

    def call(
        self, frame: Frame, callee: Value, args: Args, kwargs: Kwargs, node: ast.expr
    ) -> Value:
        """Call anything that can be called."""
        return call(self, frame, callee, args, kwargs, node)

    def call_external(
        self, frame: Frame, name: str, args: Args, kwargs: Kwargs, node: ast.expr
    ) -> Value:
        """Call a function or a class of another library, by its dotted name."""
        return call_external(self, frame, name, args, kwargs, node)

    @contextmanager
    def defining(self, steps: int) -> Iterator[None]:
        """Run decorators, in so many statements: each is called once, and is not remembered."""
        before, self._is_definition = self._is_definition, True
        try:
            with self.at_most(steps):
                yield
        finally:
            self._is_definition = before

    def _names_around(self, function: Function) -> list[object]:
        """Return what the names of the functions around a nested one hold now."""
        if not function.scopes:
            return []
        if function.node not in self._free_names:
            names = {n.id for n in ast.walk(function.node) if isinstance(n, ast.Name)}
            self._free_names[function.node] = sorted(names)
        held = (
            (n, s[n]) for n in self._free_names[function.node] for s in function.scopes if n in s
        )
        return [(name, signature(value, 1)) for name, value in held]

    def _run(
        self,
        caller: Frame,
        function: Function,
        args: Args,
        kwargs: Kwargs,
        *,
        entered: bool = False,
    ) -> tuple[Value, tuple[Changes, Changes]]:
        """Return what a call gives; what each cell that it changes held before, and holds after."""
        # What is not remembered needs no note of what it changes: registries are large.
        self.option_reads += function.module.reads_options
        mark, bound = self.heap.depth if self._is_definition else self.heap.open(), function.bound
        frame = Frame(
            function.module,
            Scope(),
            function.scopes,
            function.owner,
            self._self_of(function, args),
            caller.eval_only,
            caller.is_unproven or (entered and _is_one_of_several(bound)),
            function=function.node,
            mark=mark,
        )
        if bound is not None:
            args = [bound, *args]
        self._active.append(function.node)
        try:
            bind_parameters(self, frame, function, args, kwargs, entered=entered)
            result = self._body(frame, function.node)
        finally:
            self._active.pop()
        before = self.heap.keep(mark) if self.heap.depth > mark else {}
        return result, (before, {key: (cell, cell.state()) for key, (cell, _) in before.items()})

    def _self_of(self, function: Function, args: Args) -> Instance | None:
        """Return `self` of a method, bound or not, or of the method around a nested function."""
        held = function.bound
        if held is None and function.owner is not None and args:
            held = args[0]
        if held is None:
            held = next((scope["self"] for scope in function.scopes if "self" in scope), None)
        return held if isinstance(held, Instance) else None

    def _body(self, frame: Frame, node: FunctionNode | ast.Lambda) -> Value:
        if isinstance(node, ast.Lambda):
            return evaluate(self, frame, node.body)
        ended = execute(self, frame, node.body)
        self.heap.join_exits(frame.mark, frame.leaves, falls_through=not ended)
        if frame.yields and decorator_names(node) & _CONTEXTS:
            return join_all(frame.yields)  # it is entered before it is used
        if frame.yields:
            return Sequence([join_all(frame.yields)], exact=False)
        result = join_all(frame.returns) if frame.returns else Const(None)
        return mark_optional(result) if frame.optional_returns else result

    def instantiate(self, frame: Frame, cls: Class, args: Args, kwargs: Kwargs) -> Value:
        """Return a new object of a class of the project."""
        instance = Instance(cls)
        if len(cls.instances) < 2:
            cls.instances.append(instance)
        found = cls.find("__init__")
        if found is not None:
            self.call_function(
                frame, Function(found[1], found[0].module, (), found[0], instance), args, kwargs
            )
        elif any(base.endswith("Sequential") for base in cls.external_bases()):
            instance.base = Chain(list(args))
        else:
            self._fields(frame, instance, args, kwargs)
        return instance

    def _fields(self, frame: Frame, instance: Instance, args: Args, kwargs: Kwargs) -> None:
        """Fill in an object without a constructor: a dataclass, or a loss of torch renamed."""
        instance.attrs |= dict(zip(instance.cls.fields(), args, strict=False))
        instance.attrs |= {k: v for k, v in kwargs.items() if k != "**"}
        for base in instance.cls.external_bases():
            if base.startswith("torch.nn."):
                node = instance.cls.node.bases[0]
                made = call_external(self, frame, base, args, kwargs, node)
                if isinstance(made, (Layer, Chain)):
                    instance.base = made

    def some_instance(self, cls: Class) -> Value:
        """Return an object of a class: one that the project makes, else one of unknown options."""
        if not cls.instances:
            frame = Frame(cls.module, Scope())
            self.instantiate(frame, cls, [], {"**": UNKNOWN})
        return cls.instances[0]

    def attributed(self, value: Scores, node: ast.expr, maker: Maker, frame: Frame) -> Scores:
        """Return a layer's output as made where the layer is built, not where it is called."""
        own = maker._replace(eval_only=frame.eval_only, function=frame.function)
        makers = tuple((bit, own if m.node is node else m) for bit, m in value.makers)
        return replace(value, makers=makers)
