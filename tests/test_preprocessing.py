"""The record of a classifier's preprocessing: its defaults, its ranges, its JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softonce.errors import ArgumentError
from softonce.preprocessing import Preprocessing

GREY = {"mode": "L", "mean": (0.5,), "std": (0.5,)}


@given(
    size=st.integers(1, 6000),
    more=st.integers(0, 2000),
    fit=st.sampled_from(["crop", "pad", "squash"]),
    interpolation=st.sampled_from(["nearest", "bilinear", "bicubic"]),
    channels=st.sampled_from([1, 3]),
    value=st.floats(1e-6, 1),
)
def test_a_record_comes_back_from_json(
    size: int, more: int, fit: Any, interpolation: Any, channels: int, value: float
) -> None:
    record = Preprocessing(
        size=size,
        resize=size + more,
        fit=fit,
        interpolation=interpolation,
        mode="L" if channels == 1 else "RGB",
        mean=(value,) * channels,
        std=(value,) * channels,
    )
    assert Preprocessing.from_dict(json.loads(json.dumps(record.to_dict()))) == record
    assert record.in_channels == channels


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "1 <= size <= resize in pixels, found 0"),
        ({"size": 8, "resize": 7}, "1 <= size <= resize in pixels, found 8 and 7"),
        ({"size": 2**14}, "resize of at most 8192 px, found 16384"),
        ({"size": 8, "resize": 2**13 + 1}, "resize of at most 8192 px, found 8193"),
        (
            {"size": 2048, "mode": 65, "mean": (0.5,) * 65, "std": (0.5,) * 65},
            "a square of at most 268,435,456 bytes, found 2048 x 2048 pixels of 65 channels",
        ),
        ({"size": 8, "fit": "zoom"}, "fit to be one of crop, pad, squash; found 'zoom'"),
        ({"size": 8, "interpolation": "area"}, "nearest, bilinear, bicubic; found 'area'"),
        (
            {"size": 8, "mode": "CMYK"},
            "mode to be one of RGB, L, or 1 to 256 channels; found 'CMYK'",
        ),
        ({"size": 8, "mode": "L"}, "1 value of mean and std for mode L, found 3 and 3"),
        ({"size": 8, "std": (0.1, 0.1)}, "3 values of mean and std for mode RGB, found 3 and 2"),
        ({"size": 8, **GREY, "std": (0,)}, r"positive ones as std, found .*\(0.0,\)"),
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Preprocessing(**options)


@pytest.mark.parametrize("change", [{"fit": None}, {"gamma": 2.2}], ids=["missing", "unknown"])
def test_a_record_has_exactly_its_fields(change: dict[str, Any]) -> None:
    record = Preprocessing(size=8).to_dict() | change
    record = {name: value for name, value in record.items() if value is not None}
    with pytest.raises(ArgumentError, match=r"expected the preprocessing fields \['fit', "):
        Preprocessing.from_dict(record)
