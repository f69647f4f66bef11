"""Files are read in order, in threads where one takes long."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from softonce.data.threads import map_files


@pytest.mark.parametrize(("seconds", "is_threaded"), [(0.0, False), (0.01, True)])
@pytest.mark.parametrize("num", [0, 3, 20])
def test_threads_read_what_takes_long(
    seconds: float, is_threaded: bool, num: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    readers = set()

    def read(item: int) -> int:
        now[0] += seconds
        readers.add(threading.current_thread())
        return item * item

    with ThreadPoolExecutor(2) as threads:
        assert list(map_files(read, range(num), threads)) == [item * item for item in range(num)]
    assert bool(readers - {threading.current_thread()}) == (is_threaded and num > 8)
