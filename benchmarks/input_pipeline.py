"""Pictures per second on one core: our loader against torchvision's v2 transforms and timm's.

From files to what a training step is given: a batch of normalised float32 images at 224 px, after a
random resized crop and a flip. ImageNet-sized JPEGs (about 500 x 375, quality 90, cut and resized
from real photos); the same files in the same order, in this process, in turn. torchvision's side is
its reference preset with v2 on Pillow images: RandomResizedCrop, RandomHorizontalFlip, PILToTensor,
ToDtype, Normalize, then its loader's stack. timm's is its own training transform with the filter
and the crops of the others. Ours is the loader of `softonce train` and the `normalize` of its step.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from harness import interleaved, report
from PIL import Image

from softonce.data.augment import Augmentation
from softonce.data.loader import Loader, normalize
from softonce.data.samples import list_samples
from softonce.data.scan import scan
from softonce.data.sources import open_source
from softonce.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from torchvision_beside import load_torchvision

SIZE, BATCH = 224, 32
SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)


def make_pictures(photos: Path, folder: Path, num: int) -> list[Path]:
    """Write `num` JPEGs of the size and quality of ImageNet's, in two class folders."""
    sources = sorted(path for path in photos.rglob("*") if path.suffix in {".jpg", ".jpeg"})
    draw = random.Random(0)
    paths = []
    for number in range(num):
        picture = Image.open(sources[number % len(sources)]).convert("RGB")
        width, height = draw.choice([(500, 375), (500, 333), (375, 500), (500, 400)])
        scale = max(width / picture.width, height / picture.height)
        box = (width / scale, height / scale)
        left = draw.uniform(0, max(0, picture.width - box[0]))
        top = draw.uniform(0, max(0, picture.height - box[1]))
        right, bottom = left + box[0], top + box[1]
        area = (left, top, min(right, picture.width), min(bottom, picture.height))
        path = folder / f"class{number % 2}" / f"{number:05d}.jpg"
        path.parent.mkdir(exist_ok=True)
        picture.resize((width, height), Image.Resampling.BICUBIC, box=area).save(path, quality=90)
        paths.append(path)
    return sorted(paths)


def our_epoch(folder: Path, cache: Path | None) -> Callable[[], int]:
    """One epoch of the loader that `softonce train` uses, in this process."""
    preprocessing = Preprocessing(size=SIZE, resize=256)
    samples = list_samples(open_source(folder), "all")
    found = scan(samples, preprocessing, max_bad_fraction=0, cache=cache, squares=False)
    augmentation = Augmentation(crop="resized-crop", size=SIZE, scale=SCALE, ratio=RATIO)
    loader = Loader(found, preprocessing, BATCH, augmentation, workers=0)
    return lambda: sum(len(normalize(pixels, preprocessing)) for pixels, _ in loader.batches(0))


def torchvisions_epoch(paths: list[Path]) -> Callable[[], int]:
    """One pass over the files through torchvision's v2 transforms."""
    load_torchvision()
    from torchvision.datasets.folder import pil_loader
    from torchvision.transforms import v2

    transform = v2.Compose(
        [
            v2.RandomResizedCrop(SIZE, scale=SCALE, ratio=RATIO, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean=IMAGENET_MEAN, std=IMAGENET_STD),
        ]
    )
    return lambda: sum(
        len(torch.stack([transform(pil_loader(str(path))) for path in batch]))
        for batch in batches(paths)
    )


def timms_epoch(paths: list[Path]) -> Callable[[], int]:
    """One pass over the files through timm's training transform."""
    load_torchvision()
    from timm.data.transforms_factory import transforms_imagenet_train

    transform = transforms_imagenet_train(
        SIZE, scale=SCALE, ratio=RATIO, hflip=0.5, color_jitter=None, auto_augment=None,
        interpolation="bilinear",
    )  # fmt: skip

    def read(path: Path) -> torch.Tensor:
        with path.open("rb") as file:
            return transform(Image.open(file).convert("RGB"))

    return lambda: sum(len(torch.stack([read(path) for path in batch])) for batch in batches(paths))


def batches(paths: list[Path]) -> list[list[Path]]:
    order = np.random.default_rng(0).permutation(len(paths))
    shuffled = [paths[index] for index in order]
    return [shuffled[start : start + BATCH] for start in range(0, len(shuffled), BATCH)]


def main() -> None:
    """Time all four, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="a folder of photos to make the pictures from")
    parser.add_argument("--num", type=int, default=384, help="number of pictures")
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "pictures"
        folder.mkdir()
        paths = make_pictures(asked.photos, folder, asked.num)
        cases = {
            "softonce": our_epoch(folder, None),
            "softonce --cache": our_epoch(folder, Path(temporary) / "cache"),
            "torchvision v2": torchvisions_epoch(paths),
            "timm": timms_epoch(paths),
        }
        seconds = interleaved(cases, rounds=asked.rounds)
        size = sum(path.stat().st_size for path in paths) / len(paths)
    rates = {name: asked.num / value for name, value in seconds.items()}
    other = rates["torchvision v2"]
    ratios = {f"{name} / torchvision v2": rates[name] / other for name in cases}
    ratios["softonce / timm"] = rates["softonce"] / rates["timm"]
    figures: dict[str, object] = {f"{name} img/s": round(rate, 1) for name, rate in rates.items()}
    figures |= {"pictures": asked.num, "mean bytes": round(size), "px": SIZE, "threads": 1}
    print(figures)
    report(
        "input_pipeline",
        ratios=ratios,
        figures=figures,
        packages=("torch", "torchvision", "timm", "pillow"),
    )


if __name__ == "__main__":
    main()
