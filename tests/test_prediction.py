"""Whatever holds a picture is predicted as its file is; what cannot be is said where it stands."""

from __future__ import annotations

import contextlib
import http.server
import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from softonce import PredictConfig, create_model, predict
from softonce.artefact import Metadata, write_artefact
from softonce.data import web
from softonce.data.images import open_image
from softonce.engines import open_engine
from softonce.errors import ArgumentError
from softonce.models.network import architecture_of
from softonce.prediction.inputs import Images, items_of
from softonce.prediction.predictor import Predictor, Unreadable
from softonce.prediction.stream import Answer, predict_items
from softonce.preprocessing import Preprocessing

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (37, 29, 3), dtype=np.uint8)
GREY = COLOUR[..., 0].copy()
CLEAR = np.dstack([COLOUR, RNG.integers(0, 256, (37, 29), dtype=np.uint8)])
DEEP = RNG.integers(0, 2**16, (37, 29), dtype=np.uint16)


def predictor(folder: Path, mode: str | int = "RGB") -> Predictor:
    torch.manual_seed(0)
    preprocessing = Preprocessing(
        size=16, resize=19, mode=mode, **({"mean": (0.5,), "std": (0.2,)} if mode == "L" else {})
    )
    model = create_model("cifar_resnet20", num_classes=3, in_channels=preprocessing.in_channels)
    arch, arch_args = architecture_of(model)
    metadata = Metadata(
        arch=arch,
        arch_args=arch_args,
        classes=("ants", "bees", "wasps"),
        preprocessing=preprocessing,
        temperature=1.5,
    )
    path = folder / f"{mode}.safetensors"
    write_artefact(path, model.state_dict(), metadata)
    return Predictor(open_engine(path, exact=True))


@pytest.fixture(scope="module", params=["RGB", "L"])
def sees(request, tmp_path_factory) -> Predictor:
    return predictor(tmp_path_factory.mktemp("model"), request.param)


@pytest.fixture(scope="module")
def in_colour(tmp_path_factory) -> Predictor:
    return predictor(tmp_path_factory.mktemp("model"))


def answers(sees: Predictor, images: Images, **options: Any) -> list[Answer]:
    items = items_of(images, sees.engine.metadata.preprocessing.mode)
    return list(predict_items(sees, items, **{"batch_size": 4, "top_k": 3} | options))


def logits_of(sees: Predictor, image: Images) -> np.ndarray:
    (answer,) = answers(sees, image)
    assert answer.logits is not None, answer.record
    return answer.logits


