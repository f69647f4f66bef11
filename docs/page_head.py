"""What a page tells other programs: description and preview, edit link, versions, search words.

Addresses are known only to whoever publishes the site, so they come from the environment:

- `SOFTONCE_DOCS_URL`: where the site will be, for canonical addresses and pictures of previews
- `SOFTONCE_DOCS_VERSIONS`: the released versions that lie below it in `v/VERSION/`, newest first
- `SOFTONCE_REPOSITORY`: the repository's address, for edit links and Colab; its branch is `main`

Without them a page has no such link.
"""

import os
import re
from html import escape

from docutils import nodes
from sphinx import addnodes

URL = os.environ.get("SOFTONCE_DOCS_URL", "").rstrip("/")
VERSIONS = os.environ.get("SOFTONCE_DOCS_VERSIONS", "").split()
REPOSITORY = os.environ.get("SOFTONCE_REPOSITORY", "").rstrip("/")

LONGEST_DESCRIPTION = 200  # search engines and previews cut about there
SHORTEST_DESCRIPTION = 60  # a sentence that is shorter seldom says what a page is about

# Names by which people search, of pages that call it otherwise.
SEARCHED = {
    "en": {
        "why_no_softmax": [
            "double softmax",
            "two softmaxes",
            "softmax twice",
            "logsumexp",
            "from_logits",
        ],
        "cheat_sheet": ["cheatsheet"],
    },
    "ko": {
        "why_no_softmax": ["double softmax", "이중 softmax", "이중 소프트맥스", "소프트맥스"],
        "questions": ["소프트맥스"],
    },
}


def setup(app):
    """Register the events of a page."""
    app.connect("config-inited", _configure)
    app.connect("doctree-read", _name_for_search)
    app.connect("source-read", _link_to_colab)
    app.connect("html-page-context", _finish_head)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _configure(_app, config):
    korean = config.language == "ko"
    if URL:
        config.html_baseurl = f"{URL}/ko/" if korean else f"{URL}/"
    if REPOSITORY:
        config.html_theme_options |= {
            "source_repository": REPOSITORY,
            "source_branch": "main",
            "source_directory": "docs/ko/" if korean else "docs/",
        }


def _name_for_search(app, doctree):
    """Index the page by its other names, at its first section, whose text search shows."""
    names = SEARCHED[app.config.language or "en"].get(app.env.docname, [])
    section = doctree.children[0] if names else None
    if section:
        entries = [("single", name, section["ids"][0], "main", None) for name in names]
        section.insert(1, addnodes.index(entries=entries))


def _link_to_colab(_app, docname, source):
    """Beside a notebook's file, link to Colab, which opens files of GitHub by their address."""
    github = "https://github.com/"
    if docname == "notebooks" and REPOSITORY.startswith(github):
        place = f"https://colab.research.google.com/github/{REPOSITORY.removeprefix(github)}"
        link = rf"\g<0> ([Colab]({place}/blob/main/docs/notebooks/\1))"
        source[0] = re.sub(r"\[[^\]]*\]\([./]*notebooks/([\w.]+ipynb)\)", link, source[0])


def _finish_head(app, pagename, _template, context, doctree):
    context["versions"] = [(version, f"{URL}/v/{version}/") for version in VERSIONS if URL]
    if pagename.startswith("generated/"):
        context["page_source_suffix"] = ""  # nothing to edit: it has no file
    if doctree is None:
        return
    title = context["title"]
    description = _description(doctree) or title
    metadata = [
        ("name", "description", description),
        ("property", "og:type", "article"),
        ("property", "og:site_name", "softonce"),
        ("property", "og:title", title),
        ("property", "og:description", description),
        ("property", "og:locale", "ko_KR" if app.config.language == "ko" else "en_GB"),
        ("name", "twitter:card", "summary_large_image" if URL else "summary"),
    ]
    if URL:
        page = f"{app.config.html_baseurl}{pagename}.html"
        preview = f"{URL}/_static/preview.png"
        metadata += [("property", "og:url", page), ("property", "og:image", preview)]
    context["metatags"] = context.get("metatags", "") + "".join(
        f'<meta {kind}="{name}" content="{escape(text)}">\n' for kind, name, text in metadata
    )


def _description(doctree):
    """Return the first paragraphs that stand in a section itself, cut at a word."""
    text = ""
    for paragraph in doctree.findall(nodes.paragraph):
        if isinstance(paragraph.parent, nodes.section) and len(text) < SHORTEST_DESCRIPTION:
            text = " ".join([text, *paragraph.astext().split()]).strip()
    if len(text) <= LONGEST_DESCRIPTION:
        return text
    return text[:LONGEST_DESCRIPTION].rsplit(" ", 1)[0] + " …"
