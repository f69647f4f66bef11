"""The examples of deployment name flags, routes and times that the product has."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from serving.service_beside import FakeEngine, running

from softonce.cli.app import build_app
from softonce.config import ServeConfig

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "examples" / "deploy"
UNIT = (DEPLOY / "softonce.service").read_text(encoding="utf-8")
DEPLOYMENT, SERVICE = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8"))
POD = DEPLOYMENT["spec"]["template"]["spec"]


def parsed(words: list[str]) -> ServeConfig:
    _, bound, _ = build_app().parse_args(["serve", *words], exit_on_error=False, print_error=False)
    return bound.args[0]


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(maxsplit=1)) for line in lines]


def test_kubernetes_asks_what_the_service_answers() -> None:
    (container,) = POD["containers"]
    config = parsed(container["args"])
    assert (config.watch, config.host) == (Path("/models"), "0.0.0.0")
    assert container["ports"][0]["containerPort"] == config.port
    assert container["volumeMounts"][0]["mountPath"] == str(config.watch)
    assert POD["terminationGracePeriodSeconds"] > config.timeout + config.body_seconds
    assert SERVICE["spec"]["selector"] == DEPLOYMENT["spec"]["selector"]["matchLabels"]
    assert SERVICE["spec"]["ports"][0]["targetPort"] == container["ports"][0]["name"]
    with running(FakeEngine()) as client:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert client.get(container[probe]["httpGet"]["path"]).status_code == 200


def test_systemd_starts_what_there_is() -> None:
    (command,) = re.findall(r"^ExecStart=(.*)$", UNIT, re.MULTILINE)
    program, verb, *words = shlex.split(command)
    assert program.endswith("/softonce")
    assert verb == "serve"
    config = parsed(words)
    assert config.watch == Path("/var/lib/softonce")
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)
    assert int(seconds) > config.timeout + config.body_seconds
    (files,) = re.findall(r"^LimitNOFILE=(\d+)$", UNIT, re.MULTILINE)
    assert int(files) > config.max_connections


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "softonce.service"
    unit.write_text(UNIT.replace("/opt/softonce/bin/softonce", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if "softonce.service" in line]
    assert complaints == []


def test_the_image_is_small_runs_as_nobody_and_is_healthy() -> None:
    found = instructions()
    stages = [at for at, (name, _) in enumerate(found) if name == "FROM"]
    last = found[stages[-1] :]
    names = [name for name, _ in last]
    assert len(stages) == 2
    assert all(
        ":" in text.split()[0] and ":latest" not in text for name, text in found if name == "FROM"
    )
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert dict(last)["USER"].isdecimal()
    assert "/healthz" in dict(last)["HEALTHCHECK"]
    assert all("--no-cache-dir" in text for name, text in found if name == "RUN" and "pip" in text)
    entry = shlex.split(dict(last)["ENTRYPOINT"].strip("[]").replace(",", " "))
    words = shlex.split(dict(last)["CMD"].strip("[]").replace(",", " "))
    assert entry == ["softonce", "serve"]
    assert parsed(words).files == ("/model.onnx",)
    assert dict(last)["EXPOSE"] == str(parsed(words).port)
