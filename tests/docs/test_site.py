"""The built site in a browser: links, search, the playground's numbers, keyboard, phone, dark mode.

`make docs` builds it and runs this; a browser is Debian's chromium, or the one that
SOFTONCE_BROWSER names.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import threading
from functools import partial
from html import unescape
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
import torch
from accessibility import serious_violations
from torch.testing import assert_close

import softonce

SITE = Path(__file__).parents[2] / "build/site"
BROWSER = os.environ.get("SOFTONCE_BROWSER") or shutil.which("chromium")
LEARNED = ["index", "start", "why_no_softmax", "questions", "playground", "cheat_sheet"]
LEARNED += ["notebooks", "glossary"]

pytestmark = pytest.mark.site
in_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium; SOFTONCE_BROWSER names one")


class Links(HTMLParser):
    """The anchors of a page, and where it leads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors, self.targets = {""}, []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.anchors.add(values.get("id") or "")
        self.targets += [values[name] for name in ("href", "src") if values.get(name)]


def test_every_link_inside_the_site_leads_somewhere():
    pages = {path: Links(path) for path in SITE.rglob("*.html")}
    assert len(pages) > 40
    broken = []
    for path, page in pages.items():
        for target in page.targets:
            file, anchor = urldefrag(target)
            file = file.split("?")[0]
            if ":" in file or target == "#":
                continue
            there = (path.parent / unquote(file)).resolve() if file else path
            known = pages.get(there)
            if not there.exists() or (known and unquote(anchor) not in known.anchors):
                broken.append(f"{path.relative_to(SITE)} -> {target}")
    assert broken == []


def test_no_page_loads_anything_from_elsewhere():
    marks = ('src="http', 'rel="stylesheet" href="http', "@import")
    outside = [
        f"{path.name}: {mark}"
        for path in SITE.rglob("*.html")
        for mark in marks
        if mark in path.read_text(encoding="utf-8")
    ]
    assert outside == []


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site():
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser):
    opened = browser.new_page()
    errors = []
    opened.on("pageerror", lambda error: errors.append(error))  # noqa: PLW0108 - it must be a function
    yield opened
    opened.close()
    assert errors == []


def value(page, selector):
    return float(page.locator(selector).get_attribute("data-value"))


def values(page, name):
    found = page.locator(f'.row[data-class] [data-name="{name}"]').all()
    numbers = [float(node.get_attribute("data-value")) for node in found]
    return torch.tensor(numbers, dtype=torch.float64)


def set_sliders(page, settings):
    page.evaluate(
        """settings => settings.forEach(([selector, value]) => {
            const input = document.querySelector(selector);
            input.value = value;
            input.dispatchEvent(new Event("input", { bubbles: true }));
        })""",
        settings,
    )


def expected(logits, target, temperature, smoothing, *, twice):
    leaf = torch.tensor([logits], dtype=torch.float64, requires_grad=True)
    row = leaf / temperature
    if twice:
        row = softonce.softmax(row, dim=1)
    loss = softonce.cross_entropy(row, torch.tensor([target]), label_smoothing=smoothing)
    return loss.item(), torch.autograd.grad(loss, leaf)[0][0]


@in_browser
def test_the_playground_s_numbers_are_the_library_s(page, site):
    page.goto(f"{site}/playground.html")
    draw = random.Random(0)
    for _ in range(50):
        num_classes = draw.randint(2, 6)
        logits = [round(draw.uniform(-6, 6), 2) for _ in range(num_classes)]
        target = draw.randrange(num_classes)
        temperature = draw.choice([0.25, 0.5, 1, 1.5, 4])
        smoothing = draw.choice([0, 0.1, 0.37, 0.5])
        set_sliders(page, [('[name="classes"]', num_classes)])
        rows = [(f'[data-class="{c}"] [name="logit"]', z) for c, z in enumerate(logits)]
        set_sliders(
            page, [*rows, ('[name="temperature"]', temperature), ('[name="smoothing"]', smoothing)]
        )
        page.locator(f'[name="target"][value="{target}"]').check()
        for name, gradient_name, twice in (
            ("loss", "gradient", False),
            ("lossTwice", "gradientTwice", True),
        ):
            loss, gradient = expected(logits, target, temperature, smoothing, twice=twice)
            assert value(page, f'.card [data-name="{name}"]') == pytest.approx(loss, abs=1e-6)
            assert_close(values(page, gradient_name), gradient, rtol=0, atol=1e-6)
        scaled = torch.tensor(logits, dtype=torch.float64) / temperature
        assert_close(values(page, "probs"), softonce.softmax(scaled, dim=0), rtol=0, atol=1e-6)
        logs = softonce.log_softmax(scaled, dim=0)
        assert_close(values(page, "logProbs"), logs, rtol=0, atol=1e-6)


