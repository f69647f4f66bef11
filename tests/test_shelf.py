"""The files around the package that a forge and an index read, and the commands that they run."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from check_wheel import GUILTY
from pre_commit.clientlib import load_manifest

import hatch_build
import softonce
from softonce.cli.app import build_app, main

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps_of(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job.get("steps", [])]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_what_the_repository_has(path: Path) -> None:
    for step in steps_of(read_yaml(path)):
        for line in step.get("run", "").splitlines():
            words = shlex.split(re.sub(r"\$\{\{.*?\}\}", "", line), comments=True) or [""]
            if words[0] == "make":
                targets = {word for word in words[1:] if re.fullmatch("[a-z][a-z-]*", word)}
                assert targets <= make_targets(), line
            if words[0] == "python" and words[1] != "-m":
                assert (ROOT / words[1]).exists(), line


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_write_nothing_by_default(path: Path) -> None:
    assert read_yaml(path)["permissions"] == {"contents": "read"}


def test_the_matrix_covers_the_versions_that_the_package_promises() -> None:
    matrix = read_yaml(ROOT / ".github/workflows/ci.yml")["jobs"]["torch"]["strategy"]["matrix"]
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert matrix["python"][0] == oldest
    classified = re.findall(r":: (3\.\d+)$", "\n".join(PROJECT["classifiers"]), re.MULTILINE)
    assert set(classified) <= set(matrix["python"])
    (torch,) = (r for r in PROJECT["optional-dependencies"]["train"] if r.startswith("torch"))
    tried = [version["torch"] for version in matrix["torch"]]
    assert tried[0].startswith(torch.removeprefix("torch>="))
    assert f"TORCH ?= {tried[-1]}\n" in (ROOT / "Makefile").read_text()


def test_the_action_gives_code_scanning_the_findings_of_the_checker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (check,) = (step for step in ACTION["runs"]["steps"] if step.get("id") == "check")
    (line,) = (line for line in check["run"].splitlines() if " check " in line)
    options = line.split('"${words[@]}"')[1].split(">")[0].split()
    defaults = (ACTION["inputs"][name]["default"] for name in ("paths", "arguments"))
    (tmp_path / "train.py").write_text(GUILTY)
    monkeypatch.chdir(tmp_path)
    assert main(["check", *" ".join(defaults).split(), *options]) == 1
    (run,) = yaml.safe_load(capsys.readouterr().out)["runs"]
    assert [result["ruleId"] for result in run["results"]] == ["SO101"]


def test_pre_commit_understands_the_hook_and_the_command_exists() -> None:
    hooks = load_manifest(ROOT / ".pre-commit-hooks.yaml")
    assert [hook["id"] for hook in hooks] == ["softonce-check"]
    program, *words = shlex.split(hooks[0]["entry"])
    assert program in PROJECT["scripts"]
    build_app().parse_args(words, exit_on_error=False, print_error=False)


def snippets() -> dict[str, Any]:
    """Return the files that the guide of the checker shows, by their names."""
    guide = (ROOT / "docs/guides/check.md").read_text(encoding="utf-8")
    found = re.findall(r"^```yaml\n# (\S+)\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    return {name: yaml.safe_load(text) for name, text in found}


def test_the_snippets_of_the_guide_use_what_exists() -> None:
    shown = snippets()
    (repository,) = shown[".pre-commit-config.yaml"]["repos"]
    hooks = load_manifest(ROOT / ".pre-commit-hooks.yaml")
    assert {hook["id"] for hook in repository["hooks"]} <= {hook["id"] for hook in hooks}
    *_, action = steps_of(shown[".github/workflows/softonce.yml"])
    assert set(action["with"]) <= set(ACTION["inputs"])
    *_, command = shown[".gitlab-ci.yml"]["softonce"]["script"]
    build_app().parse_args(shlex.split(command)[1:], exit_on_error=False, print_error=False)
    versions = {repository["rev"], action["uses"].split("@")[1]}
    assert versions == {f"v{softonce.__version__}"}


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda p: p.stem)
def test_what_the_forge_reads_is_yaml(path: Path) -> None:
    assert isinstance(read_yaml(path), dict)


def test_one_version_everywhere() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)$", changes, re.MULTILINE)
    assert released[0][0] == softonce.__version__
    assert [date for _, date in released] == sorted((date for _, date in released), reverse=True)
    citation = read_yaml(ROOT / "CITATION.cff")
    assert (citation["version"], str(citation["date-released"])) == released[0]


def test_a_published_readme_leads_into_the_repository() -> None:
    text = "![curve](docs/a.png) [rules](docs/b.md) [site](https://c.d) [below](#e) `[f](g)`"
    assert hatch_build.make_absolute(text[:-9], "https://f.o/o/r", tag="v1") == (
        "![curve](https://f.o/o/r/raw/v1/docs/a.png) [rules](https://f.o/o/r/blob/v1/docs/b.md) "
        "[site](https://c.d) [below](#e)"
    )
    nested = hatch_build.make_absolute("[![a](b.svg)](c.md)", "R", tag="t")
    assert nested == "[![a](R/raw/t/b.svg)](R/blob/t/c.md)"


def test_no_address_is_invented() -> None:
    assert hatch_build.find_repository({}) is None
    runner = {"GITHUB_SERVER_URL": "https://f.o", "GITHUB_REPOSITORY": "o/r"}
    assert hatch_build.find_repository(runner) == "https://f.o/o/r"
    assert "urls" not in PROJECT


@pytest.mark.parametrize("name", ["Dockerfile", "train.Dockerfile"])
def test_a_container_copies_what_its_context_has_and_asks_for_extras_that_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    (extras,) = re.findall(r"softonce-\*\.whl\)\[([a-z,]+)\]", text)
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    kept = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    }
    assert {"src", "pyproject.toml", "hatch_build.py", "README.md", "LICENSE"} <= kept
    copied = re.findall(r"^COPY (?!--from)(\S+)", text, re.MULTILINE)
    assert {path for path in copied if path != "."} <= kept
    assert all((ROOT / path).exists() for path in kept)
    (words,) = re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE)
    entry = yaml.safe_load(re.findall(r"^ENTRYPOINT (\[.*\])$", text, re.MULTILINE)[0])
    assert [*entry, *yaml.safe_load(words)][0] in PROJECT["scripts"]


def test_extras_name_extras_that_exist() -> None:
    extras = PROJECT["optional-dependencies"]
    for requirements in extras.values():
        for text in requirements:
            named = re.match(r"softonce\[([a-z,]+)\]$", text)
            assert named is None or set(named[1].split(",")) <= set(extras)
