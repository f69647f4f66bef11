"""Published files of weights -> local files, checked, in the folder where torch.hub keeps them."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import queue
import threading
import urllib.request
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import torch

from softonce import console
from softonce.errors import WeightsError
from softonce.files import make_folder, replacing

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DOWNLOAD_BYTES = 2 << 30
"""Above every published file of weights of these networks."""
TIMEOUT_SECONDS = 30.0
"""Without a byte; not for the whole file."""
# Within this the server has answered, or nobody is connected. It is a limit of its own because
# looking up a name has none: a machine without a network can wait for minutes there.
ANSWER_SECONDS = 8.0
CHUNK_BYTES = 1 << 20
"""Between two of these progress is drawn and the size is looked at."""


def cache_folder() -> Path:
    """Return the folder in which torch.hub, and so torchvision, keeps downloaded weights."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def fetch(url: str, sha256: str, *, progress: bool = True) -> Path:
    """Return the local copy of a file, downloaded if the cache does not hold it yet.

    The file appears under its name only when it is whole and its digest is the expected one.

    Args:
        url: https; file and, on this machine, http are allowed for mirrors.
        sha256: the first hexadecimal digits of the file's digest.
        progress: whether to show how far the download is.

    Raises:
        WeightsError: if the file cannot be had, or its digest is another.
        StorageError: if it cannot be written.
    """
    path = cache_folder() / _name(url)
    if path.exists():
        with path.open("rb") as file:
            _check_digest(hashlib.file_digest(file, "sha256").hexdigest(), sha256, str(path))
        return path
    _check_url(url)
    console.LOG.info("downloading %s to %s", url, path)
    make_folder(
        path.parent,
        purpose="for weights",
        remedy="set TORCH_HOME to a folder that can be written",
    )
    with replacing(path) as temporary, temporary.open("wb") as file:
        digest = hashlib.sha256()
        for chunk in _chunks(url, path, progress):
            digest.update(chunk)
            file.write(chunk)
        _check_digest(digest.hexdigest(), sha256, url)
    return path


def _chunks(url: str, path: Path, progress: bool) -> Iterator[bytes]:
    """Yield what the address gives; every failure of the network is one clear line."""
    try:
        with _answer(url) as response:
            announced = int(response.headers.get("Content-Length") or 0)
            _check_size(announced, url)
            with _progress(_name(url), announced, progress) as advance:
                yield from _check_length(response, announced, url, advance)
    except (OSError, http.client.HTTPException) as error:
        raise WeightsError(
            f"expected to download {url}, found: {error or type(error).__name__}; check the "
            f"connection, or download it by other means and pass the file's path as weights, or "
            f"put it at {path}"
        ) from error


def _answer(url: str) -> Any:
    """Return the response to a request, or raise after `ANSWER_SECONDS` without one."""
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(_opener().open(url, timeout=TIMEOUT_SECONDS))
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()  # one that still waits ends with the process
    try:
        answer = answers.get(timeout=ANSWER_SECONDS)
    except queue.Empty:
        raise TimeoutError(f"no answer within {ANSWER_SECONDS:g} s") from None
    try:
        if isinstance(answer, Exception):
            raise answer
        return answer
    finally:
        del answer  # an error that its own frame holds would keep the socket open


def _check_length(response: Any, announced: int, url: str, advance: Any) -> Iterator[bytes]:
    """Yield the body, and check that it is as long as announced and not longer than allowed."""
    size = 0
    while chunk := response.read(CHUNK_BYTES):
        size += len(chunk)
        _check_size(size, url)
        advance(1)
        yield chunk
    if announced and size != announced:
        raise OSError(f"the connection broke after {size:,} of {announced:,} bytes")


def _progress(label: str, num_bytes: int, shown: bool) -> contextlib.AbstractContextManager[Any]:
    if not shown:
        return contextlib.nullcontext(lambda _: None)
    return console.progress(label, -(-num_bytes // CHUNK_BYTES), "MiB")


class _CheckedRedirect(urllib.request.HTTPRedirectHandler):
    """Follow redirects only to where a first request could have gone."""

    def redirect_request(self, *args: Any) -> urllib.request.Request | None:
        _check_url(args[-1])
        return super().redirect_request(*args)


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_CheckedRedirect)


def _name(url: str) -> str:
    return PurePosixPath(urlsplit(url).path).name


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    is_local = parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1", "localhost"}
    if parts.scheme not in {"https", "file"} and not is_local:
        raise WeightsError(f"expected an https address, found {url}: download it by other means")


def _check_size(size: int, url: str) -> None:
    if size > MAX_DOWNLOAD_BYTES:
        raise WeightsError(
            f"expected at most {MAX_DOWNLOAD_BYTES:,} bytes, found {size:,} or more at {url}: "
            "download it by other means and pass the file's path as weights"
        )


def _check_digest(digest: str, sha256: str, place: str) -> None:
    if not digest.startswith(sha256):
        raise WeightsError(
            f"expected a file whose sha256 begins with {sha256}, found {digest[: len(sha256)]} in "
            f"{place}: it is damaged or another file; delete it if it is local, and try again"
        )