def descended(logits, target, temperature, smoothing, rate, steps, *, twice):
    """Return the losses of gradient descent on the logits, and its last logits."""
    row, losses = logits, []
    for _ in range(steps):
        loss, gradient = expected(row, target, temperature, smoothing, twice=twice)
        losses.append(loss)
        row = (torch.tensor(row, dtype=torch.float64) - rate * gradient).tolist()
    return [*losses, expected(row, target, temperature, smoothing, twice=twice)[0]], row


@in_browser
@pytest.mark.parametrize("language", ["", "ko/"])
def test_the_playground_trains_in_the_library_s_steps(browser, site, language):
    page = browser.new_page(reduced_motion="reduce")  # all steps at once, in place of an animation
    draw = random.Random(1)
    for settings in [([2, 0.5, -1], 0, 1, 0), ([-3, 3], 0, 1, 0), ([0.5, 2, -1, 0], 3, 1.5, 0.1)]:
        logits, target, temperature, smoothing = settings
        rate = draw.choice([0.5, 1, 3])
        row = ",".join(map(str, logits))
        page.goto(f"{site}/{language}playground.html#{row}/{target}/{temperature}/{smoothing}")
        page.reload()
        set_sliders(page, [('[name="rate"]', rate)])
        page.locator('[name="train"]').click()
        page.locator('[name="step"]').click()
        assert value(page, '[data-name="steps"]') == 101
        for name, twice in (("Once", False), ("Twice", True)):
            shown = page.locator(f'[data-name="trained{name}"]')
            losses, last = descended(
                logits, target, temperature, smoothing, rate, steps=101, twice=twice
            )
            trained = json.loads(shown.get_attribute("data-logits"))
            assert trained == pytest.approx(last, abs=1e-6)
            assert float(shown.get_attribute("data-value")) == pytest.approx(losses[-1], abs=1e-6)
            drawn = page.locator(f'[data-name="curve{name}"]').get_attribute("d")
            assert drawn.count("L") == 101
    page.close()


@in_browser
def test_training_with_one_softmax_goes_to_0_and_with_two_to_the_floor(browser, site):
    page = browser.new_page(reduced_motion="reduce")
    page.goto(f"{site}/playground.html#2,0.5,-1/0/1/0")
    set_sliders(page, [('[name="rate"]', 10)])
    for _ in range(20):
        page.locator('[name="train"]').click()
    floor = softonce.floors.double_softmax_floor(3)
    assert value(page, '[data-name="trainedOnce"]') < 1e-3
    assert floor < value(page, '[data-name="trainedTwice"]') < floor + 1e-3
    page.locator('[name="back"]').click()
    assert value(page, '[data-name="trainedOnce"]') == value(page, '.card [data-name="loss"]')
    page.close()


@in_browser
def test_the_animation_ends_where_the_steps_do(page, site):
    page.goto(f"{site}/playground.html#2,0.5,-1/0/1/0")
    page.locator('[name="train"]').click()
    page.locator('[data-name="steps"][data-value="100"]').wait_for(timeout=20_000)
    losses, _ = descended([2, 0.5, -1], 0, 1, 0, 1, steps=100, twice=True)
    assert value(page, '[data-name="trainedTwice"]') == pytest.approx(losses[-1], abs=1e-6)


@in_browser
def test_the_playground_can_be_used_with_the_keyboard_alone(page, site):
    page.goto(f"{site}/playground.html")
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.name || ''"))
        if seen[-1] == "logit":
            break
    before = value(page, '.card [data-name="loss"]')
    page.keyboard.press("ArrowRight")
    assert value(page, '.card [data-name="loss"]') < before  # class 0 is the right one
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowDown")  # the next right class
    assert page.locator('[name="target"][value="1"]').is_checked()
    assert {"classes", "temperature", "smoothing", "target"} <= set(seen)


