"""The pages: every block and command runs and prints what the page shows, in both languages."""

from __future__ import annotations

import doctest
import json
import re
from pathlib import Path

import page_runner
import pytest
import scale
from benchmarks_page import benchmarks_page

import softonce
from softonce.checker.catalog import RULES
from softonce.cli.app import build_app
from softonce.cli.watch import set_apart

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [
    path
    for path in sorted(DOCS.rglob("*.md"))
    if not {"ko", "generated"} & set(path.relative_to(DOCS).parts)
]
KOREAN = sorted((DOCS / "ko").rglob("*.md"))
SHORT = [path for path in KOREAN if path.parent.name == "guides"]


TRAINED = ("start", "train", "evaluate", "predict", "export", "adopt", "serve", "extend")
"""Their tests are run by `make docs`."""
RUN = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.site] if path.stem in TRAINED else [])
    for path in PAGES
]


@pytest.mark.parametrize("path", RUN)
def test_every_block_runs_and_prints_what_the_page_shows(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    assert page_runner.replayed(page, path.name) == page


@pytest.mark.parametrize("path", SHORT, ids=lambda path: path.stem)
def test_a_short_korean_guide_shows_blocks_of_the_english_one(path: Path) -> None:
    korean, english = (
        page_runner.blocks_of(page.read_text(encoding="utf-8"))
        for page in (path, DOCS / "guides" / path.name)
    )
    texts = [(block.text, block.output and block.output.text) for block in english]
    shown = [block for block in korean if block.language in ("python", "console")]
    assert len(shown) >= 2
    assert [
        block.text
        for block in shown
        if (block.text, block.output and block.output.text) not in texts
    ] == []


@pytest.mark.parametrize(
    "path", [path for path in KOREAN if path not in SHORT], ids=lambda path: path.stem
)
def test_a_korean_page_has_the_code_and_the_output_of_the_english_one(path: Path) -> None:
    korean, english = (
        page_runner.blocks_of(page.read_text(encoding="utf-8")) for page in (path, DOCS / path.name)
    )
    languages = ("python", "console", "sh")
    texts = [
        [
            (block.language, block.text, block.output and block.output.text)
            for block in blocks
            if block.language in languages
        ]
        for blocks in (korean, english)
    ]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("path", [*PAGES, *KOREAN], ids=lambda path: path.stem)
def test_every_command_is_understood(path: Path) -> None:
    for block in page_runner.blocks_of(path.read_text(encoding="utf-8")):
        for words in page_runner.commands_in(block):
            if "--resume" not in words and "--config" not in words:  # these read a file
                parsed = set_apart(words) if words[0] == "watch" else words
                build_app().parse_args(parsed, exit_on_error=False, print_error=False)


def rejected_words() -> list[str]:
    """Return the words that the Korean glossary replaces by others."""
    lines = (DOCS / "ko/glossary.md").read_text(encoding="utf-8").splitlines()
    cells = [line.split("|")[3] for line in lines if line.startswith("|")][2:]
    return [word.strip() for cell in cells for word in cell.split(",") if word.strip()]


@pytest.mark.parametrize(
    "path",
    [DOCS.parent / "README.ko.md", *(path for path in KOREAN if path.stem != "glossary")],
    ids=lambda path: path.stem,
)
def test_a_korean_page_uses_the_words_of_the_glossary(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    assert [word for word in rejected_words() if word in page] == []
    lines = page.splitlines()
    code = {n for block in page_runner.blocks_of(page) for n in range(block.start, block.stop)}
    prose = "\n".join(line for n, line in enumerate(lines) if n not in code)
    bare = re.sub(r"<code>.*?</code>|`[^`]*`|\$[^$]*\$|\]\([^)]*\)|\(logits\)", "", prose)
    assert re.findall(r"\blogits?(?![a-z_])", bare) == []


def test_a_changed_number_in_the_library_changes_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    right = softonce.cross_entropy
    monkeypatch.setattr(softonce, "cross_entropy", lambda *a, **k: right(*a, **k) * 1.001)
    page = (DOCS / "index.md").read_text(encoding="utf-8")
    assert page_runner.replayed(page) != page


def test_figures_that_vary_are_blanked_but_words_are_not() -> None:
    page = "<!-- figures vary -->\n```python\nprint('{} images')\n```\n```text\n12 images\n```\n"
    assert page_runner.replayed(page.format("13")) == page.format("13")
    other = page.format("13").replace("print('13 images')", "print('13 pictures')")
    assert "13 pictures\n```" in page_runner.replayed(other)


def test_output_that_a_page_does_not_show_is_written_into_it() -> None:
    page = "```python\nprint(1)\n```\n\n```console\n$ softonce explain --logits 1,2 --json\n```\n"
    replayed = page_runner.replayed(page)
    assert "```text\n1\n```" in replayed
    assert '"cross_entropy": 1.313' in replayed
    assert page_runner.replayed(replayed) == replayed


def test_a_command_that_fails_stops_the_page() -> None:
    with pytest.raises(RuntimeError, match="expected status 0 or 1 .*found 2"):
        page_runner.replayed("```console\n$ softonce explain --logits 1\n```\n")


def test_the_benchmark_page_shows_every_dated_file() -> None:
    results = DOCS.parent / "benchmarks/results"
    page = benchmarks_page(results)
    for path in results.glob("*.json"):
        result = json.loads(path.read_text(encoding="utf-8"))
        assert f"{result['hardware']}. " in page
        assert path.stem[-10:] in page
        for value in result.get("ratios", {}).values():
            assert f"| {value:.3g} |" in page
    runs = len(re.findall(r"^(?:### |<summary>\d{4}-)", page, re.MULTILINE))
    assert runs == len(list(results.glob("*.json")))


def test_every_rule_that_a_page_names_exists() -> None:
    for path in [*PAGES, *KOREAN]:
        named = set(re.findall(r"\bSO\d{3}\b", path.read_text(encoding="utf-8")))
        assert named <= set(RULES)


def test_the_arithmetic_of_scale_is_what_its_examples_say() -> None:
    assert doctest.testmod(scale).attempted >= 2
    assert doctest.testmod(scale).failed == 0
    pays_from = 3 / 4 * scale.ROWS * 8
    assert scale.replicated_wire(int(0.99 * pays_from), 8) < scale.sharded_wire(8)
    assert scale.replicated_wire(int(1.01 * pays_from), 8) > scale.sharded_wire(8)
