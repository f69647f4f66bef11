"""Samples to batches; what a batch holds is a pure function of (seed, epoch, index)."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Sized
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from softonce.data.augment import (
    augment_pixels_,
    auto_augment_array,
    draw,
    random_crop_array,
    random_crop_image,
)
from softonce.data.images import decode, fit_image, to_array
from softonce.errors import DataError, ImageError, StorageError
from softonce.machine import usable_cores
from softonce.randomness import permutation

if TYPE_CHECKING:
    from collections.abc import Generator

    import numpy.typing as npt
    from torch import Tensor

    from softonce.data.augment import Augmentation
    from softonce.data.scan import Scan
    from softonce.preprocessing import Preprocessing
    from softonce.shapes import Images, Pixels

Batch: TypeAlias = tuple["Tensor", "Tensor"]
"""(N, channels, H, W) uint8 pixels and (N,) int64 target."""

PREFETCH = 4
"""Batches that each worker process prepares ahead."""
GRACE = 120
"""Seconds that a worker process works on after SIGTERM."""


@dataclass(frozen=True)
class Loader(Sized):
    """Batches of one split.

    Args:
        scan: the split.
        preprocessing: how a picture becomes the network's square.
        batch_size: the most images a batch; the batches of an epoch differ by one image at most.
        augmentation: None for evaluation.
        seed: of the order and the augmentation.
        workers: processes that decode; None is one a core, at most 8, shared by all ranks.
        rank: which share of each batch is this process's.
        world_size: how many processes share it; the batches are the same for any number.
        balanced: whether every class is drawn equally often while training.
    """

    scan: Scan
    preprocessing: Preprocessing
    batch_size: int
    augmentation: Augmentation | None = None
    seed: int = 0
    workers: int | None = None
    rank: int = 0
    world_size: int = 1
    balanced: bool = False

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return math.ceil(len(self.scan) / self.batch_size)

    def num_images(self, batch: int) -> int:
        """Return how many images a batch has, over all processes."""
        whole, rest = divmod(len(self.scan), len(self))
        return whole + (batch < rest)

    def counts(self) -> list[int]:
        """Return how many images of an evaluation each process has."""
        return [len(part) for part in np.array_split(np.arange(len(self.scan)), self.world_size)]

    def batches(self, epoch: int = 0, *, start: int = 0) -> Generator[Batch]:
        """Iterate over this process's share of an epoch's batches, from batch number `start`.

        Raises:
            DataError: if a file that was readable before is no longer.
        """
        parts = self._parts(epoch)[start:]
        if self.scan.pixels is not None and self._fits_memory:
            return (self._from_memory(part, epoch) for part in parts)
        return self._from_files(parts, epoch)

    def _parts(self, epoch: int) -> list[npt.NDArray[np.int64]]:
        """Return this process's share of each batch; in evaluation, batches of its share."""
        if self.augmentation is not None:
            parts = np.array_split(self._order(epoch), len(self))
            return [np.array_split(part, self.world_size)[self.rank] for part in parts]
        own = np.array_split(np.arange(len(self.scan)), self.world_size)[self.rank]
        num = math.ceil(len(own) * self.world_size / self.batch_size)
        return np.array_split(own, num) if num else []

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        if self.balanced:
            return balanced_order(self.seed, epoch, self.scan.samples.target)
        return permutation(self.seed, epoch, len(self.scan))

    @property
    def _fits_memory(self) -> bool:
        return self.augmentation is None or self.augmentation.crop != "resized-crop"

    def _from_memory(self, part: npt.NDArray[np.int64], epoch: int) -> Batch:
        assert self.scan.pixels is not None  # noqa: S101 - the caller has looked
        rows = part % len(self.scan)
        try:
            pixels = self.scan.pixels[rows]
        except ImageError as error:
            raise _unreadable_now(str(error)) from error
        target = torch.from_numpy(self.scan.samples.target[rows])
        if self.augmentation is None:
            return torch.from_numpy(pixels), target
        if self.augmentation.auto_augment != "none":
            pixels = self._auto_augment(pixels, part, epoch)
        augmented = torch.from_numpy(pixels)
        return augment_pixels_(augmented, self.augmentation, self.seed, epoch, part), target

    def _auto_augment(
        self, pixels: npt.NDArray[np.uint8], part: npt.NDArray[np.int64], epoch: int
    ) -> npt.NDArray[np.uint8]:
        assert self.augmentation is not None  # noqa: S101 - the caller has looked
        filter_ = self.preprocessing.interpolation
        pictures = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
        changed = [
            auto_augment_array(picture, self.augmentation, filter_, draws)
            for picture, draws in zip(pictures, draw(self.seed, epoch, part), strict=True)
        ]
        return np.stack(changed).transpose(0, 3, 1, 2)

    def _from_files(self, parts: list[npt.NDArray[np.int64]], epoch: int) -> Generator[Batch]:
        self._parts_to_do[:] = [(epoch, part) for part in parts]
        for pixels, target, errors in self._pool:
            if errors:
                raise _unreadable_now(errors[0])
            yield pixels, target

    @cached_property
    def _parts_to_do(self) -> list[_Part]:
        return []

    @cached_property
    def _pool(self) -> DataLoader[tuple[Tensor, Tensor, list[str]]]:
        """The worker processes: they live as long as the loader, and take whole batches."""
        num = self.num_workers
        return DataLoader(
            _Files(self),
            sampler=self._parts_to_do,  # a list is a sampler
            batch_size=None,
            num_workers=num,
            generator=torch.Generator(),  # torch's own would be drawn from, once an epoch
            prefetch_factor=PREFETCH if num else None,
            persistent_workers=num > 0,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_outlast_sigterm,
        )

    def to_input(self, pixels: Tensor, device: torch.device) -> Tensor:
        """Return a batch as the network takes it: on its device, normalised."""
        return normalize(pixels.to(device, non_blocking=True), self.preprocessing)

    def of_pictures(self) -> Loader:
        """Return the loader of the pictures themselves."""
        return self

    def close(self) -> None:
        """End the worker processes, once no iterator over batches is left; a next epoch starts new.

        Left to the interpreter's end, each of them is waited for, and then told to end by a signal.
        """
        self.__dict__.pop("_pool", None)

    def paths(self, epoch: int, batch: int) -> list[str]:
        """Return the files of one batch."""
        keys = self._parts(epoch)[batch] % len(self.scan)
        return [str(self.scan.samples.where(index)) for index in keys.tolist()]

    @property
    def num_workers(self) -> int:
        """How many processes decode."""
        if self.workers is not None:
            return self.workers
        cores = usable_cores()
        return max(1, min(8, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def _unreadable_now(error: str) -> DataError:
    return DataError(
        f"expected a readable image, found {error}; it was readable before: put the file back and "
        "go on with --resume"
    )


def _outlast_sigterm(_worker: int) -> None:
    """Work on for a while: a scheduler tells all processes at once, and training saves first.

    Processes without a parent leave by themselves, as torch has arranged.
    """
    if hasattr(signal, "alarm"):  # not on Windows, which has no such signal to send either
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE))


