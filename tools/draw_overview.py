"""Draw docs/overview.png, the picture at the head of the READMEs, from real output.

    softonce demo && python tools/draw_overview.py softonce-demo/run softonce-demo/digits/test

On the left is the report of the run, in the middle the page of `softonce serve` with two images of
the folder, on the right what `softonce check` prints in a terminal. Needs the extra `docs`, and a
browser: Debian's chromium, or the one that SOFTONCE_BROWSER names.
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
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from check_wheel import GUILTY
from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

import softonce

PICTURE = Path(__file__).parents[1] / "docs/overview.png"
BROWSER = os.environ.get("SOFTONCE_BROWSER") or shutil.which("chromium")
PORT = 8765
HEIGHT = 640  # of a panel, in pixels
PANEL = (760, 1060)  # the part of a page that is shown, before it is scaled
COLOURS = 64  # few enough for a small file; antialiased text needs some
STYLE = f"""
body {{ margin: 0; padding: 20px 24px; display: inline-flex; gap: 24px; font: 17px sans-serif; }}
body {{ background: #fff; color: #1b2430; }}
figure {{ margin: 0; }}
figcaption {{ margin-bottom: 10px; font-weight: bold; }}
figure > img, figure > div {{ height: {HEIGHT}px; border: 1px solid #c9d0d8; border-radius: 8px; }}
figure > div {{ width: 560px; background: #14181d; overflow: hidden; }}
pre {{ margin: 18px; color: #dde3ea; font: 15px/1.45 monospace; white-space: pre-wrap; }}
"""


def picture_of(browser: Browser, address: str, act: Any = None) -> str:
    """Return the upper part of a page as a data URL, after `act` has used it."""
    width, height = PANEL
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(address)
    if act:
        act(page)
    data = base64.b64encode(page.screenshot()).decode()
    page.close()
    return f'<img src="data:image/png;base64,{data}" alt="">'


def page_of_service(browser: Browser, run: Path, images: Path) -> str:
    """Return the page of a service of the run, with the two images that it is least sure of."""
    predicted = softonce.predict(run, images)
    chosen = [answer.path for answer in sorted(predicted, key=lambda answer: answer.prob)[:2]]

    def choose(page: Any) -> None:
        page.locator("input[type=file]").set_input_files(chosen)
        page.get_by_text(" other classes share ").nth(len(chosen) - 1).wait_for()

    command = [sys.executable, "-m", "softonce", "serve", str(run), "--port", str(PORT)]
    service = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        for line in service.stderr or ():
            if str(PORT) in line:
                break
        return picture_of(browser, f"http://127.0.0.1:{PORT}", choose)
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
        panels = {
            "softonce train: a report": picture_of(
                browser, (asked.run / "report.html").resolve().as_uri()
            ),
            "softonce serve: a page and an API": page_of_service(browser, asked.run, asked.images),
            "softonce check: a finding": terminal_of_check(),
        }
        figures = "".join(
            f"<figure><figcaption>{html.escape(title)}</figcaption>{panel}</figure>"
            for title, panel in panels.items()
        )
        page = browser.new_page(viewport={"width": 1800, "height": 900})
        page.set_content(f"<style>{STYLE}</style>{figures}")
        whole = Image.open(io.BytesIO(page.locator("body").screenshot()))
        browser.close()
    few = whole.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(PICTURE, optimize=True)
    print(
        f"{PICTURE}: {whole.width} x {whole.height} pixels, {PICTURE.stat().st_size / 1000:.0f} kB"
    )


if __name__ == "__main__":
    main()
