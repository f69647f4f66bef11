"""The rules that look at one operation, and those that wait until everything has been read."""

from __future__ import annotations

import ast
import math
from typing import TYPE_CHECKING

from softonce.checker.kinds import SPOILT, Kind
from softonce.checker.static import axes, branches, fixes, uses
from softonce.checker.static.lattice import number_of

if TYPE_CHECKING:
    from softonce.checker.findings import Place
    from softonce.checker.static.frame import Frame
    from softonce.checker.static.reporter import Reporter
    from softonce.checker.static.values import Maker, Scores, Value

NORMALISING = frozenset({"softmax", "softmin", "log_softmax"})
ACTIVATIONS = NORMALISING | {"sigmoid", "logsumexp"}
_ORDERINGS = frozenset({"gt", "ge", "lt", "le"})
_PROBABILITIES = Kind.P | Kind.BP
_SCORE_LOSSES = frozenset({"cross_entropy", "binary_cross_entropy_with_logits"})


def _is_logged_alone(frame: Frame, node: ast.expr, maker: Maker) -> bool:
    """Return whether the logarithm is all that the probabilities are for: an entropy needs both."""
    made = maker.node
    if maker.function is not frame.function or made is None or not isinstance(node, ast.Call):
        return False
    return uses.is_sole_use(node, made, frame.function)


