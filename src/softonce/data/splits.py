"""DATA becomes train, val and test: listed first, which is quick, then read.

Without val/, train is read whole, and its pictures' contents decide which of them are val.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from softonce.config.fields import preprocessing_from
from softonce.config.train import ALL, fold_of
from softonce.console import LOG
from softonce.data.cache import default_folder
from softonce.data.doubles import Double, find_copies
from softonce.data.excluded import Excluded
from softonce.data.membership import choose_fold, choose_val
from softonce.data.samples import Samples, list_samples, read_class_order
from softonce.data.scan import SMALL_SIDE, BadFile, Scan, scan
from softonce.data.sources import open_source
from softonce.data.sources.source import WHOLE
from softonce.errors import DataError
from softonce.plurals import format_count
from softonce.preprocessing import MAX_PIXELS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from softonce.config import TrainConfig
    from softonce.data.scan_file import ScanFile
    from softonce.data.sources.columns import Columns
    from softonce.preprocessing import Preprocessing


@dataclass(frozen=True)
class Listed:
    """The files of every split, not yet read.

    Args:
        place: DATA, as it was named.
        train: to learn from.
        val: to choose the best epoch by, and to fit the temperature on; None if it is to be split
            off train.
        test: to measure once, at the end; None if DATA has none.
    """

    place: str
    train: Samples
    val: Samples | None
    test: Samples | None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in index order."""
        return self.train.classes


@dataclass(frozen=True)
class Splits:
    """Every split, read once; what could not be read is left out and named.

    Args:
        listed: the files, before they were read.
        train: to learn from.
        val: to choose the best epoch by, and to fit the temperature on.
        test: to measure once, at the end; None if DATA has none.
        doubles: pairs of files of the same picture.
    """

    listed: Listed
    train: Scan
    val: Scan
    test: Scan | None
    doubles: tuple[Double, ...]

    @property
    def bad_files(self) -> tuple[BadFile, ...]:
        """What was left out, over all splits."""
        scans = [self.train, self.val] + ([self.test] if self.test else [])
        return tuple(file for part in scans for file in part.bad_files)


