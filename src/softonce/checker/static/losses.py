"""The rules that look at the arguments of a loss."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from softonce.checker.catalog import RULES, floor_sentence
from softonce.checker.kinds import KL_TARGET_RULES, SINKS, Kind, broken_rules
from softonce.checker.rule import Severity
from softonce.checker.static import axes, fixes, uses
from softonce.checker.static.lattice import as_scores
from softonce.checker.static.values import Const, Layer, Maker, Scores, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from softonce.checker.findings import Edit
    from softonce.checker.static.frame import Frame
    from softonce.checker.static.reporter import Reporter
    from softonce.checker.static.rules import Rules

_CUT = Kind.NONNEG | Kind.BOUNDED
_AFFINE = ("linear", "backbone", "conv1d", "conv2d", "conv3d", "add", "sub")
# The same arguments in the same order, for raw scores.
_OTHER_LOSS = {
    "SO103": ("nll_loss", "cross_entropy"),
    "SO105": ("binary_cross_entropy", "binary_cross_entropy_with_logits"),
}


class Losses:
    """Looks at what each loss is given."""

    def __init__(self, reporter: Reporter, rules: Rules) -> None:
        self.reporter = reporter
        self.rules = rules

    def check(
        self,
        frame: Frame,
        loss: str,
        args: list[Value],
        options: dict[str, Value],
        node: ast.expr,
        *,
        name: str = "",
    ) -> None:
        """Look at one call of a loss; `name` is what another library calls it."""
        value = args[0] if args else options.get(SINKS[loss].argument, options.get("input"))
        tensor = as_scores(value)
        if loss == "kl_div":
            self._kl(frame, args, options, node)
        if tensor.kind == Kind.OTHER:
            self.rules.tempered(frame, loss, tensor, node)
            return
        self.rules.train_on(loss, tensor, frame.place(node))
        is_nested = self._nested(frame, loss, tensor, node)
        self._axis(tensor)
        one = loss == "cross_entropy" and axes.is_one_class(axes.loss_axis(tensor), tensor)
        if one and tensor.kind == Kind.LOGITS:
            maker, effect = tensor.maker(Kind.LOGITS), " The loss is always 0."
            self.reporter.add("SO110", frame.place(node), maker, loss=name or loss, floor=effect)
        if not is_nested and not (loss == "nll_loss" and _is_unreduced(options)):
            self._kinds(frame, loss, tensor, node, name or loss)

    def check_choice(
        self,
        frame: Frame,
        losses: Sequence[Layer],
        args: list[Value],
        options: dict[str, Value],
        node: ast.expr,
    ) -> None:
        """Look at a call of one of several losses; only what is wrong for each is reported."""
        tensor = as_scores(args[0] if args else options.get("input"))
        if all(_is_all_broken(loss.op, tensor.kind) for loss in losses):
            for loss in losses:
                self.check(frame, loss.op, args, {**loss.settings, **options}, node)

    def _kinds(self, frame: Frame, loss: str, tensor: Scores, node: ast.expr, name: str) -> None:
        broken = broken_rules(loss, tensor.kind)
        if "SO201" in broken and not tensor.direct:
            del broken["SO201"]
        graver = {c: b for c, b in broken.items() if RULES[c].severity is not Severity.NOTE}
        for code, bits in list((graver or broken).items())[:1]:
            maker = tensor.maker(bits)
            if maker is None:
                continue
            all_bad = Kind(0)
            for bad in broken.values():
                all_bad |= bad
            lowered = bool(tensor.kind & ~all_bad) and code in graver
            if lowered and tensor.optional:
                continue
            if code == "SO101" and maker.eval_only:
                code = "SO207"  # noqa: PLW2901 - the same fault under its own name
            floor = (
                floor_sentence(tensor.num_classes) if code in ("SO101", "SO106", "SO207") else ""
            )
            self.reporter.add(
                code,
                frame.place(node),
                maker,
                lowered=lowered,
                tests=maker.tests if frame.is_unproven else frozenset(),
                edits=self._edits(frame, code, node, maker, lowered=lowered),
                loss=name,
                floor=floor,
            )

    def _edits(
        self, frame: Frame, code: str, node: ast.expr, maker: Maker, *, lowered: bool
    ) -> Sequence[Edit]:
        if lowered or not isinstance(node, ast.Call):
            return ()
        source = frame.module.source
        if code in _OTHER_LOSS and maker.op in _AFFINE:
            return fixes.rename(source, node, *_OTHER_LOSS[code])
        made = maker.node
        if not isinstance(made, ast.Call) or not uses.is_sole_use(node, made, frame.function):
            return ()
        if code in ("SO101", "SO104", "SO106"):
            return fixes.unwrap(source, made, maker.op, frame.function)
        if code in ("SO102", "SO107") and maker.op == "softmax":
            return fixes.rename(source, made, "softmax", "log_softmax")
        return ()

    def _nested(self, frame: Frame, loss: str, tensor: Scores, node: ast.expr) -> bool:
        """Look through log_softmax and sigmoid; return whether what was given to them is wrong."""
        before, outer = tensor.before, tensor.maker(tensor.kind)
        if before is None or outer is None or not before.known:
            return False
        place = frame.place(node)
        through_log = outer.op == "log_softmax" and loss in ("nll_loss", "cross_entropy")
        if through_log and not before.kind & ~Kind.P:
            self.reporter.drop("SO202", outer.place)
            floor = floor_sentence(tensor.num_classes)
            maker = before.maker(Kind.P)
            tests = maker.tests if maker and frame.is_unproven else frozenset[ast.expr]()
            self.reporter.add("SO101", place, maker, tests=tests, loss="log_softmax", floor=floor)
        elif through_log and not before.kind & ~_CUT and before.direct:
            self.reporter.add("SO201", place, before.maker(_CUT), loss="log_softmax")
        elif outer.op == "sigmoid" and loss == "binary_cross_entropy" and before.kind == Kind.BP:
            self.reporter.drop("SO202", outer.place)
            self.reporter.add("SO104", place, before.maker(Kind.BP), loss=loss)
        else:
            return False
        return True

    def _axis(self, tensor: Scores) -> None:
        """Report a softmax over the batch whose rows reach a loss."""
        maker = tensor.maker(Kind.P | Kind.LOGP)
        normalised = maker is not None and maker.op in ("softmax", "log_softmax")
        if maker and normalised and tensor.dim == 0 and tensor.direct and (tensor.rank or 0) > 1:
            self.reporter.add("SO203", maker.place, None, op=maker.op, dim=0)

    def _kl(
        self, frame: Frame, args: list[Value], options: dict[str, Value], node: ast.expr
    ) -> None:
        target = as_scores(args[1] if len(args) > 1 else options.get("target"))
        flag = options.get("log_target", Const(False))
        known = {"reduction", "size_average", "reduce", "**"} & options.keys()
        if not known:
            self.reporter.add("SO304", frame.place(node), None, loss="kl_div")
        if not isinstance(flag, Const) or not target.known:
            return
        rules = {KL_TARGET_RULES.get((bool(flag.value), bit)) for bit in target.kind}
        maker = target.maker(target.kind)
        if rules == {"SO108"} and maker is not None:
            is_function = isinstance(node, ast.Call) and len(args) > 1 and not flag.value
            functional = is_function and fixes.is_named(node, "kl_div")
            edits = (
                fixes.add_argument(frame.module.source, node, "log_target=True")
                if functional
                else ()
            )
            text = bool(flag.value)
            self.reporter.add(
                "SO108", frame.place(node), maker, loss="kl_div", log_target=text, edits=edits
            )


def _is_all_broken(loss: str, kind: Kind) -> bool:
    broken = broken_rules(loss, kind)
    return bool(broken) and all(bit in SINKS[loss].broken_by for bit in kind)


def _is_unreduced(options: dict[str, Value]) -> bool:
    """Return whether the loss returns its rows: `1 + nll_loss(probs)` is 1 - p_t, written so."""
    reduction, reduce = options.get("reduction"), options.get("reduce")
    return (isinstance(reduction, Const) and reduction.value == "none") or (
        isinstance(reduce, Const) and reduce.value is False
    )
