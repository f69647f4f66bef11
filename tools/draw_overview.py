"""Draw the pictures of the READMEs and of the guide to serving from real output.

    softonce demo && python tools/draw_overview.py softonce-demo/run softonce-demo/digits/test

On the left of docs/overview.png is the report of the run, in the middle the page of
`softonce serve` with two images of the folder, on the right what `softonce check` prints in a
terminal. Needs the extra `docs`, and a browser: Debian's chromium, or SOFTONCE_BROWSER.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import html
import io
import os
import pty
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from check_wheel import GUILTY
from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

import softonce

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[1] / "docs"
BROWSER = os.environ.get("SOFTONCE_BROWSER") or shutil.which("chromium")
HEIGHT = 640  # of a panel, in pixels
PANEL = {"width": 760, "height": 1060}  # the part of a page that is shown, before it is scaled
COLOURS = 128  # few enough for a small file; the most different ones, or the rare red is lost
STYLE = f"""
body {{ margin: 0; padding: 20px 24px; display: inline-flex; gap: 24px; font: 17px sans-serif; }}
body {{ background: #fff; color: #1b2430; }}
figure {{ margin: 0; }}
figcaption {{ margin-bottom: 10px; font-weight: bold; }}
figure > img, figure > div {{ height: {HEIGHT}px; border: 1px solid #c9d0d8; border-radius: 8px; }}
figure > div {{ width: 560px; background: #14181d; overflow: hidden; }}
pre {{ margin: 18px; color: #dde3ea; font: 15px/1.45 monospace; white-space: pre-wrap; }}
"""


def as_figure(screenshot: bytes) -> str:
    """Return a screenshot as an element of a page."""
    data = base64.b64encode(screenshot).decode()
    return f'<img src="data:image/png;base64,{data}" alt="">'


def save(screenshot: bytes, path: Path) -> None:
    """Save a screenshot with few colours, and say how large it is."""
    few = Image.open(io.BytesIO(screenshot)).convert("RGB")
    few.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        path, optimize=True
    )
    print(f"{path}: {few.width} x {few.height} pixels, {path.stat().st_size / 1000:.0f} kB")


def report_of(browser: Browser, run: Path) -> bytes:
    """Return the upper part of the report of a run."""
    page = browser.new_page(viewport=PANEL)
    page.goto((run / "report.html").resolve().as_uri())
    return page.screenshot()


def pages_of_service(browser: Browser, run: Path, images: Path) -> dict[str, bytes]:
    """Return the page of a service of the run, with the two images that it is least sure of."""
    predicted = softonce.predict(run, images)
    chosen = [answer.path for answer in sorted(predicted, key=lambda answer: answer.prob)[:2]]
    looks: dict[str, dict[str, Any]] = {
        "light": {"viewport": PANEL},
        "dark": {"viewport": PANEL, "color_scheme": "dark"},
        "phone": {"viewport": PANEL | {"width": 390}},
    }
    shots = {}
    with serving(run) as address:
        for name, look in looks.items():
            page = browser.new_page(**look)
            page.goto(address)
            page.locator("input[type=file]").set_input_files(chosen)
            page.get_by_text(" other classes share ").nth(len(chosen) - 1).wait_for()
            shots[name] = page.screenshot(full_page=True)
    return shots


@contextlib.contextmanager
def serving(run: Path) -> Iterator[str]:
    """Serve a run while the block lasts, at the address that is given."""
    with socket.socket() as free:  # a port that nobody else uses now
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "softonce", "serve", str(run), "--port", port]
    service = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        for line in service.stderr or ():
            if port in line:
                break
        yield f"http://127.0.0.1:{port}"
    finally:
        service.terminate()
        service.wait(60)


def terminal_of_check() -> str:
    """Return what `softonce check` prints for a guilty file in a terminal, as HTML."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "train.py").write_text(GUILTY, encoding="utf-8")
        ours, theirs = pty.openpty()
        said = b""
        environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "60"}
        command = [sys.executable, "-m", "softonce", "check", "."]
        subprocess.run(command, cwd=folder, stdout=theirs, env=environment, check=False)
        os.close(theirs)
        with contextlib.suppress(OSError):  # Linux reports the end of a terminal as an error
            while part := os.read(ours, 1 << 16):
                said += part
    console = Console(record=True, width=60, file=io.StringIO())
    console.print(
        Text("$ softonce check ."), Text.from_ansi(said.decode().replace("\r", "")), sep="\n"
    )
    return (
        "<div>"
        + console.export_html(theme=MONOKAI, inline_styles=True, code_format="<pre>{code}</pre>")
        + "</div>"
    )


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument(
        "images", type=Path, help="a folder of class folders, to choose images from"
    )
    asked = parser.parse_args()
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        served = pages_of_service(browser, asked.run, asked.images)
        panels = {
            "softonce train: a report": as_figure(report_of(browser, asked.run)),
            "softonce serve: a page and an API": as_figure(served["light"]),
            "softonce check: a finding": terminal_of_check(),
        }
        figures = "".join(
            f"<figure><figcaption>{html.escape(title)}</figcaption>{panel}</figure>"
            for title, panel in panels.items()
        )
        page = browser.new_page(viewport={"width": 1800, "height": 900})
        page.set_content(f"<style>{STYLE}</style>{figures}")
        save(page.locator("body").screenshot(), DOCS / "overview.png")
        for name, screenshot in served.items():
            save(screenshot, DOCS / f"guides/serve-{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
