"""Make notebooks of pages: `python docs/notebooks.py` writes `docs/notebooks/`, executed.

A page is the source: its text becomes cells of Markdown, its Python blocks become cells of code,
its commands become cells of the shell. Outputs are those of a run of the notebook in a real kernel.
"""

from __future__ import annotations

import os
import posixpath
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from nbclient import NotebookClient
from page_runner import FIGURES_VARY, IN_KERNEL, blocks_of, fresh_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parent
FOLDER = DOCS / "notebooks"
PAGES = {
    "lesson": "why_no_softmax.md",
    "lesson.ko": "ko/why_no_softmax.md",
    "train": "notebook.md",
    "losses": "guides/losses.md",
}
LARGEST_OUTPUT = 40_000  # characters: a figure fits, a row of full-sized photographs does not
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(#[^)]*)?\)")
INSTALL = """\
# In Colab or another new environment, run these three lines first, with the address that you have
# this notebook from in place of ADDRESS.
# !git clone ADDRESS softonce
# %pip install --quiet "./softonce[notebook,demo]"
# %cd softonce/examples"""


def notebook_of(page: str, path: str) -> Any:
    """Return a page, whose path below `docs/` its links need, as a notebook without outputs."""
    cells = [nbformat.v4.new_code_cell(INSTALL)]
    for kind, text, varies in _pieces(page):
        metadata = {"figures vary": True} if varies else {}
        if kind == "code":
            cells.append(nbformat.v4.new_code_cell(text.strip("\n"), metadata=metadata))
        elif moved := _links(text, posixpath.dirname(path)).strip():
            cells.append(nbformat.v4.new_markdown_cell(moved))
    title = cells.index(next(cell for cell in cells if cell.cell_type == "markdown"))
    cells.insert(0, cells.pop(title))
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"  # the same at each writing
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def _pieces(page: str) -> Iterator[tuple[str, str, bool]]:
    """Yield the page's text, Python and commands in order, without the output that it shows."""
    lines = page.splitlines(keepends=True)
    at = 0
    for block in blocks_of(page):
        if block.language not in ("python", "console"):
            continue
        yield "text", "".join(lines[at : block.start]), False
        if block.language == "python":
            yield "code", block.text, block.varies
        else:
            commands = [f"!{line[2:]}\n" for line in block.text.splitlines() if line[:2] == "$ "]
            yield "code", "".join(commands), block.varies
        at = block.output.stop if block.output else block.stop
    yield "text", "".join(lines[at:]), False


def _links(text: str, folder: str) -> str:
    """Let relative links lead from the notebooks' folder to where they led from the page's."""

    def moved(match: re.Match[str]) -> str:
        there = posixpath.normpath(posixpath.join(folder, match[1]))
        return f"]({posixpath.relpath(there, FOLDER.name)}{match[2] or ''})"

    for comment in (FIGURES_VARY, IN_KERNEL):
        text = text.replace(comment, "")
    text = re.sub(r"\n{3,}", "\n\n", text)
    return LINK.sub(moved, text)


def run(notebook: Any) -> Any:
    """Run all cells in a new kernel, in a folder with the examples, and keep small outputs."""
    with fresh_folder():
        env = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "IPYTHONDIR": f"{Path.cwd()}/.ipython",
            "NO_COLOR": "1",
        }
        client = NotebookClient(notebook, timeout=300, kernel_name="python3")
        client.execute(cwd=str(Path.cwd()), env=env)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the times of day
        if cell.cell_type == "code":
            cell.outputs = [small for output in cell.outputs if (small := _small(output))]
    return notebook


def _small(output: Any) -> Any:
    if output.output_type == "stream":
        return output if output.name == "stdout" else None  # progress is on stderr
    if output.output_type == "display_data":
        return None  # the bar of a run that is over
    for kind in [kind for kind, data in output.data.items() if len(str(data)) > LARGEST_OUTPUT]:
        del output.data[kind]
    output.metadata = {}
    return output if output.data else None


def shown(cell: Any) -> str:
    """Return a cell's outputs as text."""
    return "".join(
        output.text if output.output_type == "stream" else output.data.get("text/plain", "") + "\n"
        for output in cell.outputs
    )


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or PAGES:
        page = (DOCS / PAGES[name]).read_text(encoding="utf-8")
        book = run(notebook_of(page, PAGES[name]))
        nbformat.write(book, FOLDER / f"{name}.ipynb")