class Rules:
    """Looks at operations as they are applied.

    Args:
        reporter: takes the findings.
        addresses: the files that may normalise class scores, for SO306.
    """

    def __init__(self, reporter: Reporter, addresses: tuple[str, ...] = ()) -> None:
        self.reporter = reporter
        self.addresses = addresses
        self.in_keras_loss = False
        self.trained: dict[Place, dict[str, Place]] = {}
        self._thresholds: list[tuple[Place, Maker, float]] = []
        self._sigmoids: list[tuple[Place, Maker]] = []
        self._activations: list[tuple[Place, Maker, str]] = []

    def operation(
        self,
        frame: Frame,
        op: str,
        tensor: Scores,
        node: ast.expr,
        dim: int | None,
        args: list[Value],
        options: dict[str, Value],
    ) -> None:
        """Look at one operation on one tensor."""
        if op in NORMALISING and len(args) < 2 and not options.keys() & {"dim", "axis", "**"}:
            self.implicit_dim(frame, op, node, tensor.rank)
        if tensor.kind == Kind.OTHER:
            self.tempered(frame, op, tensor, node)
            return
        if op in ACTIVATIONS:
            self._activation(frame, op, tensor, node, dim)
        if op == "log" and tensor.kind == Kind.P and tensor.direct:
            maker = tensor.maker(Kind.P)
            if maker and maker.op == "softmax" and _is_logged_alone(frame, node, maker):
                edits = fixes.log_of_softmax(frame.module.source, node, maker)
                self.reporter.add("SO204", frame.place(node), maker, edits=edits)
        if op in _ORDERINGS and len(args) > 1:
            self._threshold_at(frame, tensor, number_of(args[1]), node)
        if op == "round":
            self._threshold_at(frame, tensor, 0.5, node)
        if op == "argmax":
            self._argmax(frame, tensor, node, dim)

    def implicit_dim(self, frame: Frame, op: str, node: ast.expr, rank: int | None = None) -> None:
        """Report a softmax without dim."""
        edits = fixes.add_argument(frame.module.source, node, "dim=1") if rank == 2 else ()
        self.reporter.add("SO301", frame.place(node), None, op=op, edits=edits)

    def tempered(self, frame: Frame, op: str, tensor: Scores, node: ast.expr) -> None:
        """Report what reads probabilities divided by a temperature as if they still were some."""
        if tensor.tempered is not None and op in SPOILT:
            self.reporter.add("SO206", frame.place(node), tensor.tempered)

    def _activation(
        self, frame: Frame, op: str, tensor: Scores, node: ast.expr, dim: int | None
    ) -> None:
        place = frame.place(node)
        self._second(frame, op, tensor, node, dim)
        if tensor.kind != Kind.LOGITS:
            return
        maker = tensor.maker(Kind.LOGITS)
        if maker is None:
            return
        self._activations.append((place, maker, op))
        # A sigmoid beside its linear layer is a gate of the network itself.
        if op == "sigmoid" and maker.function is not frame.function and not frame.branches:
            self._sigmoids.append((place, maker))
        if op in NORMALISING and dim == 0 and maker.op == "backbone" and tensor.rank == 2:
            self.reporter.add("SO203", place, maker, op=op, dim=dim)
        # If one class is one case of two, the other branch is likely to be meant for it.
        if op in NORMALISING and axes.is_one_class(dim, tensor) and not frame.branches:
            self.reporter.add("SO110", place, maker, loss=op)

    def _second(
        self, frame: Frame, op: str, tensor: Scores, node: ast.expr, dim: int | None
    ) -> None:
        """Report softmax of probabilities and sigmoid of a sigmoid, over the same axis."""
        wanted = {"softmax": Kind.P, "log_softmax": Kind.P, "sigmoid": _PROBABILITIES}.get(op)
        if wanted is not None and tensor.kind & Kind.P and tensor.kind & ~Kind.P:
            self._second_of_one_branch(frame, op, tensor.maker(Kind.P), node)
        if wanted is None or not tensor.known or tensor.kind & ~wanted or not tensor.direct:
            return
        other_axis = op != "sigmoid" and dim is not None and tensor.dim not in (None, dim)
        if not other_axis:
            code = "SO404" if self.in_keras_loss else "SO202"
            self.reporter.add(code, frame.place(node), tensor.maker(tensor.kind), loss=op)

    def _second_of_one_branch(
        self, frame: Frame, op: str, maker: Maker | None, node: ast.expr
    ) -> None:
        """Report a softmax for all that stands after `if ...: p = p.softmax(dim)`.

        Whatever `p` is otherwise, that branch goes through two of them: its test and this line are
        in one function, and nothing else decides whether this line is reached.
        """
        if maker is None or maker.function is not frame.function or frame.branches:
            return
        first = maker.node
        if isinstance(first, ast.Call) and isinstance(node, ast.Call):
            same_name = branches.is_set_again(frame.function or frame.module.tree, first, node)
            if same_name and branches.axis_of(first) == branches.axis_of(node):
                self.reporter.add("SO202", frame.place(node), maker, on_one_branch=True, loss=op)

    def threshold(
        self,
        frame: Frame,
        tensor: Scores,
        test: ast.cmpop,
        number: float | None,
        node: ast.expr,
    ) -> None:
        """Note a comparison of raw scores with a number."""
        if isinstance(test, (ast.Gt, ast.GtE, ast.Lt, ast.LtE)):
            self._threshold_at(frame, tensor, number, node)

    def _threshold_at(
        self, frame: Frame, tensor: Scores, number: float | None, node: ast.expr
    ) -> None:
        maker = tensor.maker(Kind.LOGITS)
        if tensor.kind == Kind.LOGITS and maker and number is not None and 0 < number < 1:
            self._thresholds.append((frame.place(node), maker, number))

    def _argmax(self, frame: Frame, tensor: Scores, node: ast.expr, dim: int | None) -> None:
        maker = tensor.maker(Kind.P | Kind.LOGP)
        if maker is None or not tensor.direct or not tensor.known:
            return
        self.reporter.add("SO303", frame.place(node), maker)
        if tensor.dim == 0 and dim in (1, -1) and (tensor.rank or 0) > 1:
            self.reporter.add("SO203", maker.place, None, op=maker.op, dim=0)

    def train_on(self, loss: str, tensor: Scores, place: Place) -> None:
        """Note that a loss reads the tensor."""
        for _, maker in tensor.makers:
            self.trained.setdefault(maker.place, {}).setdefault(loss, place)

    def finish(self) -> None:
        """Report what could not be said before every loss was seen."""
        for place, maker, number in self._thresholds:
            if self.trained.get(maker.place, {}).keys() & _SCORE_LOSSES:
                probability = f"{1 / (1 + math.exp(-number)):.3f}"
                self.reporter.add(
                    "SO205", place, maker, threshold=f"{number:g}", probability=probability
                )
        for place, maker in self._sigmoids:
            losses = self.trained.get(maker.place, {})
            if losses.keys() == {"cross_entropy"}:
                trained = losses["cross_entropy"]
                self.reporter.add("SO208", place, maker, loss="sigmoid", trained=trained)
        for place, maker, op in self._activations if self.addresses else ():
            is_trained = self.trained.get(maker.place, {}).keys() - {"unknown"}
            proven = is_trained or maker.op in ("backbone", "declared")
            if proven and not any(
                place.path.endswith(a) or a in place.path for a in self.addresses
            ):
                self.reporter.add("SO306", place, maker, op=op, addresses=", ".join(self.addresses))
