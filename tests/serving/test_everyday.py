"""What clients, monitors and operators do every day: base64, HEAD, logs, TLS, other origins."""

from __future__ import annotations

import base64
import datetime as dt
import json
import logging
import re
import ssl
import subprocess
import textwrap
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving.raw_http import PREDICT, connected, wait_until
from serving.service_beside import FakeEngine, noise, options, picture, raw, running

from softonce.cli.app import build_app
from softonce.config import ServeConfig
from softonce.config.toml import from_toml
from softonce.errors import ConfigError
from softonce.serving.base64_text import decode_base64
from softonce.serving.logs import service_logs
from softonce.serving.server import check_certificate

PLAIN = base64.b64encode


@pytest.fixture(scope="module")
def client():
    with running(FakeEngine(), cors=("https://example.org",)) as found:
        yield found


# base64

HABITS = {
    "plain": lambda data: PLAIN(data).decode(),
    "in lines": lambda data: "\r\n".join(textwrap.wrap(PLAIN(data).decode(), 76)) + "\r\n",
    "URL-safe": lambda data: base64.urlsafe_b64encode(data).decode(),
    "unpadded": lambda data: PLAIN(data).decode().rstrip("="),
    "of a browser": lambda data: "data:image/png;base64," + PLAIN(data).decode(),
    "of a browser, percent-encoded": lambda data: (
        "DATA:image/png;charset=x;BASE64," + PLAIN(data).decode().replace("+", "%2B")
    ),
    "of a browser, URL-safe, unpadded, in lines": lambda data: (
        "data:;base64,\n" + base64.urlsafe_b64encode(data).decode().rstrip("=") + "\n"
    ),
}


@pytest.mark.parametrize("habit", HABITS)
@given(data=st.binary(max_size=200))
def test_base64_is_read_whatever_the_habit(habit: str, data: bytes) -> None:
    assert decode_base64(HABITS[habit](data)) == data


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("%", "the character '%'"),
        ("abc\x00", "the character '\\x00'"),
        ("ab\N{LATIN SMALL LETTER E WITH ACUTE}d", "the character '\\xe9'"),
        ("ab=d", "the character '='"),
        ("abcde", "5 characters, which no bytes make"),
        ("data:image/png,abcd", "a data URL that is not of base64"),
        ("data:image/png;base64", "a data URL that is not of base64"),
        ("https://example.org/a.jpg", "the character ':'"),
    ],
)
def test_what_is_no_base64_is_said_where(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        decode_base64(text)


@pytest.mark.parametrize("habit", HABITS)
def test_the_service_takes_every_habit(client, habit: str) -> None:
    data = noise(1)
    answer = client.post("/v1/predict", json={"images": [{"data": HABITS[habit](data)}]})
    assert answer.json() == raw(client, data).json()


# HTTP


@pytest.mark.parametrize("path", ["/", "/docs", "/healthz", "/readyz", "/metrics", "/v1/model"])
def test_head_is_get_without_a_body(client, path: str) -> None:
    found, whole = client.head(path), client.get(path)
    assert (found.status_code, found.content) == (200, b"")
    assert found.headers["content-type"] == whole.headers["content-type"]
    if path != "/metrics":
        assert found.headers["content-length"] == str(len(whole.content))


def test_head_of_what_is_no_get(client) -> None:
    assert client.head("/v1/predict").status_code == 405
    assert client.head("/nothing").status_code == 404
    assert client.post("/healthz").headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate, gzip", "GZIP", "zstd"])
def test_a_compressed_body_is_a_415(client, coding: str) -> None:
    answer = client.post("/v1/predict", content=noise(0), headers={"Content-Encoding": coding})
    assert answer.status_code == 415
    assert answer.headers["accept-encoding"] == "identity"
    assert "expected a body without Content-Encoding" in answer.json()["detail"]


def test_no_encoding_by_name_is_none(client) -> None:
    headers = {"Content-Encoding": "identity"}
    assert client.post("/v1/predict", content=noise(0), headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/v1/predict/", "/healthz/", "/docs/"])
def test_no_answer_leads_elsewhere(client, path: str) -> None:
    answer = client.get(path, headers={"Host": "evil.example"}, follow_redirects=False)
    assert answer.status_code == 404
    assert "location" not in answer.headers


def test_pages_of_the_origins_that_are_named_may_ask(client) -> None:
    asks = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "Authorization",
    }
    ours = client.options("/v1/predict", headers=asks | {"Origin": "https://example.org"})
    assert ours.status_code == 200
    assert ours.headers["access-control-allow-origin"] == "https://example.org"
    theirs = client.options("/v1/predict", headers=asks | {"Origin": "https://evil.example"})
    assert theirs.status_code == 400
    for origin, allowed in (("https://example.org", True), ("https://evil.example", False)):
        for answer in (
            client.post("/v1/predict", content=noise(0), headers={"Origin": origin}),
            client.post("/v1/predict", content=b"x", headers={"Origin": origin}),
        ):
            assert ("access-control-allow-origin" in answer.headers) == allowed


def test_no_page_may_ask_where_none_is_named() -> None:
    with running(FakeEngine()) as plain:
        answer = plain.get("/healthz", headers={"Origin": "https://example.org"})
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "origin", ["example.org", "https://example.org/", "ftp://a", "https://a/b", ""]
)
def test_an_origin_that_is_none(origin: str) -> None:
    with pytest.raises(ConfigError, match=r"expected an origin such as https://example.org"):
        options(cors=(origin,))


