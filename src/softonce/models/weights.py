"""Published weights as records, and from whatever names weights to their tensors."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from enum import Enum
from importlib import resources
from pathlib import Path
from typing import TypeAlias

from softonce.errors import UnknownNameError, WeightsError
from softonce.models.download import fetch
from softonce.models.state_dicts import StateDict
from softonce.models.weight_files import read_tensors
from softonce.preprocessing import Preprocessing
from softonce.run_folder import model_file

BASE_URL = "https://download.pytorch.org/models/"


@dataclass(frozen=True)
class WeightsRecord:
    """One file of published weights for ImageNet-1K, and what is known of it.

    Attributes:
        arch: the name of the architecture.
        sha256: the first 8 hexadecimal digits of the file's digest.
        resize: short side after resizing, in pixels, before the 224-pixel centre crop.
        num_params: number of parameters.
        acc1: top-1 accuracy on the validation set, in per cent, as published.
        acc5: top-5 accuracy on the validation set, in per cent, as published.
    """

    arch: str
    sha256: str
    resize: int
    num_params: int
    acc1: float
    acc5: float

    @property
    def url(self) -> str:
        """Where the file is published."""
        return f"{BASE_URL}{self.arch}-{self.sha256}.pth"

    @property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing with which the accuracies were measured."""
        return Preprocessing(size=224, resize=self.resize)

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names in index order."""
        return imagenet_classes()


class WeightsEnum(WeightsRecord, Enum):
    """The records of one architecture; `DEFAULT` is another name of the most accurate.

    Source: torchvision 0.28, `torchvision.models.get_model_weights(name)`.
    """


# The names of these classes and of their members are torchvision's, hence N801.
class ResNet18_Weights(WeightsEnum):  # noqa: N801
    """Published weights of `resnet18`."""

    IMAGENET1K_V1 = "resnet18", "f37072fd", 256, 11_689_512, 69.758, 89.078
    DEFAULT = IMAGENET1K_V1


class ResNet34_Weights(WeightsEnum):  # noqa: N801
    """Published weights of `resnet34`."""

    IMAGENET1K_V1 = "resnet34", "b627a593", 256, 21_797_672, 73.314, 91.420
    DEFAULT = IMAGENET1K_V1


class ResNet50_Weights(WeightsEnum):  # noqa: N801
    """Published weights of `resnet50`."""

    IMAGENET1K_V1 = "resnet50", "0676ba61", 256, 25_557_032, 76.130, 92.862
    IMAGENET1K_V2 = "resnet50", "11ad3fa6", 232, 25_557_032, 80.858, 95.434
    DEFAULT = IMAGENET1K_V2


class ResNet101_Weights(WeightsEnum):  # noqa: N801
    """Published weights of `resnet101`."""

    IMAGENET1K_V1 = "resnet101", "63fe2227", 256, 44_549_160, 77.374, 93.546
    IMAGENET1K_V2 = "resnet101", "cd907fc2", 232, 44_549_160, 81.886, 95.780
    DEFAULT = IMAGENET1K_V2


class ResNet152_Weights(WeightsEnum):  # noqa: N801
    """Published weights of `resnet152`."""

    IMAGENET1K_V1 = "resnet152", "394f9c45", 256, 60_192_808, 78.312, 94.046
    IMAGENET1K_V2 = "resnet152", "f82ba261", 232, 60_192_808, 82.284, 96.002
    DEFAULT = IMAGENET1K_V2


class ResNeXt50_32X4D_Weights(WeightsEnum):  # noqa: N801
    """Published weights of `resnext50_32x4d`."""

    IMAGENET1K_V1 = "resnext50_32x4d", "7cdf4587", 256, 25_028_904, 77.618, 93.698
    IMAGENET1K_V2 = "resnext50_32x4d", "1a0047aa", 232, 25_028_904, 81.198, 95.340
    DEFAULT = IMAGENET1K_V2


class ResNeXt101_32X8D_Weights(WeightsEnum):  # noqa: N801
    """Published weights of `resnext101_32x8d`."""

    IMAGENET1K_V1 = "resnext101_32x8d", "8ba56ff5", 256, 88_791_336, 79.312, 94.526
    IMAGENET1K_V2 = "resnext101_32x8d", "110c445d", 232, 88_791_336, 82.834, 96.228
    DEFAULT = IMAGENET1K_V2


class ResNeXt101_64X4D_Weights(WeightsEnum):  # noqa: N801
    """Published weights of `resnext101_64x4d`."""

    IMAGENET1K_V1 = "resnext101_64x4d", "173b62eb", 232, 83_455_272, 83.246, 96.454
    DEFAULT = IMAGENET1K_V1


class Wide_ResNet50_2_Weights(WeightsEnum):  # noqa: N801
    """Published weights of `wide_resnet50_2`; the file of V1 is stored in float16."""

    IMAGENET1K_V1 = "wide_resnet50_2", "95faca4d", 256, 68_883_240, 78.468, 94.086
    IMAGENET1K_V2 = "wide_resnet50_2", "9ba9bcbe", 232, 68_883_240, 81.602, 95.758
    DEFAULT = IMAGENET1K_V2


class Wide_ResNet101_2_Weights(WeightsEnum):  # noqa: N801
    """Published weights of `wide_resnet101_2`; the file of V1 is stored in float16."""

    IMAGENET1K_V1 = "wide_resnet101_2", "32ee1156", 256, 126_886_696, 78.848, 94.284
    IMAGENET1K_V2 = "wide_resnet101_2", "d733dc28", 232, 126_886_696, 82.510, 96.020
    DEFAULT = IMAGENET1K_V2


WeightsSource: TypeAlias = WeightsEnum | str | os.PathLike[str]


@functools.cache
def imagenet_classes() -> tuple[str, ...]:
    """Return the 1000 class names of ILSVRC 2012 in index order.

    Example:
        >>> imagenet_classes()[:3]
        ('tench', 'goldfish', 'great white shark')

    Source: the `categories` of torchvision 0.28's weights, the file imagenet_classes.txt here.
    """
    text = resources.files("softonce.models").joinpath("imagenet_classes.txt").read_text("utf-8")
    return tuple(text.splitlines())


def list_weights(name: str) -> list[WeightsEnum]:
    """Return the records of an architecture, oldest first: an empty list if none is published.

    Example:
        >>> [str(record) for record in list_weights("resnet50")]
        ['ResNet50_Weights.IMAGENET1K_V1', 'ResNet50_Weights.IMAGENET1K_V2']
    """
    return [
        record for kind in WeightsEnum.__subclasses__() for record in kind if record.arch == name
    ]


def get_weight(name: str) -> WeightsEnum:
    """Return the record of that full name, as torchvision writes it.

    Raises:
        UnknownNameError: if there is none.

    Example:
        >>> get_weight("ResNet50_Weights.DEFAULT").sha256
        '11ad3fa6'
    """
    known = {
        f"{kind.__name__}.{member}": record
        for kind in WeightsEnum.__subclasses__()
        for member, record in kind.__members__.items()
    }
    if name not in known:
        raise UnknownNameError.of("weights record", name, known)
    return known[name]


def resolve(arch: str | None, weights: WeightsSource) -> WeightsEnum | Path:
    """Return the record or the existing file that is meant.

    Args:
        arch: the architecture whose records the short names (`DEFAULT`) mean.
        weights: a record, its full or short name, or a path.

    Raises:
        WeightsError: if there is no such record or file, or its architecture is another.
    """
    found = weights if isinstance(weights, WeightsEnum) else _find(arch, os.fspath(weights))
    if isinstance(found, WeightsEnum) and arch not in {None, found.arch}:
        raise WeightsError(
            f"expected weights of {arch}, found {found}, which are of {found.arch}: "
            f"{_choices(arch)}"
        )
    return found


def obtain(found: WeightsEnum | Path, *, progress: bool = True) -> StateDict:
    """Return the tensors of a record, downloaded if need be, or of a file.

    Raises:
        WeightsError: if they cannot be had or read.
    """
    if isinstance(found, Path):
        return StateDict(str(found), read_tensors(model_file(found)))
    path = fetch(found.url, found.sha256, progress=progress)
    return StateDict(str(found), read_tensors(path), found.classes, found.preprocessing)


def _find(arch: str | None, name: str) -> WeightsEnum | Path:
    for record in list_weights(arch or ""):
        if name in type(record).__members__:
            return type(record)[name]
    if Path(name).exists():
        return Path(name)
    try:
        return get_weight(name)
    except UnknownNameError:
        raise WeightsError(
            f"expected weights of {arch or 'the model'}, found {name!r}, which is neither a record "
            f"nor an existing file: {_choices(arch)}"
        ) from None


def _choices(arch: str | None) -> str:
    records = [str(record) for record in list_weights(arch or "")]
    named = f"use DEFAULT, one of {', '.join(records)}, or" if records else "none is published,"
    return f"{named} pass the path of a .pth or .safetensors file"
