"""What axe-core, the judge of accessibility, finds on a page in a browser."""

import pytest


def serious_violations(page) -> list[str]:
    """Return the serious and the critical ones, each with its place in the page."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    return [
        f"{found['id']}: {node['html']}"
        for found in axe.run(page).response["violations"]
        if found["impact"] in ("serious", "critical")
        for node in found["nodes"]
    ]
