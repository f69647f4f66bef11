"""Downloads from a server on this machine: whole and checked, or nothing and a clear line."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import threading
from typing import TYPE_CHECKING

import pytest
import torch

from softonce.errors import StorageError, WeightsError
from softonce.models import download
from softonce.models.download import cache_folder, fetch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BODY = bytes(range(256)) * 9000
DIGEST = hashlib.sha256(BODY).hexdigest()[:8]


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves the same bytes under every name, in the ways that servers can go wrong."""

    requests: list[str]

    def do_GET(self) -> None:
        type(self).requests.append(self.path)
        kind = self.path.strip("/").partition("-")[0]
        if kind == "missing":
            self.send_error(404)
            return
        if kind == "moved":
            self.send_response(302)
            self.send_header("Location", "http://example.invalid/weights.pth")
            self.end_headers()
            return
        self.send_response(200)
        if kind != "unannounced":
            self.send_header("Content-Length", str(len(BODY) * (1000 if kind == "huge" else 1)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(BODY[: len(BODY) // 2] if kind == "broken" else BODY)

    def log_message(self, *args: object) -> None:
        """Stay silent."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve on a free port; whatever proxy the environment names is none of its business."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Handler.requests = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    return cache_folder()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


class Silence:
    """Stands for a name server, or a server, that does not answer."""

    def open(self, *_: object, **__: object) -> None:
        threading.Event().wait(60)


def test_who_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert download.ANSWER_SECONDS < 10
    monkeypatch.setattr(download, "_opener", Silence)
    monkeypatch.setattr(download, "ANSWER_SECONDS", 0.05)
    with pytest.raises(WeightsError, match=r"found: no answer within 0.05 s; check the connection"):
        fetch("https://weights.invalid/a.pth", DIGEST)


def test_the_cache_is_the_folder_of_torch_hub(cache: Path) -> None:
    assert cache == type(cache)(torch.hub.get_dir()) / "checkpoints"


@pytest.mark.parametrize("name", ["whole-1.pth", "unannounced-1.pth"])
@pytest.mark.parametrize("progress", [True, False])
def test_a_file_is_downloaded_once(server: str, cache: Path, name: str, progress: bool) -> None:
    path = fetch(f"{server}/{name}", DIGEST, progress=progress)
    assert path == cache / name
    assert path.read_bytes() == BODY
    assert fetch(f"{server}/{name}", DIGEST) == path
    assert Handler.requests == [f"/{name}"]
    assert files(cache) == [name]


def test_a_file_that_lies_in_the_cache_is_used(cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "there.pth").write_bytes(BODY)
    assert fetch("https://example.invalid/there.pth", DIGEST) == cache / "there.pth"


def test_file_addresses_are_read(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "a.pth").write_bytes(BODY)
    assert fetch((tmp_path / "a.pth").as_uri(), DIGEST).read_bytes() == BODY


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing-1.pth", "found: HTTP Error 404: Not Found; check the connection, or download it"),
        ("broken-1.pth", "the connection broke after 1,152,000 of 2,304,000 bytes"),
        ("huge-1.pth", "expected at most 2,147,483,648 bytes, found 2,304,000,000 or more"),
        ("moved-1.pth", "expected an https address, found http://example.invalid/weights.pth"),
    ],
)
def test_a_failed_download_leaves_nothing(
    server: str, cache: Path, name: str, message: str
) -> None:
    with pytest.raises(WeightsError, match=message):
        fetch(f"{server}/{name}", DIGEST)
    assert files(cache) == []


def test_an_unreachable_server_says_what_to_do(server: str, cache: Path) -> None:
    port = int(server.rpartition(":")[2])
    with pytest.raises(WeightsError, match=r"or put it at .*checkpoints/a.pth"):
        fetch(f"http://127.0.0.1:{port ^ 1 if port ^ 1 > 1024 else 1}/a.pth", DIGEST)
    assert files(cache) == []


def test_an_endless_body_is_cut_off(
    server: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MAX_DOWNLOAD_BYTES", 2 << 20)
    with pytest.raises(WeightsError, match="expected at most 2,097,152 bytes, found 2,304,000"):
        fetch(f"{server}/unannounced-1.pth", DIGEST)
    assert files(cache) == []


def test_a_downloaded_file_with_another_digest_is_thrown_away(server: str, cache: Path) -> None:
    with pytest.raises(WeightsError, match=f"begins with 00000000, found {DIGEST} in {server}"):
        fetch(f"{server}/whole-1.pth", "00000000")
    assert files(cache) == []


def test_a_cached_file_with_another_digest_is_reported_and_kept(cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "a.pth").write_bytes(b"half a fi")
    with pytest.raises(WeightsError, match=rf"begins with {DIGEST}, found .* in .*a.pth: it is"):
        fetch("https://example.invalid/a.pth", DIGEST)
    assert files(cache) == ["a.pth"]


def test_an_interruption_leaves_no_half_file(
    server: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def interrupted(size: int, url: str) -> None:
        sizes.append(size)
        if len(sizes) == 3:  # the announced size, the first chunk, the second
            assert len(files(cache)) == 1, "the half file is there while it grows"
            raise KeyboardInterrupt

    monkeypatch.setattr(download, "_check_size", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(f"{server}/whole-1.pth", DIGEST)
    assert files(cache) == []


@pytest.mark.parametrize("url", ["http://example.invalid/a.pth", "ftp://example.invalid/a.pth"])
def test_unsafe_addresses_are_refused(url: str, cache: Path) -> None:
    with pytest.raises(WeightsError, match="expected an https address, found"):
        fetch(url, DIGEST)
    assert files(cache) == []


def test_a_cache_that_cannot_be_written_is_named(server: str, cache: Path) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("a file in the way")
    with pytest.raises(
        StorageError, match=r"a folder for weights at .*checkpoints, found: File exi"
    ):
        fetch(f"{server}/whole-1.pth", DIGEST)
