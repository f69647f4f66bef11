"""What a loader reads, what it leaves alone, and what it says of a file that is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from data.pictures import LARGE, SMALL, scanned

from softonce.data.augment import Augmentation
from softonce.data.loader import Loader
from softonce.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from softonce.preprocessing import Preprocessing


@pytest.mark.parametrize("preprocessing", [SMALL, LARGE], ids=["memory", "files"])
def test_evaluation_sees_every_sample_once_in_order(
    photos: Path, preprocessing: Preprocessing
) -> None:
    loader = Loader(scanned(photos / "val", preprocessing), preprocessing, 4, workers=0)
    batches = list(loader.batches())
    assert [len(pixels) for pixels, _ in batches] == [4, 4, 4, 3]
    assert len(loader) == 4
    side = preprocessing.size
    assert all(pixels.shape[1:] == (3, side, side) for pixels, _ in batches)
    assert torch.cat([target for _, target in batches]).tolist() == [0] * 5 + [1] * 5 + [2] * 5


def test_reading_files_leaves_the_global_random_state_alone(photos: Path) -> None:
    loader = Loader(scanned(photos / "val", LARGE), LARGE, 4, workers=0)
    before = torch.get_rng_state()
    list(loader.batches())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("crop", ["none", "resized-crop"])
def test_a_file_that_is_gone_since_is_named(photos: Path, crop: str) -> None:
    found = scanned(photos / "val", LARGE)
    augmentation = Augmentation(crop=crop, size=24)  # type: ignore[arg-type]
    gone = photos / "val" / "bees" / "02.jpg"
    gone.unlink()
    with pytest.raises(DataError, match=f"found {gone}: No such file .*; it was readable before"):
        list(Loader(found, LARGE, 15, augmentation, workers=0).batches())