@in_browser
def test_the_state_is_in_the_address_and_in_the_command(page, site):
    page.goto(f"{site}/playground.html#1,-2,3.5/2/2/0.1")
    command = page.locator('[data-name="command"]').inner_text()
    assert (
        command
        == "softonce explain --logits 1,-2,3.5 --target 2 --temperature 2 --label-smoothing 0.1"
    )
    loss, _ = expected([1, -2, 3.5], 2, 2, 0.1, twice=False)
    assert value(page, '.card [data-name="loss"]') == pytest.approx(loss, abs=1e-6)


@in_browser
@pytest.mark.parametrize("name", [*LEARNED, *(f"ko/{name}" for name in LEARNED)])
def test_a_phone_needs_no_scrolling_sideways(browser, site, name):
    page = browser.new_page(viewport={"width": 360, "height": 740})
    page.goto(f"{site}/{name}.html")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.close()


@in_browser
def test_dark_mode_is_dark(browser, site):
    shades = {}
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        page.goto(f"{site}/playground.html")
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        shades[scheme] = sum(int(part) for part in colour[4:-1].split(",")[:3])
        page.close()
    assert shades["dark"] < 150
    assert shades["light"] > 600


@in_browser
@pytest.mark.parametrize(
    ("path", "word", "title"),
    [
        ("search.html", "temperature", "Why the network has no softmax"),
        ("ko/search.html", "온도", "스무 가지 질문"),
    ],
)
def test_search_finds_the_page(page, site, path, word, title):
    page.goto(f"{site}/{path}?q={word}")
    page.locator("#search-results li", has_text=title).first.wait_for(timeout=10_000)


@in_browser
@pytest.mark.parametrize("words", ["double softmax", "two softmaxes", "softmax twice"])
def test_the_lesson_is_the_first_that_search_finds_by_its_common_name(page, site, words):
    page.goto(f"{site}/search.html?q={words.replace(' ', '+')}")
    first = page.locator("#search-results li").first
    first.wait_for(timeout=10_000)
    page.wait_for_timeout(500)  # the list is written one by one
    assert first.locator("a").first.inner_text() == "Why the network has no softmax"


@in_browser
@pytest.mark.parametrize("name", ["why_no_softmax", "guides/check"])
def test_a_button_copies_the_command_without_its_output(browser, site, name):
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(f"{site}/{name}.html")
    block = page.locator(".highlight", has_text="$ softonce").first
    block.hover()
    block.locator("button.copybtn").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    context.close()
    assert copied.startswith("softonce ")
    assert all(line.startswith("softonce ") for line in copied.splitlines())


def test_flags_keep_their_hyphens():
    for path in SITE.rglob("*.html"):
        assert "\N{EN DASH}-" not in path.read_text(encoding="utf-8")
    page = (SITE / "generated/command_line.html").read_text(encoding="utf-8")
    assert "[default: --size]" in page


@pytest.mark.parametrize("name", [*LEARNED, *(f"ko/{name}" for name in LEARNED), "guides/train"])
def test_a_page_describes_itself_to_search_engines_and_previews(name):
    page = (SITE / f"{name}.html").read_text(encoding="utf-8")
    metadata = dict(re.findall(r'<meta (?:name|property)="([^"]+)" content="([^"]*)"', page))
    assert 30 <= len(unescape(metadata["description"])) <= 202
    assert metadata["og:title"] in page.split("</title>")[0]
    assert metadata["og:locale"] == ("ko_KR" if name.startswith("ko/") else "en_GB")


@pytest.mark.parametrize("name", LEARNED)
def test_a_korean_page_has_no_word_of_the_theme_in_english(name):
    page = (SITE / f"ko/{name}.html").read_text(encoding="utf-8")
    words = re.findall(r">\s*(Next|Previous|Back to top|Contents|Skip to content)\s*<", page)
    assert words == []
    assert "Toggle " not in page
    assert "Made with" not in page


@in_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "name",
    [
        *LEARNED,
        "ko/playground",
        "ko/why_no_softmax",
        "reference/api",
        "generated/rules/SO101",
        "generated/benchmarks",
    ],
)
def test_axe_finds_nothing_serious(browser, site, name, scheme):
    page = browser.new_page(color_scheme=scheme)
    page.goto(f"{site}/{name}.html")
    found = serious_violations(page)
    page.close()
    assert found == []
