"""Pictures with words beneath: the picture unchanged, the words readable, whatever their script."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from softonce.drawing import contact_sheet, fonts, resize_to_show, with_caption
from softonce.drawing.fonts import fit_text


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def ink(image: Image.Image) -> int:
    """Count the pixels that are not paper."""
    return int((np.asarray(image) != 255).any(axis=2).sum())


def test_the_picture_is_unchanged_above_its_words() -> None:
    image = noise(300, 200)
    captioned = with_caption(image, ["bees 99.3 %", "ants 0.7 %"])
    assert np.array_equal(np.asarray(captioned)[:200], np.asarray(image))
    assert ink(captioned.crop((0, 200, 300, captioned.height))) > 100


def test_a_narrow_picture_stands_in_the_middle_of_wider_words() -> None:
    image = noise(40, 200)
    captioned = with_caption(image, ["bees"], width=240)
    assert captioned.width == 240
    assert np.array_equal(np.asarray(captioned)[:200, 100:140], np.asarray(image))


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (16, 16), (64, 300), (240, 240), (5000, 20)])
def test_every_size_is_brought_to_one_that_can_be_seen(size: tuple[int, int]) -> None:
    shown = resize_to_show(noise(*size), least=240, most=1024)
    assert 240 <= max(shown.size) <= 1024
    assert min(shown.size) >= 1


def test_tiny_pictures_keep_their_pixels() -> None:
    shown = np.asarray(resize_to_show(noise(10, 7), least=64, most=128))
    assert shown.shape == (49, 70, 3)
    assert np.array_equal(shown[3::7, 3::7], np.asarray(noise(10, 7)))


def test_words_that_are_too_long_are_cut_and_end_in_dots() -> None:
    text, font = fit_text("Rhinoceros beetle of the tropics " * 9, 200, 15)
    assert text.endswith("...")
    assert font.getlength(text) <= 200
    assert fit_text("bees", 200, 15)[0] == "bees"


def test_line_breaks_and_controls_become_question_marks() -> None:
    assert fit_text("a\nb\x1b[31m", 400, 15)[0] == "a?b?[31m"


@pytest.mark.parametrize("text", ["bées", "Жук", "μέλισσα", "ants & <bees>"])
def test_letters_of_other_alphabets_are_drawn(text: str) -> None:
    assert fit_text(text, 400, 15)[0] == text


def test_a_font_of_the_system_is_taken_where_the_usual_one_lacks_letters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = fonts._usual_font()
    monkeypatch.setattr(fonts, "_usual_font", lambda: None)  # Pillow's own has no Cyrillic
    monkeypatch.setattr(fonts, "_system_fonts", lambda: ["no font", usual])
    fonts._font_with.cache_clear()
    text, font = fit_text("Жук", 400, 15)
    assert text == "Жук"
    assert font.getname()[0] == "DejaVu Sans"
    fonts._font_with.cache_clear()


def test_letters_that_no_font_has_are_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fonts, "_system_fonts", list)
    fonts._font_with.cache_clear()
    assert fit_text("고양이 1", 400, 15)[0] == "??? 1"
    assert fit_text("1 고양이", 400, 15)[0] == "1 ???"
    assert [message for message in caplog.messages if "고양이" in message] == caplog.messages
    assert len(caplog.messages) == 1
    fonts._font_with.cache_clear()


def test_a_sheet_has_every_picture_once_and_rows_of_one_height() -> None:
    pictures = [Image.new("RGB", (50, 40), colour) for colour in ("red", "lime", "blue")]
    sheet = np.asarray(contact_sheet(pictures, [["a"], ["b", "c"], []], columns=2))
    for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255)):
        assert (sheet == colour).all(axis=2).sum() == 2000
    assert sheet.shape[1] == 2 * 60 + 10
