"""A small corpus, made by a script: one whole file, or folder of files, of every kind we read."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from fuzz import mutations
from fuzz.mutations import Mutate, any_way
from PIL import Image

from softonce import create_model
from softonce.artefact import Metadata, write_artefact
from softonce.config import PackConfig, TrainConfig
from softonce.config.toml import to_toml
from softonce.data import cache
from softonce.data.pack import pack
from softonce.data.samples import list_samples
from softonce.data.scan import scan
from softonce.data.scan_file import ScanFile
from softonce.data.sources import open_source
from softonce.exporting.run import export
from softonce.models.network import Network
from softonce.preprocessing import Preprocessing
from softonce.run_folder import RunFolder
from softonce.training.checkpoint import Progress, State, save_checkpoint

SIZE = Preprocessing(size=16, resize=19)
CLASSES = ("ants", "bees", "wasps")
IMAGE_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "TGA", "PCX", "ICO", "SGI",
                 "DDS", "JPEG2000", "AVIF", "MPO")  # fmt: skip
FOR_TENSORS = (any_way, mutations.safetensors, mutations.safetensors, mutations.tensor_values)


@dataclass(frozen=True)
class Example:
    """Something whole to harm.

    Args:
        folder: of the files.
        file: the name of the one that is harmed.
        ways: of harming it.
        is_bounded: whether what is read may not need much memory. OpenVINO takes as much as a
            constant in the weights says: a harmed one asked for 8 GB, then for less.
    """

    folder: Path
    file: str
    ways: Sequence[Mutate] = (any_way,)
    is_bounded: bool = True

    def harmed(self, seed: str) -> bytes:
        """Return the bytes of the harmed file."""
        draw = random.Random(seed)
        return draw.choice(self.ways)(draw, (self.folder / self.file).read_bytes())


def network(num_classes: int = 3) -> Network:
    torch.manual_seed(0)
    return create_model("cifar_resnet20", num_classes=num_classes).eval()


def state_of(model: Network) -> State:
    """Return the state of a training that has made one step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model.train()(torch.randn(2, 3, 16, 16)).sum().backward()
    optimizer.step()
    progress = Progress(epoch=1, step=1, best={"epoch": 1, "top1": 0.5, "nll": 1.0})
    return State(model, optimizer, None, torch.zeros(3, dtype=torch.float64), progress, "00ff")


def noise(width: int = 20, height: int = 16, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def make(kind: str, folder: Path) -> list[Example]:
    """Make the examples of a kind in an empty folder."""
    folder.mkdir(parents=True)
    with warnings.catch_warnings(action="ignore"):
        return _MAKERS[kind](folder)


def _images(folder: Path) -> list[Example]:
    for form in IMAGE_FORMATS:
        noise().save(folder / form.lower(), form)
    noise().convert("P").save(folder / "palette", "PNG", transparency=3)
    noise().save(
        folder / "orientation",
        "JPEG",
        exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0",
    )
    Image.fromarray(np.arange(320, dtype=np.uint16).reshape(16, 20)).save(folder / "deep", "PNG")
    frames = [noise(seed=seed) for seed in range(3)]
    for form in ("GIF", "TIFF"):
        frames[0].save(folder / f"pages-{form}", form, save_all=True, append_images=frames[1:])
    np.save(folder / "bands.npy", np.zeros((16, 20, 5), np.uint8))
    pngs = ("png", "palette", "deep")
    return [
        Example(folder, path.name, (any_way, mutations.png) if path.name in pngs else (any_way,))
        for path in sorted(folder.iterdir())
    ]


def _manifests(folder: Path) -> list[Example]:
    import pyarrow as pa
    from pyarrow import parquet

    names, labels = [f"{n}.png" for n in range(6)], ["ants", "bees", "벌"] * 2
    for name in names:
        noise().save(folder / name)
    splits = ["train"] * 3 + ["val"] * 3
    rows = list(zip(names, labels, splits, strict=True))
    header = ("path", "label", "split")
    for suffix, mark in (("csv", ","), ("tsv", "\t")):
        text = "\n".join(mark.join(row) for row in (header, *rows))
        (folder / f"all.{suffix}").write_text(text, encoding="utf-8")
    lines = [json.dumps(dict(zip(header, row, strict=True))) for row in rows]
    (folder / "all.jsonl").write_text("\n".join(lines), encoding="utf-8")
    parquet.write_table(pa.table({"path": names, "label": labels}), folder / "all.parquet")
    ways = {"all.jsonl": (any_way, mutations.json_lines)}
    files = ("all.csv", "all.tsv", "all.jsonl", "all.parquet")
    return [Example(folder, name, ways.get(name, (any_way,))) for name in files]


def _datasets(folder: Path) -> list[Example]:
    import pyarrow as pa
    from pyarrow import parquet

    pictures = [{"bytes": _png(seed), "path": f"{seed}.png"} for seed in range(4)]
    about = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": CLASSES[:2]}}
    table = pa.table({"image": pictures, "label": [0, 1, 0, 1]}).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": about}})}
    )
    for name in ("arrow", "parquet"):
        (folder / name).mkdir()
    parquet.write_table(table, folder / "parquet" / "train.parquet")
    sink = pa.OSFile(str(folder / "arrow" / "train.arrow"), "wb")
    with sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return [
        Example(folder / "arrow", "train.arrow"),
        Example(folder / "parquet", "train.parquet"),
    ]


