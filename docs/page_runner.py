"""Run the code blocks and commands of a page, and compare their output with what the page shows.

- A `python` block runs in the one namespace of its page; the `text` block right after it is what
  it prints. On a page that holds `<!-- runs in a Jupyter kernel -->` it is a cell of one, and shows
  its value, too.
- In a `console` block a line that starts with `$ ` is a command; the lines below are its output.
- A `sh` block is not run (it installs, serves or needs hardware); its softonce commands must be
  understood all the same.

All commands of a page share one folder, in which the scripts of `examples/` lie.
`<!-- figures vary -->` above a block compares with every figure blanked, for what depends on the
machine. `python docs/page_runner.py PAGE...` writes the output of now into the pages.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[1] / "examples"
FIGURES_VARY = "<!-- figures vary -->"
IN_KERNEL = "<!-- runs in a Jupyter kernel -->"
_FIGURE = re.compile(r"[0-9a-f]{32}|\d[\d.,]*(e[+-]?\d+)?%?")


@dataclass
class Block:
    """A fenced block: its language, text and lines, and whether its figures depend on the machine.

    `stop` is the line after the last; `output` is the text block right after a python block.
    """

    language: str
    text: str
    start: int
    stop: int
    varies: bool = False
    output: Block | None = None


def blocks_of(page: str) -> list[Block]:
    """Return the fenced blocks of a page in order, each python block with its output."""
    blocks: list[Block] = []
    before, varies = "", False
    for token in MarkdownIt().parse(page):
        if token.type == "fence" and token.map:
            block = Block(token.info.split(" ")[0], token.content, *token.map, varies=varies)
            if block.language == "text" and before == "python":
                blocks[-1].output = block
            else:
                blocks.append(block)
            before = block.language
        elif token.level == 0:
            before = ""
        varies = token.type == "html_block" and token.content.strip() == FIGURES_VARY
    return blocks


def replayed(page: str, name: str = "page") -> str:
    """Return the page with the output of a run of its blocks in place of what it shows.

    Output whose figures vary stays as it is where nothing but figures changed.
    """
    lines = page.splitlines(keepends=True)
    changes: list[tuple[int, int, str]] = []
    with fresh_folder():
        cells: Cells = _Kernel() if IN_KERNEL in page else _Namespace(name)
        with cells:
            for block in blocks_of(page):
                if block.language == "python":
                    changes += _python(block, cells)
                elif block.language == "console":
                    changes += _console(block)
    for start, stop, text in reversed(changes):
        lines[start:stop] = [text]
    return "".join(lines)


def commands_in(block: Block) -> Iterator[list[str]]:
    """Return the softonce commands of a `sh` or `console` block as lists of words."""
    prompt = "$ " if block.language == "console" else ""
    for line in block.text.replace("\\\n", " ").splitlines():
        if line.startswith(f"{prompt}softonce "):
            command = line.removeprefix(prompt).split(" | ")[0].removesuffix(" 2>&1")
            yield shlex.split(command, comments=True)[1:]


class Cells(Protocol):
    """What runs the python blocks of a page, one after the other."""

    def run(self, block: Block) -> str:
        """Return what a block shows."""

    def __enter__(self) -> object: ...
    def __exit__(self, *_: object) -> None: ...


class _Namespace(contextlib.nullcontext[None]):
    """Runs blocks in this process; they show what they print."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.namespace: dict[str, Any] = {"__name__": name}

    def run(self, block: Block) -> str:
        code = "\n" * (block.start + 1) + block.text  # so that a traceback names the page's line
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, self.name, "exec"), self.namespace)  # noqa: S102 - that is its purpose
        return printed.getvalue()


class _Kernel:
    """Runs blocks as cells of a notebook; they show what they print and their value, as text."""

    def __init__(self) -> None:
        import nbformat
        from nbclient import NotebookClient

        self.book = nbformat.v4.new_notebook()
        self.client = NotebookClient(self.book, timeout=300, kernel_name="python3")
        self.new_cell = nbformat.v4.new_code_cell
        self.stack = contextlib.ExitStack()

    def __enter__(self) -> None:
        here = str(Path.cwd())
        env = os.environ | {
            "IPYTHONDIR": f"{here}/.ipython",
            "JUPYTER_RUNTIME_DIR": f"{here}/.jupyter",
        }
        self.stack.enter_context(self.client.setup_kernel(cwd=here, env=env))

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def run(self, block: Block) -> str:
        self.book.cells.append(self.new_cell(block.text))
        index = len(self.book.cells) - 1
        cell = self.client.execute_cell(self.book.cells[index], index)
        return "".join(
            output.text if output.output_type == "stream" else f"{output.data['text/plain']}\n"
            for output in cell.outputs
            if output.output_type == "execute_result" or output.get("name") == "stdout"
        )


def _python(block: Block, cells: Cells) -> Iterator[tuple[int, int, str]]:
    new, shown = cells.run(block), block.output
    if shown is None:
        if new:
            yield block.stop, block.stop, f"```text\n{_tidy(new)}```\n"
    elif not is_same(new, shown.text, varies=block.varies):
        yield shown.start + 1, shown.stop - 1, _tidy(new)


def _console(block: Block) -> Iterator[tuple[int, int, str]]:
    new = ""
    for line in block.text.splitlines():
        if line.startswith("$ "):
            new += f"{line}\n{_tidy(_output_of(line[2:]))}"
    if not is_same(new, block.text, varies=block.varies):
        yield block.start + 1, block.stop - 1, new


def _output_of(command: str) -> str:
    """Run a command, softonce in this process, and return its standard output."""
    words = shlex.split(command)
    # `watch` lives in the process of its script, and a pipe needs a shell.
    if words[0] != "softonce" or words[1] == "watch" or "|" in words:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        env = os.environ | {"PATH": path, "NO_COLOR": "1"}
        done = subprocess.run(  # noqa: S602 - a command of our own page
            command, shell=True, env=env, capture_output=True, text=True, check=False
        )
        status, printed, said = done.returncode, done.stdout, done.stderr
    else:
        from softonce.cli.app import main

        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(words[1:])
        printed, said = out.getvalue(), err.getvalue()
    if status not in (0, 1):
        raise RuntimeError(f"expected status 0 or 1 of {command!r}, found {status}: {said}")
    return printed


def _tidy(text: str) -> str:
    lines = [line.rstrip() for line in text.strip("\n").splitlines()]
    return "".join(f"{line}\n" for line in lines)


def is_same(new: str, shown: str, *, varies: bool) -> bool:
    """Return whether a run printed what is shown, figures aside if they vary."""
    new, shown = _tidy(new), _tidy(shown)
    if varies:  # a figure may also be longer or shorter, and its column wider
        new, shown = (re.sub(r"[ -]+", " ", _FIGURE.sub("#", text)) for text in (new, shown))
    return new == shown


@contextlib.contextmanager
def fresh_folder() -> Iterator[None]:
    """Run in a folder that holds the examples alone, and leave torch's printing as it was."""
    import torch

    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for script in EXAMPLES.glob("*.py"):
            shutil.copy(script, folder)
        try:
            yield
        finally:
            torch.set_printoptions(profile="default")


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(replayed(path.read_text(encoding="utf-8"), path.name), encoding="utf-8")
