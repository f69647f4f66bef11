"""What the tests of training share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from softonce.report import charts


@pytest.fixture(scope="module", autouse=True)
def blank_charts() -> Iterator[None]:
    """Leave the charts of reports empty: to draw them takes half the time of a tiny run.

    What they show is tested in tests/test_report*.py; tests/test_run_report.py draws those of runs.
    """
    with pytest.MonkeyPatch.context() as patched:
        for name in ("curve", "reliability", "coverage"):
            patched.setattr(charts, name, lambda *_, **__: "")
        yield
