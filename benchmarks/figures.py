"""The measured figures of the pages: from `results/` and `tables.toml` into README.md and others.

    python benchmarks/figures.py           status 1 if a page does not say what the results say
    python benchmarks/figures.py --write   bring the pages up to date

`tables.toml` says which value of which result a figure is, and has the rows of every table in both
languages. A page has the tables between `<!-- table NAME -->` and `<!-- end -->`; whatever stands
there is replaced. Of each benchmark and kind of processor the newest result counts: one that
`make bench` adds changes the pages, and nobody copies a number.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGES = {"README.md": "en", "README.ko.md": "ko", "docs/comparison.md": "en"}
_BLOCK = re.compile(r"(<!-- table ([a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


@dataclass(frozen=True)
class Measured:
    """The values of one figure, one for each kind of processor, and the results they are from."""

    values: tuple[float, ...]
    results: tuple[str, ...]
    unit: str
    digits: int

    def describe(self, language: str) -> str:
        """Return the value, or the least and the largest, with the unit."""
        texts = [f"{value:.{self.digits}f}" for value in sorted(self.values)]
        ends = list(dict.fromkeys((texts[0], texts[-1])))
        english = "x" if self.unit == "x" else f" {self.unit}".rstrip()
        if language == "ko":
            return "~".join(ends) + {"x": "배", "s": "초"}.get(self.unit, english)
        return " to ".join(text + english for text in ends)


class Results:
    """The dated result files, and the figures that `tables.toml` picks from them."""

    def __init__(self, folder: Path, tables: dict[str, Any]) -> None:
        newest: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {}
        for path in sorted(folder.glob("*.json"), key=lambda path: path.stem[-10:]):
            record = json.loads(path.read_text(encoding="utf-8"))
            newest[record["benchmark"], record["hardware"]] = path.stem, record
        self.newest = newest
        self.tables = tables

    @cached_property
    def figures(self) -> dict[str, Measured]:
        """Return every figure by its name."""
        return {name: self._find(name, spec) for name, spec in self.tables["figure"].items()}

    def _find(self, name: str, spec: dict[str, Any]) -> Measured:
        conditions = spec.get("if", {})
        results = {
            stem: record
            for stem, record in self.newest.values()
            if record["benchmark"] == spec["benchmark"]
            and all(_at(record, where.split("/")) == value for where, value in conditions.items())
        }
        overs = spec.get("over", [[]] * len(spec["paths"]))
        for path, over in zip(spec["paths"], overs, strict=True):  # names of the same thing
            values = {stem: _at(record, path) for stem, record in results.items()}
            found = {
                stem: spec.get("scale", 1) * value / (_at(results[stem], over) if over else 1)
                for stem, value in values.items()
                if value is not None
            }
            if found:
                unit, digits = spec.get("unit", ""), spec.get("digits", 2)
                return Measured(tuple(found.values()), tuple(found), unit, digits)
        sys.exit(f"expected a result for the figure {name} of tables.toml, found none")

    def fill(self, text: str, language: str, used: set[str]) -> str:
        """Return the text with its figures; note in `used` the results that they are from."""

        def replace(match: re.Match[str]) -> str:
            figure = self.figures[match[1]]
            used.update(figure.results)
            return figure.describe(language)

        return re.sub(r"\{([a-z0-9_]+)\}", replace, text)


def _at(record: Any, path: list[Any]) -> Any:
    """Return what lies at a path of keys and indices; None if it ends before."""
    for step in path:
        try:
            record = record[step]
        except (KeyError, IndexError, TypeError):
            return None
    return record


def headline(results: Results, language: str, *, short: bool) -> Iterator[str]:
    """Yield the lines of the table of figures, each row with the results that it is from."""
    titles = results.tables["headline_titles"][language]
    yield "| " + " | ".join(titles) + " |"
    yield "|---" * len(titles) + "|"
    for row in results.tables["headline"]:
        if short and "long" in row:
            continue
        used: set[str] = set()
        cells = [
            results.fill(row[part][language], language, used) for part in ("what", "good", "bad")
        ]
        how = [f"`{name}`" for name in sorted({stem.split("-")[0] for stem in used})]
        dates = sorted(stem[-10:] for stem in used)
        if used:
            how.append(dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1][5:]}")
        yield f"| {' | '.join(cells)} | {', '.join(how)} |"


def comparison(results: Results, name: str, language: str, *, short: bool) -> Iterator[str]:
    """Yield the lines of one comparison; the long form numbers the evidence and lists it below."""
    table = results.tables["compare"][name]
    tools: list[str] = table["tools"]
    words = results.tables["words"] if language == "ko" else {}
    evidence: dict[str, int] = {}
    yield "| | " + " | ".join(tools if not short else [tool.split(" ")[0] for tool in tools]) + " |"
    yield "|---" * (len(tools) + 1) + "|"
    for row in table["rows"]:
        if short and "ko" not in row:
            continue
        cells = []
        for column, cell in enumerate(row["cells"]):
            text, _, proof = cell.partition(" @ ")
            if language == "ko":
                text = row.get("cells_ko", {}).get(str(column), words.get(text, text))
            text = results.fill(text, language, set())
            if proof and not short:
                proof = results.tables["evidence"].get(proof, proof)
                text += f" ({evidence.setdefault(proof, len(evidence) + 1)})"
            cells.append(text)
        yield f"| {row[language]} | {' | '.join(cells)} |"
    if not short:
        yield ""
        yield from (f"{number}. {proof}" for proof, number in evidence.items())


def tables_of(results: Results, name: str, language: str) -> str:
    """Return the table that a page asks for by name, as Markdown."""
    kind, form = name.split(" ")
    short = form == "short"
    if kind == "figures":
        lines = headline(results, language, short=short)
    else:
        lines = comparison(results, kind, language, short=short)
    return "\n".join(lines) + "\n"


def read_results() -> Results:
    """Return the results of this folder with the tables that are made of them."""
    tables = tomllib.loads((ROOT / "benchmarks/tables.toml").read_text(encoding="utf-8"))
    return Results(ROOT / "benchmarks/results", tables)


def fill_page(page: str, language: str, results: Results) -> str:
    """Return a page with all of its tables made anew."""
    return _BLOCK.sub(lambda m: m[1] + tables_of(results, m[2], language) + m[3], page)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="bring the pages up to date")
    write = parser.parse_args().write
    results, status = read_results(), 0
    for name, language in PAGES.items():
        path = ROOT / name
        before = path.read_text(encoding="utf-8")
        after = fill_page(before, language, results)
        if after != before:
            print(f"{name}: {'written' if write else 'differs from the results'}")
            status = 0 if write else 1
            if write:
                path.write_text(after, encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
