"""Fixtures that several rooms share: folders of tiny photos, one thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from PIL import Image

if not torch.cuda.is_available():  # read when triton is first imported, by us or by torch.compile
    os.environ["TRITON_INTERPRET"] = "1"

# The suite is offline: published weights are asked of a port where nobody listens, in the processes
# that the tests start, too.
os.environ["https_proxy"] = "http://127.0.0.1:9"

# No test asserts a time, nor does hypothesis in its name.
settings.register_profile("calm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("calm")

CLASSES = ("ants", "bees", "wasps")
MakePhotos = Callable[..., Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of adoption last: a process that starts others after them has crashed.

    They bound the memory of their own process and load three runtimes into it; in three of three
    runs a later test of `watch` that starts a process ended the worker. The cause is not known.
    """
    items.sort(key=lambda item: "adoption" in item.path.parts)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape what tests have printed: xdist ends all if names that are not UTF-8 are in it."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


def _make_photos(
    root: Path,
    classes: Sequence[str] = CLASSES,
    per_class: int = 12,
    size: tuple[int, int] = (40, 32),
    seed: int = 0,
) -> Path:
    """Write class folders of noisy pictures whose mean colour tells the class."""
    rng = np.random.default_rng([seed, *root.name.encode()])
    for index, name in enumerate(classes):
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        colour = 60 + 120 * np.eye(3)[index % 3]
        for number in range(per_class):
            pixels = rng.normal(colour, 40, (size[1], size[0], 3)).clip(0, 255).astype("uint8")
            Image.fromarray(pixels).save(folder / f"{number:02d}.jpg", quality=95)
    return root


@pytest.fixture(scope="session")
def make_photos() -> MakePhotos:
    """Return `make_photos(root, classes=..., per_class=..., size=(width, height))` -> root."""
    return _make_photos


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder with train/ and val/ of three classes."""
    root = tmp_path / "photos"
    _make_photos(root / "train")
    _make_photos(root / "val", per_class=5)
    return root
