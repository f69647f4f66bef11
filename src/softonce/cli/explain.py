"""`softonce explain`."""

from __future__ import annotations

from softonce.config.check import ExplainConfig


def explain(config: ExplainConfig = ExplainConfig()) -> None:  # noqa: B008 - frozen
    """Print the page of a rule: what, why in numbers, guilty and innocent code, the repair."""
    from softonce.checker.catalog import RULES, rule_of
    from softonce.checker.pages import page_of, table_of

    text = page_of(rule_of(config.rule)) if config.rule else table_of(RULES.values())
    print(text)  # noqa: T201 - the result
