"""The features of a frozen backbone, computed once and kept on disk."""

from __future__ import annotations

import hashlib
import json
import tempfile
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from softonce.console import LOG, progress
from softonce.data.loader import Loader
from softonce.data.splits import cache_folder
from softonce.distributed import (
    all_reduce_max,
    local_rank,
    on_rank_zero,
    raise_on_all_ranks,
    rank,
    world_size,
)
from softonce.engines.networks import as_evaluated
from softonce.errors import StorageError
from softonce.files import check_room, make_folder, replacing
from softonce.groups import gather_rows
from softonce.hardware import pick_device
from softonce.plurals import format_count
from softonce.tensors import read_tensors, write_tensors
from softonce.training.layers import BACKBONE
from softonce.training.plan import preprocessing_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path
    from typing import BinaryIO

    import numpy.typing as npt
    from torch import Tensor

    from softonce.config import TrainConfig
    from softonce.data.splits import Splits
    from softonce.models import Network
    from softonce.run_folder import RunFolder

from softonce.training.features import SplitFeatures

AT_A_TIME = 32
"""Fewest images whose features are computed together: nothing is kept for a gradient."""

_ROWS = 8192  # written at a time: of 2,048 features, 32 MiB


def can_cache(config: TrainConfig, network: Network) -> bool:
    """Return whether every epoch would compute the same features of each image.

    Args:
        config: settled.
        network: its loss must be able to follow its Linear head at once.
    """
    is_fixed = config.augment == "none" and not config.mixup_alpha and not config.cutmix_alpha
    return config.freeze == BACKBONE and is_fixed and network.ends_in_head


def compute_features(
    settled: TrainConfig, run: RunFolder, network: Network, splits: Splits
) -> SplitFeatures:
    """Compute the features of train and val, or find them in the run folder or the cache.

    Args:
        settled: what is asked for.
        run: the run folder, which is the run's own by now.
        network: it is put on its device, in evaluation mode.
        splits: the images.
    """
    as_evaluated(network, pick_device(settled.device))
    folder = cache_folder(settled) or run.features
    extractor = Extractor(network, settled.model, folder, is_half=bool(settled.amp))
    asked = settled.batch_size
    make_loader = partial(
        Loader,
        preprocessing=preprocessing_of(settled),
        batch_size=max(AT_A_TIME, asked if isinstance(asked, int) else 0),
        workers=settled.workers,
        rank=rank(),
        world_size=world_size(),
    )
    found = {
        name: extractor.find_or_compute(make_loader(scan), name)
        for name, scan in (("train", splits.train), ("val", splits.val))
    }
    if folder == run.features:
        on_rank_zero(lambda: _remove_others(folder, found.values()))
    return SplitFeatures(**{name: np.load(path, mmap_mode="c") for name, path in found.items()})


def _remove_others(folder: Path, kept: Collection[Path]) -> None:
    """Remove what an earlier start computed with other weights or of other images."""
    for path in set(folder.glob("*.npy")) - set(kept):
        path.unlink(missing_ok=True)


def save_backbone(run: RunFolder, network: nn.Module) -> None:
    """Write what a run begins with, once: its states hold only the head."""
    make_folder(run.checkpoints)
    write_tensors(run.backbone, network.state_dict(), {"kind": "backbone"})


def load_backbone(run: RunFolder, network: nn.Module) -> None:
    """Put back what the run began with.

    Raises:
        ArtefactError: if the file is missing or damaged.
    """
    network.load_state_dict(read_tensors(run.backbone)[0])


