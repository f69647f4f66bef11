"""`softonce explain`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from softonce.config.explain import ExplainConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def explain(config: ExplainConfig = ExplainConfig()) -> None:  # noqa: B008 - frozen
    """Explain a rule of the checker, or the softmax and loss of a row of logits.

    A rule's page says what, why in numbers, guilty and innocent code, the repair. With --logits:
    both routes to the same loss, the gradients, and what a second softmax would make of them.
    """
    if not config.logits:
        _print_rules(config.rule)
        return
    lesson = lesson_of(config)
    if config.json:
        print(json.dumps(lesson))  # noqa: T201 - the result
        return
    from softonce.cli.tables import print_lesson

    print_lesson(lesson)


def lesson_of(config: ExplainConfig) -> dict[str, Any]:
    """Compute, in float64, what one row of logits gives through one softmax and through two.

    Example:
        >>> lesson = lesson_of(ExplainConfig(logits=(2.0, 0.5, -1.0), target=0))
        >>> [round(lesson[name], 4) for name in ("cross_entropy", "nll_loss", "floor")]
        [0.2413, 0.2413, 0.5514]
    """
    import torch

    from softonce import cross_entropy, log_softmax, softmax
    from softonce.floors import double_softmax_floor

    logits = torch.tensor([config.logits], dtype=torch.float64)
    target = torch.tensor([config.target])
    smoothing, num_classes = config.label_smoothing, len(config.logits)

    def once(row: Tensor) -> Tensor:
        return cross_entropy(row / config.temperature, target, label_smoothing=smoothing)

    def twice(row: Tensor) -> Tensor:
        probs = softmax(row / config.temperature, dim=1)
        return cross_entropy(probs, target, label_smoothing=smoothing)  # noqa: SO101 - the mistake

    scaled = logits / config.temperature
    loss, gradient = _with_gradient(once, logits)
    loss_twice, gradient_twice = _with_gradient(twice, logits)
    return {
        "logits": list(config.logits),
        "target": config.target,
        "temperature": config.temperature,
        "label_smoothing": smoothing,
        "softmax": softmax(scaled, dim=1)[0].tolist(),
        "log_softmax": log_softmax(scaled, dim=1)[0].tolist(),
        "nll_loss": _nll(log_softmax(scaled, dim=1), target, smoothing),
        "cross_entropy": loss,
        "gradient": gradient,
        "cross_entropy_of_softmax": loss_twice,
        "gradient_of_softmax": gradient_twice,
        "floor": double_softmax_floor(num_classes) if smoothing == 0 else None,
    }


def _with_gradient(
    loss_of: Callable[[Tensor], Tensor], logits: Tensor
) -> tuple[float, list[float]]:
    import torch

    leaf = logits.clone().requires_grad_()
    loss = loss_of(leaf)
    (gradient,) = torch.autograd.grad(loss, leaf)
    return loss.item(), gradient[0].tolist()


def _nll(log_probs: Tensor, target: Tensor, smoothing: float) -> float:
    """Return the second route: the target's nll, mixed with that of every class."""
    from softonce import nll_loss

    spread = -log_probs.mean()
    return ((1 - smoothing) * nll_loss(log_probs, target) + smoothing * spread).item()


def _print_rules(rule: str) -> None:
    from softonce.checker.catalog import RULES, rule_of
    from softonce.checker.pages import page_of, table_of

    print(page_of(rule_of(rule)) if rule else table_of(RULES.values()))  # noqa: T201 - the result
