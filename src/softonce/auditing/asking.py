"""A classifier behind a URL is asked, within bounds of time and size, and of one host only.

No redirect is followed and no proxy is used: every byte goes to the host that was named.
"""

from __future__ import annotations

import base64
import dataclasses
import http.client
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from softonce.auditing.reading import join_scores
from softonce.auditing.shapes import scores_of
from softonce.errors import ArgumentError, DataError, describe_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from urllib.parse import SplitResult

    from softonce.auditing.answers import Answers
    from softonce.auditing.shapes import Scores

Form: TypeAlias = Literal["softonce", "huggingface", "kserve", "raw"]
"""How a picture is sent: in our JSON, in Hugging Face's, as a tensor of bytes, or as it is."""

MAX_ANSWER = 32 * 2**20
"""Longer answers, in bytes, are refused."""

MANY_CLASSES = 1000
"""As many classes as our service names; it takes all of them to tell a second softmax."""

MANY = 8
"""Requests at a time, where a service takes one picture a request."""

_CHUNK = 1 << 16
_SHOWN = 120  # letters of an answer in a message


@dataclass(frozen=True)
class Service:
    """A classifier behind a URL.

    Args:
        url: that pictures are posted to.
        form: in which they are sent.
        field: where the scores are in an answer; None is guessed.
        seconds: within which each request is answered, as a whole.
        token: sent as a bearer token, if there is one.
    """

    url: str
    form: Form
    field: str | None = None
    seconds: float = 30.0
    token: str | None = dataclasses.field(default=None, repr=False)

    @classmethod
    def of(
        cls, url: str, *, form: Form | None, field: str | None, seconds: float, token: str | None
    ) -> Service:
        """Return the service behind a URL; the form is guessed by the path if it is None.

        Raises:
            ArgumentError: if it is no http or https address with a host.
        """
        parts = _parts(url)
        guessed: Form = "huggingface" if "/models/" in parts.path else "raw"
        if parts.path.endswith("/infer"):
            guessed = "kserve"
        elif parts.path.rstrip("/").endswith("/v1/predict"):
            guessed = "softonce"
        form = form or guessed
        if form == "softonce" and not parts.query:
            url = urlunsplit(parts._replace(query=f"top_k={MANY_CLASSES}"))
        return cls(url, form, field, seconds, token)

    def ask(self, pictures: Sequence[bytes]) -> Answers:
        """Return the answers to pictures, in order, asked together.

        Args:
            pictures: the bytes of image files.

        Raises:
            DataError: if an answer does not come in time, is too long, an error, or no scores.
        """
        if self.form in ("softonce", "kserve"):
            found = self._scores(pictures)
        else:
            with ThreadPoolExecutor(MANY) as threads:
                each = threads.map(self._scores, ([picture] for picture in pictures))
                found = [scores for own in each for scores in own]
        if len(found) != len(pictures):
            raise DataError(
                f"expected {len(pictures)} answers from {self.url}, found {len(found)}: say where "
                "they are with --field"
            )
        return join_scores(found, self.url)

    def _scores(self, pictures: Sequence[bytes]) -> list[Scores]:
        body, kind = _body(self.form, pictures)
        headers = {"Content-Type": kind, "Accept": "application/json", "User-Agent": "softonce"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        data = post(self.url, body, headers, seconds=self.seconds)
        try:
            node = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"expected JSON from {self.url}, found {_shown(data)}: check the URL"
            ) from error
        return scores_of(node, f"the answer of {self.url}", self.field)


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ArgumentError(f"expected an http or https address with a host, found {url!r:.120}")
    return parts


def _body(form: Form, pictures: Sequence[bytes]) -> tuple[bytes, str]:
    """Return a request's body and its type."""
    texts = [base64.b64encode(picture).decode("ascii") for picture in pictures]
    if form == "softonce":
        return _json({"images": [{"data": text} for text in texts]})
    if form == "huggingface":
        return _json({"inputs": texts[0], "parameters": {"top_k": MANY_CLASSES}})
    if form == "kserve":
        tensor = {"name": "images", "shape": [len(texts)], "datatype": "BYTES", "data": texts}
        return _json({"inputs": [tensor]})
    return pictures[0], _type_of(pictures[0])


def _json(body: dict[str, Any]) -> tuple[bytes, str]:
    return json.dumps(body).encode(), "application/json"


def _type_of(picture: bytes) -> str:
    known = {b"\x89PNG": "image/png", b"\xff\xd8": "image/jpeg", b"RIFF": "image/webp"}
    found = (kind for begin, kind in known.items() if picture.startswith(begin))
    return next(found, "application/octet-stream")


def post(url: str, body: bytes, headers: Mapping[str, str], *, seconds: float) -> bytes:
    """Return the answer to a request.

    Args:
        url: an http or https address; no redirect is followed.
        body: of the request.
        headers: of the request.
        seconds: within which all of it happens.

    Raises:
        DataError: if the host does not answer in time, closes early, answers with another status
            than 200, or with more than is allowed.
    """
    parts = _parts(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=seconds)
    path = urlunsplit(("", "", parts.path or "/", parts.query, ""))
    start = time.monotonic()
    try:
        connection.connect()
        with _ended_after(connection, seconds - (time.monotonic() - start)) as is_late:
            try:
                connection.request("POST", path, body, dict(headers))
                data = _read(connection.getresponse(), url)
            except (OSError, http.client.HTTPException, ValueError) as error:
                if not is_late.is_set():
                    raise
                raise TimeoutError from error
            if is_late.is_set():  # an answer without a length ends when it is cut off
                raise TimeoutError
            return data
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = describe_error(error)
        late = f"nothing whole within {seconds:g} s" if isinstance(error, TimeoutError) else reason
        raise DataError(
            f"expected an answer from {url}, found: {late}; check the URL, or give it more time "
            "with --timeout"
        ) from error
    finally:
        connection.close()


@contextmanager
def _ended_after(
    connection: http.client.HTTPConnection, seconds: float
) -> Iterator[threading.Event]:
    """Break a connection off when its time is over, however steadily it drips."""
    is_late = threading.Event()
    opened = connection.sock  # which is forgotten when an answer without a length begins

    def end() -> None:
        is_late.set()
        with suppress(OSError):  # it has ended by itself
            opened.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(seconds, 0.01), end)
    timer.daemon = True
    timer.start()
    try:
        yield is_late
    finally:
        timer.cancel()


def _read(response: http.client.HTTPResponse, url: str) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while chunk := response.read1(_CHUNK):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_ANSWER:
            raise DataError(
                f"expected at most {MAX_ANSWER:,} bytes from {url}, found more: check the URL"
            )
    data = b"".join(chunks)
    announced = response.headers.get("Content-Length", "")
    if announced.isdecimal() and size < int(announced):
        raise http.client.IncompleteRead(data, int(announced) - size)
    if response.status != http.client.OK:
        moved = " (redirects are not followed)" if 300 <= response.status < 400 else ""
        raise DataError(
            f"expected status 200 from {url}, found {response.status} {response.reason}{moved}: "
            f"{_shown(data)}; see --ask, and SOFTONCE_TOKEN if it asks for a token"
        )
    return data


def _shown(data: bytes) -> str:
    text = " ".join(data[: 4 * _SHOWN].decode("utf-8", "replace").split())
    return repr(text[:_SHOWN]) if text else "an empty body"
