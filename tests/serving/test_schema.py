"""The OpenAPI document tells the truth: schemathesis, an outside judge, tries to find a lie."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from serving.service_beside import FakeEngine, running

from softonce.serving import schema

SCHEMATHESIS = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
# What the schema allows need not be a picture: base64 of anything is refused with 422.
LEFT_OUT = "positive_data_acceptance"

pytestmark = pytest.mark.skipif(SCHEMATHESIS is None, reason="schemathesis is not installed")


def judge(client: httpx.Client, folder: Path, *options: str) -> None:
    command = [SCHEMATHESIS, "run", f"{client.base_url}/openapi.json", "--exclude-checks", LEFT_OUT]
    command += ["--seed", "1", "--generation-database", "none", "--no-color", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def test_the_document_is_true(tmp_path: Path) -> None:
    with running(FakeEngine()) as client:
        judge(client, tmp_path, "--max-examples", "10")


@pytest.mark.slow
def test_the_document_is_true_after_many_examples(tmp_path: Path) -> None:
    with running(FakeEngine(), token="open-sesame") as client:
        header = "Authorization: Bearer open-sesame"
        judge(client, tmp_path, "--max-examples", "300", "--header", header)


def test_the_judge_can_find_a_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "problems_of", lambda *statuses: {})
    with (
        running(FakeEngine()) as client,
        pytest.raises(AssertionError, match="Undocumented status code"),
    ):
        judge(client, tmp_path, "--max-examples", "5", "--include-path", "/v1/predict")
