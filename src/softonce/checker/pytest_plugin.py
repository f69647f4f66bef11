"""`pytest --softonce`: every test is watched, and an error-level finding fails it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the flag."""
    text = "watch the losses of every test; a test that gives one the wrong kind of scores fails"
    parser.getgroup("softonce").addoption("--softonce", action="store_true", help=text)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Watch one test; a test that has not loaded torch by then is left alone."""
    if not item.config.getoption("--softonce") or "torch" not in sys.modules:
        return (yield)
    from softonce.checker.findings import STATUS_CLEAN, exit_status
    from softonce.checker.runtime import watch

    with watch(report=False) as session:
        result = yield
    if exit_status(session.findings) != STATUS_CLEAN:
        pytest.fail(session.summary(), pytrace=False)
    return result
