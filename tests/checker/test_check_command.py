"""`softonce check` and `softonce explain` as they are called."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from softonce.cli.app import main

DOUBLE = """\
import torch.nn.functional as F


def train(net, x, target):
    probs = F.softmax(net(x), dim=1)
    return F.cross_entropy(probs, target)
"""
WARNED = "import torch\n\n\ndef entropy(x):\n    return torch.log(torch.softmax(x, dim=1))\n"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(DOUBLE)
    return tmp_path


def run(*tokens: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    status = main(list(tokens))
    return status, capsys.readouterr().out


def test_a_path_where_nothing_is_is_no_clean_bill(project, capsys) -> None:
    assert main(["check", "train.py", "trian.py"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    expected = "expected a file or a folder at trian.py, found nothing: check the path"
    assert expected in " ".join(shown.err.split())


def test_an_error_ends_with_status_1_and_shows_both_lines(project, capsys) -> None:
    status, out = run("check", "train.py", capsys=capsys)
    assert status == 1
    assert "train.py:6: error SO101" in out
    assert "probs = F.softmax(net(x), dim=1)" in out
    assert "return F.cross_entropy(probs, target)" in out


def test_a_warning_ends_with_status_1_only_when_strict(project, capsys) -> None:
    (project / "train.py").write_text(WARNED)
    assert run("check", ".", capsys=capsys)[0] == 0
    assert run("check", ".", "--strict", capsys=capsys)[0] == 1


def test_select_and_ignore_choose_rules(project, capsys) -> None:
    assert run("check", ".", "--ignore", "SO1", capsys=capsys)[0] == 0
    assert run("check", ".", "--select", "SO2", capsys=capsys)[0] == 0
    assert run("check", ".", "--select", "SO101", capsys=capsys)[0] == 1


def test_an_unknown_rule_is_refused(project, capsys) -> None:
    assert main(["check", ".", "--select", "SO999"]) == 2
    assert "expected a known rule, found 'SO999'" in capsys.readouterr().err


@pytest.mark.parametrize("comment", ["# noqa", "# noqa: SO101", "# noqa: E501,SO101"])
@pytest.mark.parametrize("line", ["dim=1)", ", target)"])
def test_noqa_on_either_line_silences(project, capsys, comment: str, line: str) -> None:
    text = "\n".join(
        f"{row}  {comment}" if row.endswith(line) else row for row in DOUBLE.splitlines()
    )
    (project / "train.py").write_text(text)
    assert run("check", ".", capsys=capsys)[0] == 0


def test_noqa_of_another_rule_silences_nothing(project, capsys) -> None:
    (project / "train.py").write_text(DOUBLE.replace("dim=1)", "dim=1)  # noqa: SO102"))
    assert run("check", ".", capsys=capsys)[0] == 1


def test_pyproject_is_read_and_the_command_line_wins(project, capsys) -> None:
    (project / "pyproject.toml").write_text('[tool.softonce.check]\nignore = ["SO101"]\n')
    assert run("check", ".", capsys=capsys)[0] == 0
    assert run("check", ".", "--ignore", "SO2", capsys=capsys)[0] == 1


def test_an_unknown_name_in_pyproject_is_refused(project, capsys) -> None:
    (project / "pyproject.toml").write_text("[tool.softonce.check]\nignored = []\n")
    assert main(["check", "."]) == 2
    assert "expected a known option, found 'ignored'" in capsys.readouterr().err.replace("\n", " ")


def test_excluded_paths_are_not_read(project, capsys) -> None:
    assert run("check", ".", "--exclude", "train.py", capsys=capsys)[0] == 0


def test_a_baseline_excuses_what_was_there_and_nothing_new(project, capsys) -> None:
    assert run("check", ".", "--baseline", "known.json", "--write-baseline", capsys=capsys)[0] == 0
    assert run("check", ".", "--baseline", "known.json", capsys=capsys)[0] == 0
    (project / "train.py").write_text("# moved by a line\n" + DOUBLE)
    assert run("check", ".", "--baseline", "known.json", capsys=capsys)[0] == 0
    (project / "more.py").write_text(DOUBLE)
    assert run("check", ".", "--baseline", "known.json", capsys=capsys)[0] == 1


def test_json_holds_both_places(project, capsys) -> None:
    _, out = run("check", ".", "--format", "json", capsys=capsys)
    (finding,) = json.loads(out)
    assert (finding["code"], finding["place"]["line"], finding["made"]["line"]) == ("SO101", 6, 5)


def test_sarif_locates_the_loss_and_relates_the_softmax(project, capsys) -> None:
    _, out = run("check", ".", "--format", "sarif", capsys=capsys)
    (result,) = json.loads(out)["runs"][0]["results"]
    region = result["locations"][0]["physicalLocation"]["region"]
    related = result["relatedLocations"][0]["physicalLocation"]["region"]
    assert (result["level"], region["startLine"], related["startLine"]) == ("error", 6, 5)


def test_github_writes_an_annotation(project, capsys) -> None:
    _, out = run("check", ".", "--format", "github", capsys=capsys)
    assert out.startswith("::error file=train.py,line=6,col=12,title=SO101 double-softmax::")


def test_notes_are_shown_on_request(project, capsys) -> None:
    (project / "train.py").write_text(DOUBLE.replace("F.softmax", "F.log_softmax"))
    assert "SO302" not in run("check", ".", capsys=capsys)[1]
    assert "SO302" in run("check", ".", "--notes", capsys=capsys)[1]


def test_a_notebook_is_read(project, capsys) -> None:
    (project / "train.py").unlink()
    cells = [
        {"cell_type": "markdown", "source": ["# a title"]},
        {"cell_type": "code", "source": ["%matplotlib inline\n", "!pip install torch\n"]},
        {"cell_type": "code", "source": ["%%bash\n", "ls -l | head\n"]},
        {"cell_type": "code", "source": DOUBLE.splitlines(keepends=True)},
    ]
    (project / "train.ipynb").write_text(json.dumps({"cells": cells}))
    status, out = run("check", ".", capsys=capsys)
    assert status == 1
    # Cells of code are counted, and the lines of a cell from 1.
    assert out.startswith("train.ipynb:cell 3:6: error SO101")
    assert "went through softmax at cell 3, line 5." in out
    begins = DOUBLE.splitlines()[0]
    assert f"\n    train.ipynb, cell 3, which begins `{begins}`\n" in out
    assert "\n    5 |     probs = F.softmax(net(x), dim=1)\n    6 |     return" in out
    assert "cell 3, line 6: " in run("check", ".", "--format", "github", capsys=capsys)[1]


def test_cells_of_a_notebook_are_named_where_a_finding_spans_two(project, capsys) -> None:
    lines = DOUBLE.splitlines(keepends=True)
    split = [lines[:1], ["probs = F.softmax(x, dim=1)\n"], ["\n", "F.cross_entropy(probs, y)\n"]]
    cells = [{"cell_type": "code", "source": source} for source in split]
    (project / "train.py").unlink()
    (project / "train.ipynb").write_text(json.dumps({"cells": cells}))
    out = run("check", ".", capsys=capsys)[1]
    assert out.startswith("train.ipynb:cell 3:2: error SO101")
    shown = "train.ipynb, cell 2\n    1 | probs = F.softmax(x, dim=1)\n    train.ipynb, cell 3\n"
    assert f"{shown}    2 | F.cross_entropy(probs, y)\n" in out


def test_no_source_line_is_printed_twice(project, capsys) -> None:
    (project / "train.py").write_text(
        "import torch.nn.functional as F\n\n\ndef probs(x):\n    return F.softmax(x, 1)\n\n\n"
        "loss = F.cross_entropy(probs(x), y)\nother = F.cross_entropy(F.softmax(x, 1), y)\n"
    )
    out = run("check", ".", capsys=capsys)[1]
    shown = [line for line in out.splitlines() if " | " in line]
    assert len(shown) == len(set(shown)) == 3


TWICE = """\
import torch.nn.functional as F


