"""Rule pages: what, why in numbers, guilty and innocent code, the repair.

The text comes from the catalogue; the code is cut out of the case files of the test suite and
stored in `examples.json`, so that an installed package has it, too.
"""

from __future__ import annotations

import json
import re
import sys
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from softonce.checker.rule import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from softonce.checker.rule import Rule

_MARK = re.compile(r"^# -- (guilty|innocent)\n", re.MULTILINE)
_BLOCK_END = re.compile(r"\n\n\n+")
_ENDS = {
    Severity.ERROR: "error: the run ends with status 1",
    Severity.WARNING: "warning: status 1 with --strict only",
    Severity.NOTE: "note: shown with --notes, never changes the status",
}


def page_of(rule: Rule) -> str:
    """Return the page of a rule as Markdown.

    Example:
        >>> from softonce.checker.catalog import rule_of
        >>> print(page_of(rule_of("SO101")).splitlines()[0])
        # SO101 double-softmax
    """
    examples = _examples().get(rule.code, {})
    off = "" if rule.default else "; off unless selected"
    blocks = [
        f"# {rule.code} {rule.name}",
        f"{rule.summary[0].upper()}{rule.summary[1:]}. ({_ENDS[rule.severity]}{off})",
        f"## Why\n{rule.why}",
        f"## Repair\n{rule.fix}",
    ]
    for title, key in (("Guilty", "guilty"), ("Innocent", "innocent")):
        if key in examples:
            blocks.append(f"## {title}\n```python\n{examples[key]}\n```")
    blocks.append(f"Silence one line with `# noqa: {rule.code}` on either of its two lines.")
    return "\n\n".join(blocks)


def table_of(rules: Iterable[Rule]) -> str:
    """Return one line a rule.

    Example:
        >>> from softonce.checker.catalog import rule_of
        >>> print(table_of([rule_of("SO110")]))
        SO110  error    one-class-softmax          softmax over one class
    """
    return "\n".join(
        f"{rule.code}  {rule.severity.value:<7}  {rule.name:<25}  {rule.summary}" for rule in rules
    )


def examples_in(cases: Path) -> dict[str, dict[str, str]]:
    """Return code -> the first guilty and the first innocent block of its case file."""
    examples = {}
    for path in sorted(cases.glob("so[0-9]*.py")):
        parts = _MARK.split(path.read_text(encoding="utf-8"))[1:]
        found: dict[str, str] = {}
        for kind, text in zip(parts[::2], parts[1::2], strict=True):
            length = 1 if kind == "innocent" else 2
            blocks = _BLOCK_END.split(text.strip())[:length]
            found.setdefault(kind, "\n\n\n".join(blocks).strip())
        examples[path.stem.upper()] = found
    return examples


def write_examples(cases: Path) -> None:
    """Write `examples.json` anew: `python -m softonce.checker.pages tests/checker/cases`."""
    target = Path(__file__).with_name("examples.json")
    text = json.dumps(examples_in(cases), indent=1, sort_keys=True, ensure_ascii=False)
    target.write_text(text + "\n", encoding="utf-8")


@cache
def _examples() -> dict[str, dict[str, str]]:
    stored = resources.files("softonce.checker").joinpath("examples.json")
    loaded: dict[str, dict[str, str]] = json.loads(stored.read_text(encoding="utf-8"))
    return loaded


if __name__ == "__main__":
    write_examples(Path(sys.argv[1]))
