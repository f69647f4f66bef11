"""torch.distributions: what a distribution keeps of the scores that it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softonce.checker.kinds import Kind
from softonce.checker.static.lattice import as_scores
from softonce.checker.static.operations import apply, maker_of
from softonce.checker.static.values import UNKNOWN, Const, Mapping, Scores, Value, scores

if TYPE_CHECKING:
    import ast

    from softonce.checker.static.context import Run
    from softonce.checker.static.frame import Frame

_CATEGORICAL = frozenset(
    {"Categorical", "OneHotCategorical", "OneHotCategoricalStraightThrough", "Multinomial"}
)


def call(
    run: Run,
    frame: Frame,
    name: str,
    args: list[Value],
    kwargs: dict[str, Value],
    node: ast.expr,
) -> Value | None:
    """Return a distribution as what `.probs` and `.logits` give; None for those without."""
    if name not in (*_CATEGORICAL, "Bernoulli"):
        return None
    given = {**dict(zip(("probs", "logits"), args, strict=False)), **kwargs}
    logits, probs = given.get("logits"), given.get("probs")
    is_given = logits is not None and not (isinstance(logits, Const) and logits.value is None)
    if is_given and name == "Bernoulli":
        made = apply(run, frame, "sigmoid", [as_scores(logits)], {}, node)
        return Mapping({"probs": made, "logits": as_scores(logits)}, exact=False)
    if is_given:
        # `.logits` are normalised: log-probabilities, whatever the scores were.
        tensor = as_scores(logits)
        dim = Const(-1 if tensor.dim is None else tensor.dim)
        made = apply(run, frame, "softmax", [tensor], {"dim": dim}, node)
        return Mapping({"probs": made, "logits": _logarithm(frame, made, node)}, exact=False)
    held = as_scores(probs)
    return Mapping({"probs": held, "logits": _logarithm(frame, held, node)}, exact=False)


def _logarithm(frame: Frame, probs: Value, node: ast.expr) -> Value:
    tensor = as_scores(probs)
    if tensor.kind != Kind.P:
        return UNKNOWN
    known: Scores = scores(Kind.LOGP, maker_of(frame, node, "log_softmax"), dim=-1)
    return known
