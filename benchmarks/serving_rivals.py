"""`softonce serve` beside a FastAPI program of thirty lines and LitServe, with the same network.

Each service has one thread for the network and answers JPEGs one by one; the load comes from
another process. All are up at the same time and are loaded in turns. Measured are the latency of a
lone client, the throughput of 64 connections, and the CPU time of an image then, of all processes
of a service together.

LitServe is installed into a temporary folder, from the package index.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from harness import report
from serving import load, write_model, write_pictures

RIVALS = Path(__file__).with_name("rivals")
REQUESTS: dict[str, dict[str, str]] = {
    "softonce": {},
    "softonce, ONNX": {},
    "FastAPI": {"path": "/predict"},
    "LitServe": {"path": "/predict", "form": "request"},
}


@dataclass
class Service:
    """A service that runs: where it answers, and its first process."""

    port: int
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """Return the CPU time that all of its processes have taken."""
        family = [self.process, *self.process.children(recursive=True)]
        return sum(sum(one.cpu_times()[:2]) for one in family)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def command_of(name: str, files: dict[str, Path], port: int) -> list[object]:
    """Return the command that starts a service."""
    if name == "FastAPI":
        options = ["--port", port, "--log-level", "warning", "--app-dir", RIVALS]
        return [sys.executable, "-m", "uvicorn", "fastapi_program:app", *options]
    if name == "LitServe":
        return [sys.executable, RIVALS / "litserve_program.py", port]
    file = files["onnx" if name.endswith("ONNX") else "torch"]
    return [sys.executable, "-m", "softonce", "serve", file, "--port", port, "--threads", "1"]


@contextmanager
def running(name: str, files: dict[str, Path], packages: Path) -> Iterator[Service]:
    """Start a service, and wait until it answers."""
    port = free_port()
    env = os.environ | {"MODEL": str(files["torch"]), "OMP_NUM_THREADS": "1"}
    if name == "LitServe":
        env["PYTHONPATH"] = os.pathsep.join([*sys.path, str(packages), str(RIVALS)])
    command = [str(part) for part in command_of(name, files, port)]
    with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(port, process)
            yield Service(port, psutil.Process(process.pid))
        finally:
            if process.poll() is None:
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.terminate()
                process.terminate()


def wait_for(port: int, process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/docs", timeout=1).close()
        except OSError as error:
            if re.search("HTTP Error", str(error)):
                return
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"expected {process.args} to answer, found nothing")


def measure(services: dict[str, Service], pictures: list[Path], asked: Any) -> dict[str, Any]:
    """Load the services in turns; return the medians of the rounds."""
    found: dict[str, dict[str, list[float]]] = {name: {} for name in services}

    def note(name: str, what: str, value: float) -> None:
        found[name].setdefault(what, []).append(value)

    for _ in range(asked.rounds):
        for name, service in services.items():
            options = {"seconds": asked.seconds, **REQUESTS[name]}
            alone = load(service.port, pictures, connections=1, **options)
            note(name, "p50 ms of a lone client", alone["p50_ms"])
            before = service.cpu_seconds()
            many = load(service.port, pictures, connections=asked.connections, **options)
            spent = service.cpu_seconds() - before
            note(name, "images/s at saturation", many["requests"] / many["seconds"])
            note(name, "CPU ms an image", 1000 * spent / many["all_requests"])
    return {
        name: {what: round(statistics.median(values), 2) for what, values in columns.items()}
        for name, columns in found.items()
    }


def main() -> None:
    """Measure each network, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["resnet18@64", "resnet18@224"])
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    ratios: dict[str, float] = {}
    figures: dict[str, object] = {"connections": asked.connections}
    with tempfile.TemporaryDirectory() as place:
        packages = Path(place) / "packages"
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", packages]
        subprocess.run([*map(str, install), "litserve"], check=True)
        for model in asked.models:
            name, size = model.split("@")
            folder = Path(place) / model
            folder.mkdir()
            kinds = ("onnx", "torch")
            files = {kind: write_model(folder, name, int(size), kind) for kind in kinds}
            pictures = write_pictures(folder, int(size))
            with ExitStack() as stack:
                services = {
                    each: stack.enter_context(running(each, files, packages)) for each in REQUESTS
                }
                found = measure(services, pictures, asked)
            figures[f"{model} px"] = found
            for rival in ("FastAPI", "LitServe"):
                for ours in ("softonce", "softonce, ONNX"):
                    for what, value in found[ours].items():
                        ratios[f"{model} px, {what}, {ours} to {rival}"] = (
                            value / found[rival][what]
                        )
    report(
        "serving_rivals", ratios=ratios, figures=figures, packages=("torch", "fastapi", "uvicorn")
    )


if __name__ == "__main__":
    main()
