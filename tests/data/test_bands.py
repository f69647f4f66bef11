"""Pictures of any number of channels: read as stored, fitted channel by channel, trained on."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data.pictures import encoded, noise
from PIL import Image
from training.runs import small

from softonce import PredictConfig, predict, train
from softonce.data.images import decode, fit_image, open_image, to_array, to_pixels
from softonce.errors import ConfigError, ImageError
from softonce.preprocessing import Preprocessing

FIVE = np.random.default_rng(0).integers(0, 256, (20, 30, 5), np.uint8)


def stored(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def five_channels(size: int, fit: Any) -> Preprocessing:
    mean, std = (0.1, 0.2, 0.3, 0.4, 0.5), (0.5,) * 5
    return Preprocessing(size=size, fit=fit, mode=5, mean=mean, std=std)


def test_an_array_comes_back_as_it_was_stored() -> None:
    assert np.array_equal(to_array(decode(open_image(stored(FIVE)), 5)), FIVE)
    deep = FIVE.astype(np.uint16) * 257
    assert np.array_equal(to_array(decode(open_image(stored(deep)), 5)), FIVE)


def test_pages_and_bands_of_a_file_are_channels() -> None:
    pages = [Image.fromarray(np.ascontiguousarray(FIVE[..., number])) for number in range(5)]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert np.array_equal(to_array(decode(open_image(data), 5)), FIVE)
    image = noise(9, 7, "RGBA")
    assert np.array_equal(to_array(decode(open_image(encoded(image)), 4)), np.array(image))


def test_an_array_of_three_channels_is_a_picture_in_colour() -> None:
    image = decode(open_image(stored(FIVE[..., :3])), "RGB")
    assert isinstance(image, Image.Image)
    assert np.array_equal(np.array(image), FIVE[..., :3])


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_every_channel_is_fitted_as_a_grey_picture_is(fit: Any) -> None:
    preprocessing = five_channels(12, fit)
    found = to_pixels(fit_image(decode(open_image(stored(FIVE)), 5), preprocessing))
    for number in range(5):
        grey = Image.fromarray(np.ascontiguousarray(FIVE[..., number]))
        expected = to_pixels(fit_image(grey, preprocessing.channel(number)))
        assert np.array_equal(found[number : number + 1], expected)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (stored(FIVE), "5 channels, not 4"),
        (encoded(noise(9, 7)), "3 channels, not 4"),
        (stored(FIVE.astype(float)), "an array of float64 and shape .*, not of uint8"),
        (stored(FIVE[None]), r"shape \(1, 20, 30, 5\)"),
        (stored(np.array([{}])), "damaged array"),
        (stored(FIVE)[:-50], "damaged array"),
        (stored(FIVE)[:9], "damaged array"),
    ],
)
def test_what_cannot_be_used_is_said(data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        decode(open_image(data), 4)


@pytest.fixture
def fields(tmp_path: Path) -> Path:
    """Return a folder of arrays whose fifth channel tells the class."""
    for split, num in (("train", 12), ("val", 4)):
        for index, name in enumerate(("dry", "wet")):
            folder = tmp_path / "fields" / split / name
            folder.mkdir(parents=True)
            for number in range(num):
                array = np.random.default_rng(number).integers(0, 128, (20, 24, 5), np.uint8)
                array[..., 4] += np.uint8(127 * index)
                np.save(folder / f"{number}.npy", array)
    return tmp_path / "fields"


@pytest.mark.parametrize("options", [{"size": 16}, {"size": 72, "cache": True}], ids=str)
def test_a_network_learns_from_five_channels(
    fields: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    options["cache_dir"] = tmp_path / "cache" if "cache" in options else None
    config = small(fields, tmp_path / "run", mode=5, augment="resized-crop", **options)
    result = train(config)
    assert result.evaluation.figures.n == 8
    picture = str(fields / "val" / "wet" / "0.npy")
    (record,) = predict(PredictConfig(result.artefact, (picture,)))
    assert record["error"] is None


def test_operations_on_colours_need_colours(fields: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--mode RGB or L with --auto-augment ta_wide, found 5"):
        train(small(fields, tmp_path / "run", mode=5, auto_augment="ta_wide"))