@dataclass(frozen=True)
class Extractor:
    """Computes features of a frozen network, or finds those that were computed before.

    Args:
        network: on its device.
        spelling: how to build it, which tells one network from another of equal tensors.
        folder: where the features lie, mapped into memory.
        is_half: whether the network computes in bfloat16.
    """

    network: Network
    spelling: str
    folder: Path
    is_half: bool

    def find_or_compute(self, loader: Loader, split: str) -> Path:
        """Return the .npy file of a split's features (N, D), in the order of its images.

        All processes compute a share; the first of each machine writes.

        Raises:
            StorageError: if there is no room for them.
            DataError: if a file that was readable before is no longer.
        """
        path = self.folder / f"{split}-{self._key(loader)}.npy"
        make_folder(self.folder)
        is_missing = all_reduce_max(int(not path.exists()))[0]
        if is_missing:
            self._compute(loader, path, split)
        features: npt.NDArray[np.floating] = np.load(path, mmap_mode="r")
        LOG.info(
            "features of %s of %s, %d values each, %s (%.1f MB)",
            format_count(len(features), "image"),
            split,
            features.shape[1],
            f"written to {path}" if is_missing else f"found in {path}",
            features.nbytes / 1e6,
        )
        return path

    def _key(self, loader: Loader) -> str:
        """Return a name made of the backbone, of the preprocessing and of the files' bytes."""
        record = [self.spelling, loader.preprocessing.to_dict(), self.is_half]
        digest = hashlib.blake2b(json.dumps(record, sort_keys=True).encode(), digest_size=8)
        own = {id(tensor) for tensor in self.network.head.state_dict(keep_vars=True).values()}
        for tensor in self.network.state_dict(keep_vars=True).values():
            if id(tensor) not in own:
                digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        digest.update(loader.scan.digests.tobytes())
        return digest.hexdigest()

    def _compute(self, loader: Loader, path: Path, split: str) -> None:
        """Write half precision; single if a value is too large for it."""
        for dtype in (np.float16, np.float32):
            with tempfile.TemporaryFile(dir=self.folder) as file:
                compute = partial(self._write_own, file, loader, split, dtype)
                width, exceeds = all_reduce_max(*raise_on_all_ranks(compute))
                if not exceeds:
                    own = _map(file, dtype, (loader.counts()[rank()], width))
                    rows = _gather(own, loader.counts())
                    raise_on_all_ranks(partial(_save, path, rows))
                    return

    def _write_own(
        self, file: BinaryIO, loader: Loader, split: str, dtype: type[np.floating]
    ) -> tuple[int, bool]:
        """Write this process's share; return the length of a row, and if a value is too large."""
        width = 0
        label = f"features of {split}"
        with (
            _full_disk(self.folder),
            closing(loader),
            progress(label, len(loader.scan)) as advance,
            closing(loader.batches()) as batches,
        ):
            for pixels, _ in batches:
                features = self._features(loader, pixels)
                if not width:
                    width = features.shape[1]
                    size = len(loader.scan) * width * np.dtype(dtype).itemsize
                    size *= 2  # once without a name, once whole
                    check_room(self.folder, size, "features", "name another place with --cache-dir")
                try:
                    with np.errstate(over="raise"):
                        file.write(features.astype(dtype).tobytes())
                except FloatingPointError:
                    return width, True
                advance(len(features) * world_size())
            file.flush()
        return width, False

    @torch.inference_mode()
    def _features(self, loader: Loader, pixels: Tensor) -> npt.NDArray[np.float32]:
        device = next(self.network.parameters()).device
        images = loader.to_input(pixels, device).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.is_half):
            features = self.network.forward_features(images)
        return features.float().cpu().numpy()


@contextmanager
def _full_disk(folder: Path) -> Iterator[None]:
    """Make a full disk an error in one line."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"expected to write features to {folder}, found: {error.strerror or error}; free some "
            "space, or name another place with --cache-dir"
        ) from error


def _map(
    file: BinaryIO, dtype: type[np.floating], shape: tuple[int, int]
) -> npt.NDArray[np.floating]:
    if not shape[0]:
        return np.empty(shape, dtype)
    return np.memmap(file, dtype, "r", shape=shape)


def _gather(own: npt.NDArray[np.floating], counts: list[int]) -> npt.NDArray[np.floating]:
    """Return the rows of all processes, one after the other; many processes hold them in memory."""
    if world_size() == 1:
        return own
    return gather_rows(torch.from_numpy(np.array(own)), counts).numpy()


def _save(path: Path, features: npt.NDArray[np.floating]) -> None:
    """Write a .npy file some rows at a time; of the processes of a machine, the first does."""
    if local_rank() > 0:
        return
    header = {"descr": features.dtype.str, "fortran_order": False, "shape": features.shape}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(features), _ROWS):
            file.write(features[start : start + _ROWS].tobytes())
