"""Every case file: each guilty line is found, by its rule, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from softonce.checker.catalog import RULES
from softonce.checker.static import Settings, check_paths

CASES = Path(__file__).parent / "cases"
FILES = sorted(path for path in CASES.iterdir() if path.suffix == ".py" or path.is_dir())
EXPECTED = re.compile(r"#\s*((?:SO\d{3}[, ]*)+)$")
# SO000 is about files; SO6xx are seen in running scripts only.
STATIC_RULES = sorted(c for c in RULES if c != "SO000" and not c.startswith("SO6"))
OFF_BY_DEFAULT = {code for code, rule in RULES.items() if not rule.default} - {"SO306"}


def settings_of(name: str) -> Settings:
    """Return what a case is checked with: its own rule, notes too, and what is on by default."""
    code = name.upper()
    default = tuple(sorted(RULES.keys() - OFF_BY_DEFAULT))
    addresses = ("allowed.py",) if code == "SO306" else ()
    select = (*default, code) if code in RULES else default
    ignore = () if code in ("SO304", "SO302") else ("SO304", "SO302")
    return Settings(select=select, ignore=ignore, notes=True, softmax_addresses=addresses)


def expected_in(path: Path) -> set[tuple[str, int, str]]:
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    found = set()
    for file in files:
        for number, line in enumerate(file.read_text().splitlines(), 1):
            match = EXPECTED.search(line)
            if match and "noqa" not in line:
                found |= {(file.name, number, code) for code in re.findall(r"SO\d+", match[1])}
    return found


def found_in(path: Path) -> set[tuple[str, int, str]]:
    findings = check_paths([str(path)], settings_of(path.stem)).findings
    return {(Path(f.place.path).name, f.place.line, f.code) for f in findings}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_guilty_lines_are_found_and_innocent_lines_are_not(path: Path) -> None:
    assert found_in(path) == expected_in(path)


@pytest.mark.parametrize("code", STATIC_RULES)
def test_every_rule_fires_in_its_case_and_stays_silent_in_its_innocent_part(code: str) -> None:
    path = CASES / f"{code.lower()}.py"
    text = path.read_text()
    assert code in {expected for _, _, expected in expected_in(path)}
    innocent = text[text.index("# -- innocent") :]
    assert not re.search(rf"#\s*{code}$", innocent, re.MULTILINE)


def test_the_case_runner_can_fail(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import torch.nn.functional as F\nF.cross_entropy(x, y)  # SO101\n")
    assert found_in(wrong) != expected_in(wrong)