def stored(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return stored(Image.fromarray(COLOUR), "JPEG", exif=exif)


FILES: dict[str, bytes] = {
    "RGB": stored(Image.fromarray(COLOUR)),
    "L": stored(Image.fromarray(GREY)),
    "RGBA": stored(Image.fromarray(CLEAR)),
    "LA": stored(Image.fromarray(CLEAR).convert("LA")),
    "P": stored(Image.fromarray(COLOUR).quantize(16)),
    "1": stored(Image.fromarray(GREY).convert("1")),
    "CMYK": stored(Image.fromarray(COLOUR).convert("CMYK"), "TIFF"),
    "I;16": stored(Image.fromarray(DEEP)),
    "JPEG": stored(Image.fromarray(COLOUR), "JPEG"),
    "EXIF": rotated(),
}


# the same picture, however it is handed over


@pytest.mark.parametrize("kind", FILES)
def test_bytes_files_and_pillow_pictures_give_the_logits_of_the_path(
    kind: str, sees: Predictor, tmp_path: Path
) -> None:
    path = tmp_path / "picture"
    path.write_bytes(FILES[kind])
    expected = logits_of(sees, str(path))
    assert logits_of(sees, path).tobytes() == expected.tobytes()
    for image in (
        FILES[kind],
        bytearray(FILES[kind]),
        memoryview(FILES[kind]),
        io.BytesIO(FILES[kind]),
        Image.open(io.BytesIO(FILES[kind])),
        Image.open(path),
    ):
        assert logits_of(sees, image).tobytes() == expected.tobytes(), type(image)
    with path.open("rb") as file:
        assert logits_of(sees, file).tobytes() == expected.tobytes()


ARRAYS = {"RGB": COLOUR, "L": GREY, "RGBA": CLEAR, "I;16": DEEP}


@pytest.mark.parametrize("kind", ARRAYS)
def test_an_array_and_a_tensor_give_the_logits_of_their_file(kind: str, sees: Predictor) -> None:
    array, expected = ARRAYS[kind], logits_of(sees, FILES[kind]).tobytes()
    assert logits_of(sees, array).tobytes() == expected
    planes = array if array.ndim == 2 else array.transpose(2, 0, 1)
    if array.dtype == np.uint8:
        assert logits_of(sees, torch.from_numpy(planes.copy())).tobytes() == expected
        for dtype in (np.float32, np.float64, np.float16):
            assert logits_of(sees, (array / 255).astype(dtype)).tobytes() == expected
        floats = torch.from_numpy(planes / 255).float().requires_grad_()
        assert logits_of(sees, floats).tobytes() == expected
    if array.ndim == 2:
        assert logits_of(sees, array[..., None]).tobytes() == expected
        assert logits_of(sees, torch.from_numpy(array.copy())[None]).tobytes() == expected


def test_an_array_that_is_a_view_or_of_another_byte_order_is_the_same(in_colour) -> None:
    expected = logits_of(in_colour, COLOUR).tobytes()
    assert logits_of(in_colour, np.asfortranarray(COLOUR)).tobytes() == expected
    assert logits_of(in_colour, COLOUR[::-1][::-1]).tobytes() == expected
    swapped = DEEP.astype(DEEP.dtype.newbyteorder(">"))
    assert logits_of(in_colour, swapped).tobytes() == logits_of(in_colour, DEEP).tobytes()


def test_channels_that_are_no_colours_are_taken_as_they_are(tmp_path: Path) -> None:
    five, sees = RNG.integers(0, 256, (37, 29, 5), dtype=np.uint8), None
    preprocessing = Preprocessing(size=16, mode=5, mean=(0.5,) * 5, std=(0.2,) * 5)
    metadata = Metadata(arch="none", arch_args={}, classes=("a", "b"), preprocessing=preprocessing)

    class Means:
        name = "means"

        def __init__(self) -> None:
            self.metadata = metadata

        def logits(self, pixels: np.ndarray) -> np.ndarray:
            return pixels[:, :2].mean((2, 3)).astype(np.float32)

    sees = Predictor(Means())
    np.save(tmp_path / "five.npy", five)
    expected = logits_of(sees, tmp_path / "five.npy").tobytes()
    assert logits_of(sees, five).tobytes() == expected
    assert logits_of(sees, torch.from_numpy(five).permute(2, 0, 1)).tobytes() == expected
    with pytest.raises(
        ArgumentError, match=r"expected an array of 5 channels at position 1, .*3\)"
    ):
        answers(sees, [five, COLOUR])
    (answer,) = answers(sees, FILES["RGB"])
    assert answer.record["error"] == "3 channels, not 5"


def test_kinds_mix_in_any_collection_and_batches_change_nothing(in_colour, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("b.png", "a.png", "c[1].png"):
        (tmp_path / "photos" / name).write_bytes(FILES["RGB"])
    named = [tmp_path / "photos", str(tmp_path / "photos/[ab].png"), tmp_path / "photos/c[1].png"]
    images = [*named, FILES["RGB"], COLOUR, Image.fromarray(COLOUR)]
    expected = [*"ab", "c[1]", *"ab", "c[1]"]
    for collection in (images, tuple(images), iter(images), (image for image in images)):
        found = answers(in_colour, collection)
        paths = [answer.record["path"] for answer in found]
        assert [Path(path).stem for path in paths if path] == expected
        assert paths[6:] == [None] * 3
        probs = [answer.record["prob"] for answer in found]
        assert probs == pytest.approx([probs[0]] * 9, rel=1e-4)
    column = np.array([str(path) for path in named], dtype=object)
    assert len(answers(in_colour, column)) == 6


def test_a_generator_is_read_a_batch_at_a_time(in_colour) -> None:
    taken = []

    def pictures() -> Iterator[np.ndarray]:
        for number in range(100):
            taken.append(number)
            yield COLOUR

    stream = predict_items(in_colour, items_of(pictures()), batch_size=5, top_k=1)
    next(stream)
    assert len(taken) == 5


# what cannot be read has a record


BAD = {
    "no picture": b"hello",
    "empty": b"",
    "cut short": FILES["RGB"][:200],
    "a program": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "a strip": stored(Image.new("L", (2000, 2))),
}


@pytest.mark.parametrize("kind", BAD)
def test_unreadable_bytes_have_the_error_of_their_file(kind: str, in_colour, tmp_path) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(BAD[kind])
    found = answers(in_colour, [path, BAD[kind], COLOUR])
    errors = [answer.record["error"] for answer in found]
    assert errors[0] == errors[1]
    assert errors[0]
    assert errors[2] is None
    assert found[0].logits is None
    assert found[0].record["top"] == []


def test_a_picture_without_pixels_has_an_error(in_colour) -> None:
    (answer,) = answers(in_colour, Image.new("RGB", (0, 5)))
    assert answer.record["error"] == "0 x 5 pixels"


def test_a_closed_file_is_an_error(in_colour, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(FILES["RGB"])
    with (tmp_path / "a.png").open("rb") as file:
        pass
    with pytest.raises(ArgumentError, match="expected a file that can be read, found: .*closed"):
        answers(in_colour, file)


def test_a_large_array_is_refused_as_its_file_would_be(in_colour) -> None:
    (answer,) = answers(in_colour, np.zeros((2, 2000), np.uint8))
    assert "a strip more than 256 times as long as wide" in str(answer.record["error"])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("http://[::1", "Invalid IPv6 URL"),
        ("nothing.jpg", "No such file or directory"),
        ("nothing*.jpg", "a pattern that matches no file"),
        (".", "a folder without images"),
        ("", "No such file or directory"),
        ("a\0b", "null"),
        ("x" * 5000, "File name too long"),
        ("nosuch://bucket/a.jpg", "nosuch"),
    ],
)
def test_a_name_that_stands_for_nothing_has_a_record(
    name: str, reason: str, in_colour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (answer,) = answers(in_colour, name)
    assert answer.record["path"] == name
    assert reason in str(answer.record["error"])


# what is no picture is an error that names its position


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (3, "expected a path, URL, bytes, open file, PIL image, array or tensor, found int"),
        (None, "found NoneType"),
        ({"image": COLOUR}, "found dict"),
        ([], "expected images to classify, found none"),
        (iter(()), "expected images to classify, found none"),
        ([COLOUR, [COLOUR]], "at position 1, found list: pass one picture, or a flat list"),
        (io.StringIO("text"), "found one that gives str: open it with mode 'rb'"),
        (COLOUR[None], r"expected an array .*found the shape \(1, 37, 29, 3\): .*list\(batch\)"),
        (np.zeros(4, np.uint8), r"found the shape \(4,\)"),
        (np.zeros((0, 4, 3), np.uint8), r"found the shape \(0, 4, 3\)"),
        (np.float32(0.5), r"found the shape \(\)"),
        (COLOUR.transpose(2, 0, 1), r"transpose\(1, 2, 0\) makes it one"),
        (COLOUR.astype(np.int64), "found int64: convert them, as with .astype"),
        (COLOUR.astype(np.complex64), "found complex64"),
        (COLOUR.astype(np.float32), r"expected floats in \[0, 1\], found .*: divide by 255"),
        (COLOUR / 127.5 - 1, "pass the picture as it was before it was normalised"),
        (np.full((4, 4), np.nan), "found nan to nan"),
        (np.zeros((8, 8, 5), np.uint8), r"of 1 to 4 channels, found the shape \(8, 8, 5\)"),
        (torch.zeros(3, 0, 8), r"expected a tensor .*found the shape \(3, 0, 8\)"),
        (torch.zeros(8, 8).to_sparse(), "expected a dense tensor"),
        (torch.zeros(3, 8, 8, device="meta"), "expected a dense tensor"),
        (torch.zeros(2, 3, 8, 8), r"found the shape \(2, 3, 8, 8\)"),
        (torch.zeros(8, 8, 3), r"permute\(2, 0, 1\) makes it one"),
        (torch.zeros(3, 8, 8, dtype=torch.int32), "found int32"),
        ([COLOUR, torch.full((3, 8, 8), 2.0)], "at position 1, found 2 to 2"),
        ((image for image in (COLOUR, COLOUR, 5)), "at position 2, found int"),
    ],
)
def test_a_wrong_picture_is_one_clear_error(image: Any, message: str, in_colour) -> None:
    with pytest.raises(ArgumentError, match=message):
        answers(in_colour, image)