def _png(seed: int) -> bytes:
    written = io.BytesIO()
    noise(seed=seed).save(written, "PNG")
    return written.getvalue()


def _class_folders(folder: Path) -> Path:
    for number, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for other in range(2):
            noise(seed=2 * number + other).save(folder / name / f"{other}.png")
    return folder


def _shards(folder: Path) -> list[Example]:
    pack(PackConfig(_class_folders(folder / "photos"), folder / "packed"))
    (shard,) = (path.name for path in (folder / "packed").glob("*.tar"))
    foreign = folder / "foreign"
    foreign.mkdir()
    (foreign / shard).write_bytes((folder / "packed" / shard).read_bytes())
    return [
        Example(foreign, shard, (any_way, mutations.tar, mutations.tar)),
        Example(folder / "packed", "index.safetensors", FOR_TENSORS),
    ]


def _idx(folder: Path) -> list[Example]:
    images = struct.pack(">IIII", 0x803, 6, 8, 8) + bytes(6 * 64)
    labels = struct.pack(">II", 0x801, 6) + bytes([0, 1, 2] * 2)
    for name, data in (("images-idx3", images), ("labels-idx1", labels)):
        for folder_name, suffix in (("plain", ""), ("packed", ".gz")):
            place = folder / folder_name
            place.mkdir(exist_ok=True)
            content = gzip.compress(data, 1) if suffix else data
            (place / f"train-{name}-ubyte{suffix}").write_bytes(content)
    return [
        Example(folder / place, f"train-{name}-ubyte{suffix}", ways)
        for name in ("images-idx3", "labels-idx1")
        for place, suffix, ways in (
            ("plain", "", (any_way,)),
            ("packed", ".gz", (any_way, mutations.gz)),
        )
    ]


def _artefacts(folder: Path) -> list[Example]:
    return [Example(artefact_in(folder).parent, "model.safetensors", FOR_TENSORS)]


def artefact_in(folder: Path) -> Path:
    model = network()
    options = {"in_channels": 3, "num_classes": 3}
    metadata = Metadata(
        arch="cifar_resnet20", arch_args=options, classes=CLASSES, preprocessing=SIZE,
        training={"epochs": 3, "metrics": {"top1": 0.5}}, temperature=1.5,
    )  # fmt: skip
    write_artefact(folder / "model.safetensors", model.state_dict(), metadata)
    return folder / "model.safetensors"


def _checkpoints(folder: Path) -> list[Example]:
    run = RunFolder(folder)
    save_checkpoint(run, state_of(network()))
    return [Example(run.checkpoints, run.state(1).name, FOR_TENSORS)]


