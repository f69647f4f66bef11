"""The shim of the parity tests: absent torchvision skips, and fails where CI asks for the proof."""

from __future__ import annotations

import sys

import pytest
from torchvision_beside import load_torchvision, torchvision_or_skip


@pytest.fixture(autouse=True)
def _absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)


def test_absent_torchvision_is_an_import_error() -> None:
    with pytest.raises(ImportError, match="torchvision"):
        load_torchvision()


def test_absent_torchvision_skips_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="parity needs torchvision"):
        torchvision_or_skip()


def test_absent_torchvision_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(ImportError, match="torchvision"):
        torchvision_or_skip()