def probs(net, x):
    return F.softmax(net(x), dim=1)


def train(net, x, y):
    é = F.cross_entropy(probs(net, x), y)
    return F.cross_entropy(probs(net, x), y)
"""
SAFE = "import torch.nn.functional as F\nF.cross_entropy(F.softmax(x, 1), y)\n"


def test_losses_of_one_cause_stand_together_and_are_explained_once(project, capsys) -> None:
    (project / "train.py").write_text(TWICE, encoding="utf-8")
    status, out = run("check", ".", capsys=capsys)
    assert status == 1
    assert "train.py:9: error SO101 cross_entropy already applies softmax" in out
    assert "train.py:10: error SO101 the same, from train.py:5 [double-softmax]" in out
    assert out.count("return F.softmax(net(x), dim=1)") == out.count("fix:") == 1
    assert out.endswith("2 errors\n")
    _, listed = run("check", ".", "--format", "json", capsys=capsys)
    assert {finding["cause"] for finding in json.loads(listed)} == {"SO101 train.py:5"}


def test_a_terminal_gets_colours_and_carets_and_a_pipe_gets_neither(
    project, capsys, monkeypatch
) -> None:
    (project / "train.py").write_text(TWICE, encoding="utf-8")
    piped = run("check", ".", capsys=capsys)[1]
    assert "\x1b" not in piped
    assert "^" not in piped
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert "\x1b[1;31merror\x1b[0m" in run("check", ".", capsys=capsys)[1]
    monkeypatch.setenv("NO_COLOR", "1")
    plain = run("check", ".", capsys=capsys)[1]
    assert "\x1b" not in plain
    lines = plain.splitlines()
    carets = [number for number, line in enumerate(lines) if line.endswith("^")]
    assert len(carets) == 2
    assert [lines[n].index("^") for n in carets] == [lines[n - 1].index("F.cross") for n in carets]


def test_what_was_read_is_said_if_nothing_was_found(project, capsys) -> None:
    (project / "train.py").write_text("x = 1\n")
    (project / "empty").mkdir()
    assert run("check", ".", capsys=capsys) == (0, "no findings in 1 file\n")
    assert "nothing was checked" in run("check", "empty", capsys=capsys)[1]
    assert run("check", ".", "--quiet", capsys=capsys) == (0, "")


def test_fix_and_diff_say_what_they_do_and_what_they_leave(project, capsys) -> None:
    (project / "safe.py").write_text(SAFE)
    (project / "train.py").write_text(TWICE, encoding="utf-8")
    main(["check", ".", "--diff"])
    shown = capsys.readouterr()
    assert shown.err == "would repair 1 SO101 in safe.py\n2 findings have no safe repair\n"
    assert shown.out.startswith("--- a/safe.py")
    main(["check", ".", "--fix"])
    shown = capsys.readouterr()
    assert shown.err == "repaired 1 SO101 in safe.py\n2 findings have no safe repair\n"
    assert shown.out.endswith("2 errors\n")
    main(["check", "train.py", "--diff"])
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "2 findings have no safe repair\n")


def test_sarif_knows_a_finding_again_and_holds_its_repair(project, capsys) -> None:
    def result(text: str) -> dict:
        (project / "train.py").write_text(text)
        _, out = run("check", ".", "--format", "sarif", capsys=capsys)
        (only,) = json.loads(out)["runs"][0]["results"]
        return only

    first, moved = result(SAFE), result("\n# moved\n" + SAFE)
    assert first["partialFingerprints"] == moved["partialFingerprints"]
    other = result(SAFE.replace("(x,", "(z,"))
    assert other["partialFingerprints"] != first["partialFingerprints"]
    (change,) = first["fixes"][0]["artifactChanges"]
    (edit,) = change["replacements"]
    start, length = edit["deletedRegion"]["byteOffset"], edit["deletedRegion"]["byteLength"]
    assert SAFE[start : start + length] == "F.softmax(x, 1)"
    assert edit["insertedContent"]["text"] == "x"


def test_explain_prints_the_page_of_every_rule(capsys) -> None:
    from softonce.checker.catalog import RULES

    for code in RULES:
        status, out = run("explain", code, capsys=capsys)
        assert status == 0
        assert out.startswith(f"# {code} ")
    assert "SO101" in run("explain", capsys=capsys)[1]


def test_the_examples_of_the_pages_are_those_of_the_case_files() -> None:
    from softonce.checker.pages import _examples, examples_in

    assert examples_in(Path(__file__).parent / "cases") == _examples()


def test_importing_the_static_half_loads_no_torch() -> None:
    code = "import softonce.checker.static, softonce.checker.static.flake8, sys;"
    loaded = subprocess.run(
        [sys.executable, "-c", code + "print('torch' in sys.modules)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert loaded.stdout.strip() == "False"


def test_the_import_test_can_fail() -> None:
    code = "import softonce.checker.static, torch, sys; print('torch' in sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "True"


def test_the_flake8_plugin_yields_the_line_of_the_loss(project) -> None:
    import ast

    from softonce.checker.static.flake8 import Plugin

    found = list(Plugin(ast.parse(DOUBLE), "train.py", DOUBLE.splitlines(keepends=True)).run())
    assert [(line, column, text[:5]) for line, column, text, _ in found] == [(6, 11, "SO101")]
    from_standard_input = Plugin(ast.parse(DOUBLE), "stdin", DOUBLE.splitlines(keepends=True))
    assert len(list(from_standard_input.run())) == 1


def test_our_own_tree_passes_and_a_planted_second_softmax_fails(tmp_path: Path, capsys) -> None:
    from softonce.checker.static import Settings, check_paths

    addresses = ("softonce/losses/", "softonce/inference.py")
    shutil.copytree(ROOT / "src" / "softonce", tmp_path / "softonce")
    settings = Settings(softmax_addresses=addresses)
    assert check_paths([str(tmp_path)], settings).findings == ()
    demo = tmp_path / "softonce" / "cli" / "demo.py"
    demo.write_text(demo.read_text().replace("# noqa: SO101", "# planted"))
    (tmp_path / "softonce" / "planted.py").write_text(
        "import torch\nfrom softonce.shapes import Logits\n\n\n"
        "def probs(logits: Logits):\n    return torch.softmax(logits, dim=1)\n"
    )
    codes = {f.code for f in check_paths([str(tmp_path)], settings).findings}
    assert codes == {"SO101", "SO306"}


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        ("keras.losses.SparseCategoricalCrossentropy(from_logits=True)(y, p)",
         "sparse_categorical_crossentropy with from_logits=True applies"),
        ("tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=p)",
         "sparse_softmax_cross_entropy_with_logits applies"),
        ("optax.softmax_cross_entropy(p, y)", "softmax_cross_entropy already applies softmax"),
    ],
)  # fmt: skip
def test_a_loss_of_another_library_is_told_by_its_own_name(
    project, capsys, loss: str, told: str
) -> None:
    head = "import jax, keras, optax, tensorflow as tf\n"
    layer = "jax.nn.softmax(x)" if "optax" in loss else "keras.layers.Dense(3, 'softmax')(x)"
    (project / "train.py").write_text(f"{head}\ndef step(x, y):\n    p = {layer}\n    {loss}\n")
    assert f" {told}" in run("check", "train.py", capsys=capsys)[1]
