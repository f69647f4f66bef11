"""`softonce check` beside torch-preflight: how many labelled mistakes each finds, and false alarms.

    python benchmarks/checker_rivals.py LIST.jsonl --clones DIR --preflight PATH

A line of the list is as in checker_corpus.py; DIR holds `owner+name/repo`, clones or bare ones,
from which the Python files of the labelled commit are taken. PATH is the program torch-preflight,
which may live in an environment of its own. Of its rules those two count that are about scores
before a loss; mistakes of their kinds are counted apart, too. Files that cannot be had are left
out.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import tarfile
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from checker_corpus import ALARMS, CODES, counted
from harness import report

from softonce.checker.static import check_paths

RULES = "TG005,TG006"
THEIRS = {"double-softmax", "probs-to-nll", "double-sigmoid", "logits-to-bce", "sigmoid-to-ce"}
"""The mistakes that these rules are about; softonce has a rule for each kind of the list."""


def unpack(entry: dict[str, Any], clones: Path, root: Path) -> Path | None:
    """Write the Python files of the entry's commit below `root`; None if they cannot be had."""
    clone = clones / (entry["repo"] or "").replace("/", "+") / "repo"
    clone = clone / ".git" if (clone / ".git").exists() else clone
    git = ["git", "--git-dir", str(clone)]
    tree = [*git, "ls-tree", "-r", "--name-only", "-z", entry["commit"] or ""]
    listed = subprocess.run(tree, capture_output=True, text=True, check=False)
    names = [name for name in listed.stdout.split("\0") if name.endswith(".py")]
    if entry["path"] not in names:
        return None
    folder = root / f"{entry['label']}-{entry['repo'].replace('/', '+')}"
    archive = subprocess.run(
        [*git, "archive", entry["commit"], *names], capture_output=True, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as members:
        members.extractall(folder, filter="data")
    return folder


def softonce_finds(entry: dict[str, Any], folder: Path) -> bool:
    """Return whether the checker reports the labelled mistake, or, in clean code, any."""
    file, is_cross = folder / entry["path"], entry["scope"] == "cross"
    is_bug = entry["label"] == "bug"
    findings = check_paths([str(folder if is_cross else file)]).findings
    found = [f for f in findings if counted(f, file, anywhere=is_bug and is_cross)]
    expected = tuple(code for rule in entry["rules"] for code in CODES[rule]) if is_bug else ALARMS
    return any(finding.code.startswith(expected) for finding in found)


def preflight_finds(entry: dict[str, Any], folder: Path, program: Path) -> bool:
    """Return whether a rule of theirs reports something in the file, or in the repository."""
    target = folder if entry["scope"] == "cross" else folder / entry["path"]
    command = [program, "check", target, "--select", RULES, "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return bool(json.loads(done.stdout)["diagnostics"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("list", type=Path)
    parser.add_argument("--clones", type=Path, required=True)
    parser.add_argument("--preflight", type=Path, required=True)
    asked = parser.parse_args()
    counts = {"softonce": Counter[str](), "torch-preflight": Counter[str]()}
    files: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        for line in asked.list.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            folder = unpack(entry, asked.clones, Path(name))
            kinds = [entry["label"], *(["theirs"] if THEIRS & set(entry["rules"]) else [])]
            if folder is None:
                files["absent"] += 1
                continue
            files.update(kinds)
            if softonce_finds(entry, folder):
                counts["softonce"].update(kinds)
            if preflight_finds(entry, folder, asked.preflight):
                counts["torch-preflight"].update(kinds)
    figures = {
        "list": asked.list.stem,
        "files with a mistake": files["bug"],
        "of these, of a kind that torch-preflight has a rule for": files["theirs"],
        "clean files": files["clean"],
        "files that could not be had": files["absent"],
    }
    found = {
        who: {"mistakes found": n["bug"], "of these kinds": n["theirs"], "false alarms": n["clean"]}
        for who, n in counts.items()
    }
    version = subprocess.run(
        [asked.preflight, "--version"], capture_output=True, text=True, check=False
    )
    figures |= {"torch-preflight version": version.stdout.split()[-1]}
    report("checker_rivals", ratios={}, figures=figures | found, packages=("softonce",))


if __name__ == "__main__":
    main()
