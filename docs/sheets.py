"""Print the cheat sheets and the site's preview: `python docs/sheets.py` writes `docs/pictures/`.

A sheet is its page, `cheat_sheet.md`, on one side of A4, as PDF and as PNG. Chromium prints it. The
PNG holds the hash of the page that it was made from, by which a test knows an old one.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from pathlib import Path

from markdown_it import MarkdownIt
from PIL import Image, PngImagePlugin
from playwright.sync_api import Page, sync_playwright

DOCS = Path(__file__).parent
SHEETS = {DOCS / "cheat_sheet.md": "cheat_sheet", DOCS / "ko/cheat_sheet.md": "cheat_sheet.ko"}
A4 = (794, 1123)  # in CSS pixels, 96 an inch
SCALE = 1.5  # of the PNG: small type stays sharp, and the file below 300 kB
NOT_PRINTED = "<!-- below: not on the sheet -->"
COLOURS = 64  # of the PNG: text, lines and a picture of few colours

STYLE = """
@page { size: A4; margin: 0 }
body {
  box-sizing: border-box; width: 794px; height: 1123px; margin: 0; padding: 26px 38px;
  overflow: hidden; word-break: keep-all; color: #22272e; background: #fff;
  font: 12.6px/1.33 system-ui, "Noto Sans CJK KR", "NanumGothic", sans-serif;
}
h1 { font-size: 23px; margin: 0 0 4px; color: #1f5f99 }
h2 { font-size: 14px; margin: 8px 0 2px; color: #1f5f99 }
p { margin: 4px 0 }
img { display: block; width: 370px; margin: 0 auto }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; padding: 1.5px 7px; border-bottom: 1px solid #d5dae0 }
th { font-weight: 600; background: #f1f4f7 }
code { font: 11.5px ui-monospace, "DejaVu Sans Mono", monospace }
"""
PREVIEW = """
body {
  margin: 0; width: 1200px; height: 630px; display: flex; align-items: center;
  background: #fff; color: #22272e; font-family: system-ui, sans-serif;
}
div { width: 500px; padding: 0 50px; box-sizing: border-box }
h1 { font-size: 62px; margin: 0; color: #1f5f99 }
p { font-size: 30px; line-height: 1.35 }
img { width: 680px }
"""


def sheet(page: Path) -> str:
    """Return the HTML of the part of a page that is printed."""
    printed, _, _ = page.read_text(encoding="utf-8").partition(NOT_PRINTED)
    body = MarkdownIt().enable("table").render(printed)
    return (
        f'<!doctype html><html><head><base href="{page.parent.as_uri()}/"><meta charset="utf-8">'
        f"<style>{STYLE}</style></head><body>{body}</body></html>"
    )


def digest(page: Path) -> str:
    """Return what tells one state of a page from another."""
    return hashlib.sha256(page.read_bytes()).hexdigest()


def _print(browser_page: Page, source: Path, name: str) -> None:
    scratch = source.with_suffix(".sheet.html")  # in its folder, so that it may load the picture
    scratch.write_text(sheet(source), encoding="utf-8")
    try:
        browser_page.goto(scratch.as_uri())
        height = browser_page.evaluate("document.body.scrollHeight")
        if height > A4[1]:
            raise RuntimeError(
                f"{source} is {height - A4[1]} pixels longer than a page of A4: shorten it"
            )
        browser_page.pdf(path=DOCS / f"pictures/{name}.pdf", prefer_css_page_size=True)
        info = PngImagePlugin.PngInfo()
        info.add_text("source", digest(source))
        _save(browser_page.screenshot(), DOCS / f"pictures/{name}.png", info)
    finally:
        scratch.unlink()


def _save(png: bytes, path: Path, info: PngImagePlugin.PngInfo | None = None) -> None:
    picture = Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS)
    picture.save(path, optimize=True, pnginfo=info)


def _preview(browser_page: Page) -> None:
    scratch = DOCS / "preview.sheet.html"
    scratch.write_text(
        f"<style>{PREVIEW}</style><div><h1>softonce</h1><p>Why the network has no softmax: it is"
        ' inside the loss.</p></div><img src="pictures/softmax_once.svg">',
        encoding="utf-8",
    )
    try:
        browser_page.set_viewport_size({"width": 1200, "height": 630})
        browser_page.goto(scratch.as_uri())
        _save(browser_page.screenshot(), DOCS / "_static/preview.png")
    finally:
        scratch.unlink()


if __name__ == "__main__":
    program = os.environ.get("SOFTONCE_BROWSER") or shutil.which("chromium")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        opened = browser.new_page(
            viewport={"width": A4[0], "height": A4[1]}, device_scale_factor=SCALE
        )
        for source, name in SHEETS.items():
            _print(opened, source, name)
        _preview(browser.new_page())
        browser.close()
