"""Pages and pictures that are made from what the repository holds, at each build of the site.

The rules come from the checker's catalogue and case files, the command line from the verbs' own
dataclasses, the benchmarks from their dated result files.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import scale
from benchmarks_page import benchmarks_page

from softonce.checker.catalog import RULES
from softonce.checker.pages import page_of
from softonce.checker.rule import Severity
from softonce.cli.app import build_app
from softonce.cli.commands import COMMANDS, USE

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]


def generate(folder: Path) -> None:
    """Write everything into `folder`; a page that is as it should be is left alone."""
    pages = dict(_rule_pages())
    pages["benchmarks.md"] = benchmarks_page(ROOT / "benchmarks/results")
    pages["command_line.md"] = command_line_page()
    pages |= {f"scale_{name}.md": f"{table}\n" for name, table in scale.tables().items()}
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for picture in (ROOT / "benchmarks/results").glob("*.png"):
        shutil.copyfile(picture, folder / picture.name)


def _rule_pages() -> Iterator[tuple[str, str]]:
    lines = [
        "# The rules of the checker",
        "Each with its reason in numbers, guilty and innocent code.",
    ]
    toctree = "\n".join(RULES)
    for severity in Severity:
        lines.append(f"## {severity.value.capitalize()}s")
        rules = [rule for rule in RULES.values() if rule.severity is severity]
        rows = [f"| [{r.code}]({r.code}.md) | {r.name} | {r.summary} |" for r in rules]
        lines.append("\n".join(["| code | name | what |", "|---|---|---|", *rows]))
    lines.append(f"```{{toctree}}\n:hidden:\n\n{toctree}\n```")
    yield "rules/index.md", "\n\n".join(lines) + "\n"
    for rule in RULES.values():
        yield f"rules/{rule.code}.md", page_of(rule) + "\n"


def command_line_page() -> str:
    """Return every command and option, from the dataclasses that the command line is made of."""
    text = build_app().generate_docs(output_format="markdown")
    for name, command in COMMANDS.items():
        usage = f"softonce {name} {command.usage}\n```\n"
        examples = "\n".join(f"{example}  # {effect}" for example, effect in command.examples)
        # the generator puts the name before a usage that has it already
        text = text.replace(
            f"```console\nsoftonce {name} {name} {command.usage}\n```\n",
            f"```sh\n{examples}\n```\n\n```text\n{usage}",
        )
    for obvious in (" *[default: False]*", " *[default: ()]*"):
        text = text.replace(obvious, "")
    body = text[text.index("```console") : text.index("## Table of Contents")]
    return "# The command line\n\n" + body + text[text.index(f"**{USE}**") :]