# addresses


@contextlib.contextmanager
def website(answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(OSError):  # the client may hang up, as it should
                answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/a%20b.png"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def respond(body: bytes, status: int = 200, **headers: str) -> Callable[..., None]:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, text in headers.items():
            handler.send_header(name.replace("_", "-"), text)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def test_an_address_is_read_once_and_keeps_its_slashes(in_colour) -> None:
    with website(respond(FILES["RGB"])) as url:
        (answer,) = answers(in_colour, url)
    assert answer.record["path"] == url
    assert answer.logits.tobytes() == logits_of(in_colour, COLOUR).tobytes()
    answer.item.open()  # a thumbnail does not ask again


def test_the_command_line_takes_addresses(in_colour, tmp_path: Path) -> None:
    predictor(tmp_path)
    with website(respond(FILES["RGB"])) as url:
        (record,) = predict(PredictConfig(tmp_path / "RGB.safetensors", url))
    assert record["path"] == url
    assert record["error"] is None


def drip(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b"x")
        handler.wfile.flush()
        threading.Event().wait(0.01)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (respond(b"", 404), "404"),
        (respond(b"<html>"), "no known image format"),
        (respond(b"short", Content_Length="1000"), "the connection broke after 5 of 1000 bytes"),
        (respond(bytes(3000)), "more than 2,000 bytes"),
        (respond(b"", 302, Location="file:///etc/hostname"), "is not allowed"),
        (respond(b"", 302, Location="ftp://example.org/a"), "not http or https"),
        (drip, "not whole after 0.1 s"),
    ],
)
def test_what_an_address_fails_with_is_the_error_of_its_record(
    answer: Callable[..., None], reason: str, in_colour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "MAX_BYTES", 2000)
    monkeypatch.setattr(web, "TOTAL_SECONDS", 0.1)
    with website(answer) as url:
        (found,) = answers(in_colour, url)
    assert reason in str(found.record["error"])


def test_the_predictor_prepares_a_picture_or_says_why_not(in_colour) -> None:
    def prepare(data: bytes, **limits: Any) -> Any:
        return in_colour.prepare(lambda: open_image(data, **limits))

    pixels = prepare(FILES["RGB"])
    assert isinstance(pixels, np.ndarray)
    assert (pixels.shape, pixels.dtype) == ((3, 16, 16), np.uint8)
    assert prepare(b"") == Unreadable("the file is empty (0 bytes)")
    assert isinstance(prepare(FILES["RGB"], formats=("JPEG",)), Unreadable)
    assert isinstance(prepare(FILES["RGB"], max_pixels=100), Unreadable)