_Part: TypeAlias = "tuple[int, npt.NDArray[np.int64]]"


class _Files(Dataset[tuple["Tensor", "Tensor", list[str]]]):
    """Batches of pictures, decoded and augmented in a worker process."""

    def __init__(self, loader: Loader) -> None:
        self.samples, self.pictures = loader.scan.samples, loader.scan.pictures
        self.preprocessing = loader.preprocessing
        self.augmentation, self.seed = loader.augmentation, loader.seed

    def __getitem__(self, part: _Part) -> tuple[Tensor, Tensor, list[str]]:
        epoch, keys = part
        errors = []
        pixels = None
        drawn = draw(self.seed, epoch, keys)
        for place, key in enumerate(keys.tolist()):
            try:
                picture = self._prepare(key % len(self.samples), drawn[place])
            except (ImageError, StorageError) as error:
                errors.append(f"{self.samples.where(key % len(self.samples))}: {error}")
                continue
            if pixels is None:
                pixels = np.empty((len(keys), *picture.shape), np.uint8)
            pixels[place] = picture
        target = torch.from_numpy(self.samples.target[keys % len(self.samples)])
        if errors or pixels is None:
            return torch.empty(0), target, errors
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2)  # channels last, as networks like it
        if self.augmentation is not None:
            images = augment_pixels_(images, self.augmentation, self.seed, epoch, keys)
        return images, target, errors

    def _prepare(self, index: int, draws: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
        """Return one picture, (H, W, channels)."""
        if self.augmentation is None:
            return self._fit(index)
        if self.augmentation.crop != "resized-crop":
            picture = self._fit(index)
        elif self.pictures is not None:
            picture = random_crop_array(
                self.pictures[index], self.preprocessing, self.augmentation, draws
            )
        else:
            image = self.samples.open(index)
            picture = random_crop_image(image, self.preprocessing, self.augmentation, draws)
        filter_ = self.preprocessing.interpolation
        return auto_augment_array(picture, self.augmentation, filter_, draws)

    def _fit(self, index: int) -> npt.NDArray[np.uint8]:
        image = decode(self.samples.open(index), self.preprocessing.mode)
        return to_array(fit_image(image, self.preprocessing))


def balanced_order(seed: int, epoch: int, target: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return an epoch's order in which every class comes equally often, give or take one image.

    A class with few images starts over; of one with many, each epoch sees others.

    Returns:
        As many keys as there are samples. `key % N` is the sample; a repeated one has another key,
        so that its augmentation differs.

    Example:
        >>> keys = balanced_order(0, 0, np.array([0, 0, 0, 0, 0, 1]))
        >>> np.bincount(np.array([0, 0, 0, 0, 0, 1])[keys % 6]).tolist(), len(set(keys.tolist()))
        ([3, 3], 6)
    """
    num, classes = len(target), np.unique(target)
    shuffled = permutation(seed, epoch, num)
    drawn = []
    for place, index in enumerate(np.roll(classes, epoch)):
        members = shuffled[target[shuffled] == index]
        wanted = num // len(classes) + (place < num % len(classes))
        rounds = np.arange(-(-wanted // len(members)))
        drawn.append((members + num * rounds[:, None]).ravel()[:wanted])
    keys = np.concatenate(drawn)
    return keys[permutation(seed + 1, epoch, num)]


def normalize(pixels: Pixels, preprocessing: Preprocessing) -> Images:
    """Scale to [0, 1], subtract the mean, divide by the standard deviation, on the pixels' device.

    Equals torchvision's `convert_image_dtype` and `normalize`.

    Example:
        >>> from softonce.preprocessing import Preprocessing
        >>> grey = Preprocessing(size=1, mode="L", mean=(0.5,), std=(0.5,))
        >>> normalize(torch.full((1, 1, 1, 1), 255, dtype=torch.uint8), grey).item()
        1.0
    """
    if preprocessing.is_raw:
        return pixels.float()
    num, channels, height, width = pixels.shape
    mean = torch.tensor(preprocessing.mean, device=pixels.device)
    std = torch.tensor(preprocessing.std, device=pixels.device)
    if pixels.is_contiguous():
        return pixels.float().div_(255).sub_(mean.view(-1, 1, 1)).div_(std.view(-1, 1, 1))
    # With the channels last, a row of the picture is the longest run that mean and std fit to.
    rows = pixels.permute(0, 2, 3, 1).reshape(num, height, width * channels).float()
    rows.div_(255).sub_(mean.repeat(width)).div_(std.repeat(width))
    return rows.view(num, height, width, channels).permute(0, 3, 1, 2)


def denormalize(images: Images, preprocessing: Preprocessing) -> Pixels:
    """Return the uint8 pixels of normalised images; values that no pixel has are cut off.

    Equals the pixels that `normalize` got.

    Example:
        >>> from softonce.preprocessing import Preprocessing
        >>> grey = Preprocessing(size=1, mode="L", mean=(0.5,), std=(0.5,))
        >>> denormalize(torch.full((1, 1, 1, 1), 1.0), grey).item()
        255
    """
    mean = torch.tensor(preprocessing.mean, device=images.device).view(-1, 1, 1)
    std = torch.tensor(preprocessing.std, device=images.device).view(-1, 1, 1)
    return (images.float() * std + mean).mul(255).round().clamp(0, 255).to(torch.uint8)
