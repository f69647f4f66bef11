"""The page of the dated results: a section a benchmark, its newest run open, older ones folded.

A section begins with the first lines of the script's docstring, which say what it measures. Results
that have the same columns stand in one table.
"""

from __future__ import annotations

import ast
import itertools
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MOST = 4  # tables that a run shows unfolded
WIDEST = 7  # columns that fit beside the navigation; a wider table is turned
HEAD = """\
# Benchmarks

Programs are measured side by side in one process or in turns, so that a busy machine disturbs all
of them alike. A ratio above 1 is in favour of softonce unless its name says otherwise; the losing
rows are here too. Nothing on this page was measured on a GPU unless a line names one. `make bench`
measures on your machine; [the comparison](../comparison.md) puts the figures beside other tools."""


def benchmarks_page(results: Path) -> str:
    """Return the page as Markdown."""
    found = [
        (path, json.loads(path.read_text(encoding="utf-8"))) for path in results.glob("*.json")
    ]
    found.sort(key=lambda pair: pair[0].stem[-10:], reverse=True)
    found.sort(key=lambda pair: pair[1]["benchmark"])
    blocks = [HEAD]
    for benchmark, runs in itertools.groupby(found, key=lambda pair: pair[1]["benchmark"]):
        blocks.append(f"## {benchmark.replace('_', ' ').capitalize()}")
        script = _script(results.parent, benchmark)
        blocks.append(f"{_purpose(script)} (`benchmarks/{script.name}`)")
        for number, (path, result) in enumerate(runs):
            shown = "\n\n".join(_run(path, result))
            title = f"{path.stem[-10:]}: {result['hardware']}"
            if number == 0:
                blocks += [f"### {benchmark}, {path.stem[-10:]}", shown]
            else:
                blocks.append(f"<details>\n<summary>{title}</summary>\n\n{shown}\n\n</details>")
    return "\n\n".join(blocks) + "\n"


def _script(folder: Path, benchmark: str) -> Path:
    """Return the script of a benchmark; `accuracy_short` is a way of calling `accuracy.py`."""
    name = benchmark
    while not (folder / f"{name}.py").exists():
        name = name.rsplit("_", 1)[0] if "_" in name else "harness"
    return folder / f"{name}.py"


def _purpose(script: Path) -> str:
    """Return the first paragraph of a script's docstring, as code where it names code."""
    text = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def _run(path: Path, result: Mapping[str, Any]) -> Iterator[str]:
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    yield f"{result['hardware']}. {versions}."
    if path.with_suffix(".png").exists():
        yield f"![{result['benchmark']}, as bars]({path.stem}.png)"
    if result.get("ratios"):
        rows = [f"| {_cell(name)} | {_number(value)} |" for name, value in result["ratios"].items()]
        yield "\n".join(["| ratio | |", "|---|---:|", *rows])
    tables = list(_tables(result.get("figures", {}), ""))
    yield from tables[:MOST]
    if tables[MOST:]:
        more = "\n\n".join(tables[MOST:])
        yield f"<details>\n<summary>More figures of this run</summary>\n\n{more}\n\n</details>"


def _tables(values: Mapping[str, Any], name: str) -> Iterator[str]:
    """Yield what is no mapping as one line, and mappings of equal keys as one table."""
    plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
    if plain:
        line = "; ".join(f"{_cell(key)}: {_number(value)}" for key, value in plain.items())
        yield f"{_cell(name)}: {line}." if name else f"{line}."
    nested = [(key, value) for key, value in values.items() if isinstance(value, dict)]
    flat = [(key, value) for key, value in nested if not _has_mapping(value)]
    for columns, rows in itertools.groupby(flat, key=lambda pair: tuple(pair[1])):
        yield _table(name, columns, list(rows))
    for key, value in nested:
        if _has_mapping(value):
            yield from _tables(value, f"{name}, {key}" if name else key)


def _has_mapping(values: Mapping[str, Any]) -> bool:
    return any(isinstance(value, dict) for value in values.values())


def _table(name: str, columns: tuple[str, ...], rows: list[tuple[str, Mapping[str, Any]]]) -> str:
    if len(columns) > WIDEST:
        turned = [(column, {key: value[column] for key, value in rows}) for column in columns]
        columns, rows = tuple(key for key, _ in rows), turned
    head = f"| {_cell(name)} | " + " | ".join(map(_cell, columns)) + " |"
    lines = [
        f"| {_cell(key)} | " + " | ".join(_number(value[column]) for column in columns) + " |"
        for key, value in rows
    ]
    return "\n".join([head, "|---|" + "---:|" * len(columns), *lines])


def _cell(name: str) -> str:
    """Return a name for a table: the words of a variable, a flag as code."""
    text = str(name).replace("|", "\\|").replace("_", " ")
    return re.sub(r"(?<![\w`])(--[\w-]+)", r"`\1`", text)


def _number(value: Any) -> str:
    """Return a figure with three digits or more; a list as its figures."""
    if isinstance(value, list):
        return ", ".join(_number(item) for item in value)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else _cell(str(value))
