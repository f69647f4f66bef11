"""Precision and recall of `softonce check` on a labelled corpus of real files.

    python benchmarks/checker_corpus.py --root DIR LIST.jsonl

A line of the list is an object with `repo` and `path` (or `id`), `label` (bug or clean), `rules`
and `scope` (single or cross). DIR holds `owner+name/<path>`, the whole repository where the scope
is cross, or `<id>.py`. A bug is found by a finding of an expected rule, no note, that touches the
file or, across files, lies in the repository. A false alarm is a finding of SO1xx, SO20x or SO4xx,
no note, in a clean file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from softonce.checker.findings import Finding
from softonce.checker.rule import Severity
from softonce.checker.static import check_paths

CODES = {
    "double-softmax": ("SO101", "SO207"),
    "probs-to-nll": ("SO102",),
    "logits-to-nll": ("SO103",),
    "double-sigmoid": ("SO104",),
    "logits-to-bce": ("SO105",),
    "sigmoid-to-ce": ("SO106",),
    "kl-probs-input": ("SO107",),
    "kl-logits-input": ("SO107",),
    "kl-log-target-mismatch": ("SO108",),
    "hard-preds-to-loss": ("SO109",),
    "one-class-softmax": ("SO110",),
    "relu-before-loss": ("SO201",),
    "softmax-of-probs": ("SO202",),
    "wrong-dim": ("SO203",),
    "log-of-softmax": ("SO204",),
    "threshold-on-logits": ("SO205",),
    "implicit-dim": ("SO301",),
    "keras-double-sigmoid": ("SO404",),
}
ALARMS = ("SO1", "SO20", "SO4")


def located(entry: dict[str, Any], root: Path) -> tuple[Path, Path]:
    """Return the file, and what to check: the file alone, or its repository."""
    if entry["repo"] is None:
        return (file := root / f"{entry['id']}.py"), file
    folder = root / entry["repo"].replace("/", "+")
    file = folder / entry["path"]
    return file, folder if entry["scope"] == "cross" else file


def counted(finding: Finding, file: Path, *, anywhere: bool) -> bool:
    places = {finding.place.path} | ({finding.made.path} if finding.made else set())
    touches = anywhere or any(Path(place).resolve() == file.resolve() for place in places)
    return finding.severity is not Severity.NOTE and touches


def judge(entry: dict[str, Any], root: Path) -> str:
    """Return hit, miss, alarm, quiet or absent, and print each miss and false alarm."""
    file, target = located(entry, root)
    if not file.is_file():
        print(f"absent       {file}")
        return "absent"
    is_bug = entry["label"] == "bug"
    anywhere = is_bug and entry["scope"] == "cross"
    found = [f for f in check_paths([str(target)]).findings if counted(f, file, anywhere=anywhere)]
    if not is_bug:
        alarms = [f for f in found if f.code.startswith(ALARMS)]
        for finding in alarms:
            print(f"false alarm  {finding.place}: {finding.code} {finding.message}")
        return "alarm" if alarms else "quiet"
    expected = {code for rule in entry["rules"] for code in CODES[rule]}
    if any(finding.code in expected for finding in found):
        return "hit"
    print(f"miss         {file}: {', '.join(entry['rules'])}; {entry['note']}")
    return "miss"


def share(part: int, whole: int) -> str:
    return f"{part}/{whole} = {part / whole:.3f}" if whole else "0/0"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("list", type=Path)
    parser.add_argument("--root", type=Path, required=True)
    options = parser.parse_args()
    verdicts: Counter[tuple[str, str]] = Counter()
    for line in options.list.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        verdicts[entry["scope"], judge(entry, options.root)] += 1
    total = Counter[str]()
    for (_, verdict), number in verdicts.items():
        total[verdict] += number
    print(f"precision    {share(total['hit'], total['hit'] + total['alarm'])}")
    print(f"recall       {share(total['hit'], total['hit'] + total['miss'])}")
    for scope in ("single", "cross"):
        hits = verdicts[scope, "hit"]
        print(f"  {scope:<10} {share(hits, hits + verdicts[scope, 'miss'])}")
    print(f"clean files  {total['quiet']} quiet, {total['alarm']} with false alarms")
    print(f"absent       {total['absent']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