def _scans(folder: Path) -> list[Example]:
    photos = _class_folders(folder / "photos")
    for path in photos.rglob("*.png"):
        os.utime(path, (10**9, 10**9))  # a file that has just changed is not relied on
    samples = list_samples(open_source(photos), "all")
    kept = ScanFile(folder / "scan.safetensors", "photos", "RGB")
    scan(samples, SIZE, max_bad_fraction=1.0, kept=kept)
    kept.save()
    return [Example(folder, "scan.safetensors", FOR_TENSORS)]


def _caches(folder: Path) -> list[Example]:
    samples = list_samples(open_source(_class_folders(folder / "photos")), "all")
    (folder / "cache").mkdir()
    cache.load_or_build(folder / "cache", samples, SIZE, squares=True, label="cache")
    (index,) = (folder / "cache").glob("*.safetensors")
    return [
        Example(folder, f"cache/{index.name}", FOR_TENSORS),
        Example(folder, f"cache/{index.with_suffix('.pixels').name}"),
    ]


def _graphs(folder: Path, to: str, suffixes: tuple[str, ...]) -> list[Example]:
    made = export(artefact_in(folder), to=to, samples=2, quiet=True).file
    artefact_in(folder).unlink()
    ways = (any_way, mutations.zipped) if to == "torch" else (any_way,)
    return [
        Example(folder, made.with_suffix(suffix).name, ways, is_bounded=suffix != ".bin")
        for suffix in suffixes
    ]


def _weights(folder: Path) -> list[Example]:
    model = network()
    torch.save({"state_dict": model.state_dict(), "epoch": 3}, folder / "new.pth")
    torch.save(model.state_dict(), folder / "old.pth", _use_new_zipfile_serialization=False)
    write_artefact(  # only its tensors are read
        folder / "plain.safetensors",
        model.state_dict(),
        Metadata(arch="x", arch_args={}, classes=("a",), preprocessing=SIZE),
    )
    return [
        Example(folder, "new.pth", (any_way, mutations.zipped)),
        Example(folder, "old.pth"),
        Example(folder, "plain.safetensors", FOR_TENSORS),
    ]


def _toml(folder: Path) -> list[Example]:
    config = TrainConfig("photos", epochs=3, mean=(0.1, 0.2, 0.3), std=(1, 1, 1), scale=(0.1, 1))
    (folder / "train.toml").write_text(to_toml(config), encoding="utf-8")
    return [Example(folder, "train.toml")]


def _answers(folder: Path) -> list[Example]:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (12, 3))
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = [CLASSES[n % 3] for n in range(12)]
    header = ",".join((*CLASSES, "label"))
    rows = [",".join([*map(str, row), name]) for row, name in zip(probs, labels, strict=True)]
    (folder / "a.csv").write_text("\n".join([header, *rows]), encoding="utf-8")
    records = [
        {"scores": dict(zip(CLASSES, row.tolist(), strict=True)), "label": name}
        for row, name in zip(probs, labels, strict=True)
    ]
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    (folder / "a.json").write_text(json.dumps([each["scores"] for each in records]))
    np.save(folder / "a.npy", logits)
    packed = io.BytesIO()
    np.savez(packed, logits=logits, target=np.arange(12) % 3)
    (folder / "a.npz").write_bytes(packed.getvalue())
    by_line, archive = (any_way, mutations.json_lines), (any_way, mutations.zipped)
    ways = {"a.jsonl": by_line, "a.json": by_line, "a.npz": archive}
    return [Example(folder, path.name, ways.get(path.name, (any_way,)))
            for path in sorted(folder.iterdir())]  # fmt: skip


_MAKERS = {
    "images": _images,
    "manifests": _manifests,
    "datasets": _datasets,
    "shards": _shards,
    "idx": _idx,
    "artefacts": _artefacts,
    "checkpoints": _checkpoints,
    "scans": _scans,
    "caches": _caches,
    "onnx": lambda folder: _graphs(folder, "onnx", (".onnx",)),
    "openvino": lambda folder: _graphs(folder, "openvino", (".xml", ".bin")),
    "programs": lambda folder: _graphs(folder, "torch", (".pt2",)),
    "weights": _weights,
    "toml": _toml,
    "answers": _answers,
}
KINDS = tuple(_MAKERS)