def list_splits(
    data: str | Path,
    columns: Columns | None = None,
    *,
    class_order: Path | None = None,
    exclude: Path | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Listed:
    """List train, val and test; the class map is made from train.

    Args:
        data: as `open_source` takes it.
        columns: of a manifest.
        class_order: a text file with the names of all classes in index order, one a line.
        max_pixels: larger pictures cannot be read.
        exclude: a list of files that are left out, one a line, or a table with their paths.

    Raises:
        DataError: if DATA, a class or a split cannot be used.
    """
    source = open_source(data, columns)
    splits = source.splits()
    whole = next((split for split in ("train", WHOLE) if split in splits), None)
    if whole is None:
        raise DataError(
            f"expected train/ in {data}, found only {', '.join(sorted(splits))}: "
            "name the folder that holds train/, or a folder of class folders"
        )
    excluded = None if exclude is None else Excluded.read(exclude)

    def list_part(split: str, classes: tuple[str, ...] | None = None) -> Samples:
        return list_samples(
            source,
            split,
            classes,
            complete=classes is None,
            max_pixels=max_pixels,
            excluded=excluded,
        )

    train = list_part(whole)
    if class_order is not None:
        train = train.in_order(read_class_order(class_order, train.classes))
    test = list_part("test", train.classes) if "test" in splits else None
    val = list_part("val", train.classes) if "val" in splits else None
    if excluded is not None:
        excluded.say()
    return Listed(str(data), train, val, test)


def cache_folder(config: TrainConfig) -> Path | None:
    """Return the folder of decoded images, if `--cache` or `--cache-dir` asks for one."""
    if config.cache_dir is not None:
        return config.cache_dir
    return default_folder() if config.cache else None


def read_splits(
    listed: Listed, config: TrainConfig, default: Preprocessing, kept: ScanFile | None = None
) -> Splits:
    """Read every file once, and report identical files in train and another split.

    Args:
        listed: the files.
        config: how they are read.
        default: what the network or its weights expect.
        kept: what an earlier scan of the run has found.

    Raises:
        DataError: if too many files cannot be read.
    """
    if listed.val is not None and config.val_fold is not None:
        raise DataError(
            f"expected DATA without val/ for folds, found one in {listed.place}: they are parts of "
            "all images; move those of val/ to train/"
        )
    preprocessing = preprocessing_from(config, default)
    read = partial(
        scan,
        preprocessing=preprocessing,
        max_bad_fraction=config.max_bad_fraction,
        cache=None if preprocessing.size <= SMALL_SIDE else cache_folder(config),
        kept=kept,
    )
    boxes = config.augment not in ("none", "pad-crop")
    train = read(listed.train, complete=True, label="reading train", squares=not boxes)
    val, test = (
        None if part is None else read(part, label=f"reading {name}")
        for name, part in (("val", listed.val), ("test", listed.test))
    )
    if kept is not None:
        kept.say()
    found = {"train": train, "val": val, "test": test}
    parts = {name: part for name, part in found.items() if part is not None}
    for other in filter(None, (val, test)):
        _warn_of_shared_groups(train, other)
    copies = find_copies(parts)
    is_val = None
    if val is None:
        train = copies.group_first_part()
        is_val = _choose_val(listed, train, config)
        val = replace(train.take(np.flatnonzero(is_val)), bad_files=())
        if config.val_fold != ALL:
            train = train.take(np.flatnonzero(~is_val))
        if val.pictures is not None:  # from the cache, for boxes; evaluation sees squares
            val = read(val.samples, label="reading val")
    doubles = copies.list_doubles(None if config.val_fold == ALL else is_val)
    _warn_of_doubles(doubles)
    return Splits(listed, train, val, test, doubles)


def _warn_of_doubles(doubles: Sequence[Double]) -> None:
    """Warn of copies that do harm; others are noted, since they weigh a picture twice."""
    if conflicts := [double for double in doubles if double.is_conflict]:
        first = conflicts[0]
        LOG.warning(
            "%s in two classes, so that a label is wrong, the first: %s (%s) = %s (%s)",
            format_count(len(conflicts), "picture"),
            first.path,
            first.label,
            first.other_path,
            first.other_label,
        )
    if leaks := [double for double in doubles if double.is_leak and not double.is_conflict]:
        LOG.warning(
            "%s of another split found in train too, the first: %s = %s; "
            "the figures are too good by as much",
            format_count(len(leaks), "file"),
            leaks[0].path,
            leaks[0].other_path,
        )
    if num := sum(not (double.is_conflict or double.is_leak) for double in doubles):
        LOG.info("%s twice in one class of one split", format_count(num, "picture"))


def _choose_val(listed: Listed, train: Scan, config: TrainConfig) -> npt.NDArray[np.bool_]:
    """Return which images of train are val, and say how many."""
    target = train.samples.target
    if config.val_fold is None or config.val_fold == ALL:
        is_val = choose_val(
            train.units,
            target,
            num_classes=len(listed.classes),
            fraction=config.val_fraction,
            seed=config.seed,
        )
        what = "split off train" if config.val_fold is None else "are watched, and trained on too"
    else:
        fold = fold_of(config.val_fold)
        is_val = choose_fold(
            train.units, target, classes=listed.classes, fold=fold, seed=config.seed
        )
        what = f"are fold {fold[0]} of {fold[1]}, and not trained on"
    LOG.info("no val/ in %s: %d of %d images %s", listed.place, is_val.sum(), len(train), what)
    return is_val


def _warn_of_shared_groups(train: Scan, other: Scan) -> None:
    own, others = train.samples.groups, other.samples.groups
    if own is None or others is None:
        return
    known = {group.tobytes() for group in own}
    num_shared = sum(group.tobytes() in known for group in others)
    if num_shared:
        LOG.warning(
            "%s of %s belong to groups of train, too: the figures are too good by as much",
            format_count(num_shared, "image"),
            other.samples.place,
        )