# the log


@pytest.fixture
def lines(capfd):
    """Serve with a log, and return a function that gives its lines after a client is done."""

    def served(talk, **changes) -> list[str]:
        config = options(**changes)
        with service_logs(config):
            logging.getLogger("softonce").setLevel(logging.INFO)
            with running(FakeEngine(), **changes) as asking:
                talk(asking)
        return capfd.readouterr().err.splitlines()

    before = logging.getLogger("softonce").level
    yield served
    logging.getLogger("softonce").setLevel(before)


def test_a_request_is_one_object_of_the_log_with_the_id_of_its_answer(lines) -> None:
    ids = []

    def talk(asking: httpx.Client) -> None:
        ids.append(raw(asking, noise(0)).headers["x-request-id"])
        asking.get("/nothing", headers={"X-Request-ID": "mine-1"})
        asking.get("/healthz")

    found = [json.loads(line) for line in lines(talk, log_format="json")]
    requests = [each for each in found if each["event"] == "request"]
    assert [(each["path"], each["status"]) for each in requests] == [
        ("/v1/predict", 200),
        ("/nothing", 404),
    ]
    assert [each["request_id"] for each in requests] == [*ids, "mine-1"]
    for each in requests:
        assert {"time", "level", "client", "method", "seconds"} <= set(each)
        assert dt.datetime.fromisoformat(each["time"]).tzinfo is not None
    assert any("serving" in each["message"] for each in found if each["event"] == "note")


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_no_client_forges_a_line_or_moves_a_terminal(lines, log_format: str) -> None:
    def talk(asking: httpx.Client) -> None:
        asking.get("/a%0Aforged%1B%5B2J%C2%9B%E2%80%A8", headers={"X-Request-ID": "a b"})

    found = lines(talk, access_log=True, log_format=log_format)
    assert sum("forged" in line for line in found) == 1
    assert all(line.isprintable() for line in found)
    assert "a b" not in str(found)


def test_a_mistake_of_ours_is_one_object_of_the_log(lines) -> None:
    def talk(asking: httpx.Client) -> None:
        files = [("images", ("a.png", picture((0, 0, 0)))), ("images", ("b.jpg", noise(0)))]
        assert asking.post("/v1/predict", files=files).status_code == 500

    found = [json.loads(line) for line in lines(talk, log_format="json")]
    assert any("FloatingPointError: black" in each.get("trace", "") for each in found)


def test_without_a_log_a_client_that_leaves_is_one_line(caplog) -> None:
    with caplog.at_level(logging.INFO, "softonce"), running(FakeEngine()) as asking:
        with connected(asking, PREDICT + b"9\r\n\r\nx"):
            pass
        raw(asking, noise(0))
        wait_until(lambda: "a client left" in caplog.text)
    found = [one.getMessage() for one in caplog.records if "serving" not in one.getMessage()]
    assert len(found) == 1
    assert "POST /v1/predict 499" in found[0]


# TLS, and the file of options


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2"
    subprocess.run(
        [*command.split(), "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder / "cert.pem", folder / "key.pem"


def test_it_speaks_https(certificate) -> None:
    certfile, keyfile = certificate
    trusting = ssl.create_default_context(cafile=certfile)
    with running(FakeEngine(), certfile=certfile, keyfile=keyfile) as plain:
        address = f"https://127.0.0.1:{plain.base_url.port}"
        with httpx.Client(base_url=address, verify=trusting, trust_env=False) as client:
            assert client.get("/healthz").status_code == 200
            assert raw(client, noise(1)).json()["predictions"][0]["class"] == "green"
        with pytest.raises(httpx.HTTPError):
            plain.get("/healthz")


@pytest.mark.parametrize("wrong", ["missing", "swapped", "nonsense"])
def test_a_certificate_that_cannot_be_used(wrong: str, certificate, tmp_path) -> None:
    certfile, keyfile = certificate
    (tmp_path / "nonsense.pem").write_text("nonsense")
    pair = {
        "missing": (tmp_path / "none.pem", keyfile),
        "swapped": (keyfile, certfile),
        "nonsense": (tmp_path / "nonsense.pem", keyfile),
    }[wrong]
    with pytest.raises(
        ConfigError, match="expected a certificate and its key, unencrypted, as PEM"
    ):
        check_certificate(options(certfile=pair[0], keyfile=pair[1]))


def test_a_key_without_a_certificate() -> None:
    with pytest.raises(ConfigError, match="expected --certfile beside --keyfile"):
        check_certificate(options(keyfile=Path("key.pem")))


def test_options_are_read_from_a_file_and_the_command_line_goes_before_it(tmp_path) -> None:
    path = tmp_path / "serve.toml"
    path.write_text('files = ["run"]\nport = 9000\nmax_batch = 4\ncors = ["https://example.org"]\n')
    _, bound, _ = build_app().parse_args(
        ["serve", "--config", str(path), "--port", "9001"], exit_on_error=False, print_error=False
    )
    config: ServeConfig = bound.args[0]
    assert (config.port, config.max_batch, config.cors) == (9001, 4, ("https://example.org",))
    assert config.files == ("run",)
    assert from_toml(path, ServeConfig).port == 9000
    path.write_text("prot = 9000\n")
    with pytest.raises(ConfigError, match="found 'prot'; .*port"):
        from_toml(path, ServeConfig)
