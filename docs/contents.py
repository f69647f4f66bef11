"""The order of the pages, for Sphinx; in the start page a forge would show it as code."""

LEARN = "why_no_softmax questions playground cheat_sheet notebooks glossary"
CONTENTS = {
    "en": {
        "Learn": f"start notebook {LEARN}",
        "Guides": "guides/train guides/evaluate guides/predict guides/decide guides/audit"
        " guides/adopt guides/export guides/serve guides/data guides/losses guides/check"
        " guides/watch guides/scale guides/extend guides/*",
        "Reference": "generated/command_line reference/api generated/rules/index"
        " generated/benchmarks comparison*",
    },
    "ko": {"배우기": f"start {LEARN}", "안내": "guides/train guides/losses guides/check"},
}


def setup(app):
    """Append the order to the start page."""
    app.connect("source-read", _append)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _append(app, docname, source):
    if docname == "index":
        for caption, pages in CONTENTS[app.config.language or "en"].items():
            lines = pages.replace(" ", "\n")
            options = f":caption: {caption}\n:maxdepth: 1\n:hidden:\n:glob:"
            source[0] += f"\n```{{toctree}}\n{options}\n\n{lines}\n```\n"
