"""The page in a browser: drop, choose and paste images, switch to logits, read an error.

`make docs` runs this; a browser is Debian's chromium, or the one that SOFTONCE_BROWSER names.
"""

from __future__ import annotations

import math
import os
import shutil

import pytest
from accessibility import serious_violations
from serving.service_beside import FakeEngine, noise, picture, running

BROWSER = os.environ.get("SOFTONCE_BROWSER") or shutil.which("chromium")
TOKEN = "open-sesame"
FILE = """([bytes, name, type]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([new Uint8Array(bytes)], name, { type }));
    return transfer;
}"""
PASTE = """transfer => document.body.dispatchEvent(
    new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true }))"""

pytestmark = [
    pytest.mark.site,
    pytest.mark.skipif(BROWSER is None, reason="no chromium; SOFTONCE_BROWSER names one"),
]


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def address():
    with running(FakeEngine()) as client:
        yield str(client.base_url)


@pytest.fixture
def page(browser, address):
    """The page, open, whose script raises nothing and whose policy stops nothing."""
    opened = browser.new_page()
    complaints = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on(
        "console", lambda said: complaints.append(said.text) if "Policy" in said.text else None
    )
    opened.goto(address)
    opened.get_by_text("fake, 3 classes").wait_for()
    yield opened
    opened.close()
    assert complaints == []


def drop(page, data: bytes, name: str = "bee.jpg", kind: str = "image/jpeg") -> None:
    transfer = page.evaluate_handle(FILE, [list(data), name, kind])
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})


def answer(page) -> str:
    """The words of the newest card, once they are there."""
    found = page.locator(".card .answer").first
    page.wait_for_function("node => node.textContent !== '…'", arg=found.element_handle())
    return found.inner_text()


def choose(page, view: str) -> None:
    page.get_by_text(view, exact=True).click()


def test_a_dropped_image_shows_its_classes_as_bars(page) -> None:
    drop(page, picture((200, 100, 50)))
    # means of 200, 100 and 50 are logits of 4, 2 and 1, at temperature 2
    total = sum(math.exp(logit / 2) for logit in (4, 2, 1))
    expected = [f"{100 * math.exp(logit / 2) / total:.1f} %" for logit in (4, 2, 1)]
    assert answer(page) == f"red: {expected[0]}"
    assert page.locator(".bars output").all_inner_texts() == expected
    assert page.locator(".bars span").all_inner_texts() == ["red", "green", "blue"]
    widths = [
        float(node.evaluate("node => node.style.getPropertyValue('--share')").rstrip("%"))
        for node in page.locator(".bars i").all()
    ]
    assert widths == pytest.approx([100 * math.exp(z / 2) / total for z in (4, 2, 1)], rel=1e-4)


def test_the_toggle_shows_the_logits_and_the_softmax_between(page) -> None:
    drop(page, picture((200, 100, 50)))
    answer(page)
    choose(page, "Logits")
    assert answer(page) == "red: logit 4.00"
    assert page.locator(".bars output").all_inner_texts() == ["4.00", "2.00", "1.00"]
    assert page.locator("li.shown").get_attribute("data-stage") == "logit"
    lse = math.log(sum(math.exp(logit / 2) for logit in (4, 2, 1)))
    lesson = page.locator("#lesson").inner_text()
    assert f"z = 4.00, z ÷ T = 2.00, ln Σ = {lse:.2f}" in lesson
    choose(page, "Probabilities")
    assert page.locator("li.shown").get_attribute("data-stage") == "prob"
    assert answer(page).endswith(" %")


def test_a_pasted_image_is_classified(page) -> None:
    page.evaluate(PASTE, page.evaluate_handle(FILE, [list(noise(2)), "image.png", "image/png"]))
    assert answer(page).startswith("blue: ")


def test_several_images_are_chosen_with_the_keyboard(page) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "files"
    files = [{"name": f"{n}.jpg", "mimeType": "image/jpeg", "buffer": noise(n)} for n in range(3)]
    page.set_input_files("#files", files)
    page.locator(".card").nth(2).wait_for()
    assert answer(page).startswith("blue: ")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert answer(page).startswith("blue: logit ")


def test_a_text_file_is_an_error_in_clear_words(page) -> None:
    drop(page, b"Dear Sir or Madam", "letter.txt", "text/plain")
    assert answer(page) == "letter.txt could not be classified"
    assert "no known image format" in page.locator(".card .sum").inner_text()
    assert page.locator("#notice").inner_text() == "letter.txt could not be classified"


def test_a_page_whose_service_asks_for_a_token_asks_for_it_too(browser) -> None:
    with running(FakeEngine(), token=TOKEN) as client:
        page = browser.new_page()
        page.goto(str(client.base_url))
        page.get_by_label("This service asks for a token").fill(TOKEN)
        page.get_by_role("button", name="Use it").click()
        page.get_by_text("fake, 3 classes").wait_for()
        drop(page, noise(1))
        assert answer(page).startswith("green: ")
        page.close()


def test_the_interface_has_a_page(page, address) -> None:
    page.goto(f"{address}/docs")
    page.get_by_role("heading", name="POST /v1/predict").wait_for()
    assert "429" in page.inner_text("body")


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_phone_needs_no_scrolling_sideways(browser, address, path: str) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 740})
    page.goto(f"{address}{path}")
    if path == "/":
        drop(page, noise(0), "a-name-that-is-far-too-long-for-any-telephone-of-this-width.jpg")
        answer(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/docs"])
def test_axe_finds_nothing_serious(browser, address, path: str, scheme: str) -> None:
    page = browser.new_page(color_scheme=scheme)
    page.goto(f"{address}{path}")
    if path == "/":
        for data, name in ((noise(0), "a.jpg"), (b"text", "b.txt")):
            drop(page, data, name)
            answer(page)
    found = serious_violations(page)
    page.close()
    assert found == []
