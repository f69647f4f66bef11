"""Sphinx: the English site is built from `docs/`, the Korean pages from `docs/ko/` into `ko/`."""

import re
import sys
from pathlib import Path

import softonce

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from generate import generate  # noqa: E402 - it lies beside this file

project = "softonce"
version = release = softonce.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
extensions += ["sphinx_copybutton"]
extensions += ["contents", "korean_search", "korean_words", "mathml", "page_head"]  # of this folder
source_suffix = {".md": "markdown"}
exclude_patterns = ["ko", "*.py", "__pycache__"]
html_math_renderer = "mathml"
smartquotes = False  # it would make a dash of the two hyphens of a flag

# The button copies commands without the prompt and the output below it.
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

default_role = "code"  # a single backtick in a docstring is code, as in Markdown

myst_enable_extensions = ["attrs_block", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_custom_sections = [("Source", "returns_style")]

html_theme = "furo"
html_title = "softonce"
html_static_path = [str(HERE / "_static")]
templates_path = [str(HERE / "_templates")]
html_css_files = ["site.css"]
html_favicon = str(HERE / "_static/favicon.svg")
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_theme_options = {
    "navigation_with_keys": True,
    "light_css_variables": {"color-brand-primary": "#1f5f99", "color-brand-content": "#1f5f99"},
    "dark_css_variables": {"color-brand-primary": "#8cc4f5", "color-brand-content": "#8cc4f5"},
}
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "languages.html",
        "versions.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
TRANSLATED = ["index", "start", "why_no_softmax", "questions", "playground"]
TRANSLATED += ["cheat_sheet", "notebooks", "glossary"]
TRANSLATED += ["guides/train", "guides/losses", "guides/check"]


def setup(app):
    """Generate pages for the English build; let the Korean one read Korean pages alone."""
    app.connect("config-inited", _set_language)
    app.connect("source-read", _link_to_english)
    app.connect("html-page-context", _finish_page, priority=900)


def _set_language(_app, config):
    if config.language == "ko":
        config.html_title = "softonce 문서"
        config.exclude_patterns = []
    else:
        generate(HERE / "generated")


def _link_to_english(app, docname, source):
    """Let a Korean page link to an English one by its file, which a forge shows."""
    if app.config.language == "ko":
        up = "../" * (docname.count("/") + 1)
        link = rf"(?<!!)\[([^\]]*)\]\({re.escape(up)}(\w[\w/]*)\.md(#[^)]*)?\)"
        source[0] = re.sub(link, rf'<a href="{up}\2.html\3">\1</a>', source[0])


def _finish_page(app, pagename, _template, context, _doctree):
    there = pagename if pagename in TRANSLATED else "index"
    up = "../" * pagename.count("/")  # to the start page of this language
    for name in ("body", "furo_navigation_tree"):  # what a screen reader and the keyboard need
        text = context.get(name) or ""
        text = text.replace('role="heading"', 'role="heading" aria-level="2"')
        text = text.replace("<pre>", '<pre tabindex="0">')
        context[name] = text.replace('class="table-wrapper', 'tabindex="0" class="table-wrapper')
    korean = app.config.language == "ko"
    context["languages"] = [
        ("en", "English", f"{up}../{there}.html" if korean else None),
        ("ko", "한국어", None if korean else f"{up}ko/{there}.html"),
    ]
