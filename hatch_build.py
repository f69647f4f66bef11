"""Metadata that depends on where the source lies: the project's addresses, and the README's links.

A package index shows the README without the repository, so that a relative link leads nowhere
there. On a runner of a forge the environment names the repository: its addresses become the
project's, and the README's links absolute ones at the tag of the version. Elsewhere there is no
address to know, so the package has none, and the README is as it lies here.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(!?)\[((?:!\[[^]]*\]\([^)]*\)|[^]])*)\]\((?![a-z]+:|#)([^)]+)\)")


class AddressHook(MetadataHookInterface):
    """Set `readme` and `urls`, which pyproject.toml leaves open."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill in the two fields of the project's metadata."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        repository = find_repository(os.environ)
        if repository:
            text = make_absolute(text, repository, tag=f"v{metadata['version']}")
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        metadata["urls"] = project_urls(repository) if repository else {}


def find_repository(environment: Any) -> str | None:
    """Return the address of the repository that a forge's runner names; None elsewhere."""
    server, name = environment.get("GITHUB_SERVER_URL"), environment.get("GITHUB_REPOSITORY")
    return f"{server}/{name}" if server and name else None


def project_urls(repository: str) -> dict[str, str]:
    """Return the addresses that a package index shows beside the README."""
    return {
        "Source": repository,
        "Changelog": f"{repository}/blob/main/CHANGELOG.md",
        "Documentation": f"{repository}/tree/main/docs",
        "Issues": f"{repository}/issues",
    }


def make_absolute(text: str, repository: str, *, tag: str) -> str:
    """Return Markdown whose relative links and pictures lead into the repository at a tag."""

    def replace(match: re.Match[str]) -> str:
        picture, label, target = match.groups()
        kind = "raw" if picture else "blob"
        inner = _LINK.sub(replace, label)
        return f"{picture}[{inner}]({repository}/{kind}/{tag}/{target})"

    return _LINK.sub(replace, text)
