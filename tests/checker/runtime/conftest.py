"""What a watched program leaves to its process is put back after each test."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _own_main() -> Iterator[None]:
    before = sys.modules["__main__"], sys.argv, list(sys.path), sys.excepthook
    yield
    sys.modules["__main__"], sys.argv, sys.path[:], sys.excepthook = before
