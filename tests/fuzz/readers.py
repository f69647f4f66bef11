"""What reads the files of a kind, as the verbs do."""

from __future__ import annotations

import io
import shutil
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from fuzz.corpus import SIZE, network, state_of

from softonce.auditing.run import audit
from softonce.cli.inspect import inspect
from softonce.config import EvaluateConfig, InspectConfig, ServeConfig, TrainConfig
from softonce.config.toml import from_toml
from softonce.data import cache
from softonce.data.images import decode, fit_image, open_image, to_square
from softonce.data.samples import list_samples
from softonce.data.scan import scan
from softonce.data.scan_file import ScanFile
from softonce.data.sources import open_source
from softonce.engines import open_engine
from softonce.engines.networks import load
from softonce.errors import SoftonceError
from softonce.models import load_weights
from softonce.prediction.predictor import Predictor
from softonce.preprocessing import Preprocessing
from softonce.training.checkpoint import load_checkpoint

LARGEST = 256
"""Pixels a side that are computed with; a network's need for more is its own."""


def attempt(kind: str, file: Path) -> list[str]:
    """Return how each way of reading ended: read or refused. Any other error is raised."""
    ended = []
    for way in _READERS[kind]:
        try:
            way(file)
        except SoftonceError as error:
            if "\n" in str(error):
                raise AssertionError(f"more than one line: {error}") from error
            ended.append("refused")
        else:
            ended.append("read")
    return ended


def _picture(file: Path) -> None:
    to_square(open_image(file.read_bytes()), SIZE)


def _bands(file: Path) -> None:
    opened = open_image(file.read_bytes())
    fit_image(decode(opened, 5), Preprocessing(size=16, mode=5, mean=(0,) * 5, std=(1,) * 5))


def _data(file: Path) -> None:
    source = open_source(str(file))
    for split in source.splits():
        samples = list_samples(source, split)
        scan(samples, SIZE, max_bad_fraction=1.0)


def _folder(file: Path) -> None:
    _data(file.parent)


def _of(prefix: str, file: Path) -> None:
    source = open_source(f"{prefix}:{file.parent}")
    for split in source.splits():
        scan(list_samples(source, split), SIZE, max_bad_fraction=1.0)


def _artefact(file: Path) -> None:
    model, metadata = load(file, device="cpu")
    assert model.num_logits == len(metadata.classes)


def _run_by(name: str) -> Any:
    def run(file: Path) -> None:
        model = file.with_suffix(".xml") if file.suffix == ".bin" else file
        engine = open_engine(model, name=name, device="cpu", precision="auto")
        wanted = engine.metadata.preprocessing
        if wanted.resize <= LARGEST:
            shape = (2, wanted.in_channels, wanted.size, wanted.size)
            records = Predictor(engine)
            rows = list(engine.logits(np.zeros(shape, np.uint8)))
            records.records(["a", "b"], list(np.zeros(shape, np.uint8)), rows, top_k=5)

    return run


def _inspect(file: Path) -> None:
    model = file.with_suffix(".xml") if file.suffix == ".bin" else file
    for as_json in (False, True):
        with redirect_stdout(io.StringIO()) as printed:
            inspect(InspectConfig(model, json=as_json))
        assert as_json or not set(printed.getvalue()) & set("\x1b\x07\x9b")


def _checkpoint(file: Path) -> None:
    load_checkpoint(file, state_of(network()))


def _scan(file: Path) -> None:
    samples = list_samples(open_source(file.parent / "photos"), "all")
    kept = ScanFile(file, "photos", "RGB")
    scan(samples, SIZE, max_bad_fraction=1.0, kept=kept)


def _cache(file: Path) -> None:
    samples = list_samples(open_source(file.parents[1] / "photos"), "all")
    found = cache._load(file.with_suffix(""), len(samples), SIZE.mode, SIZE.size)
    if found is not None:
        assert len(found.errors) == len(found.digests) == len(samples)
        num = sum(not error for error in found.errors)
        assert found.pictures.squares(SIZE.size)[np.arange(num)].shape == (num, 3, 16, 16)


def _weights(file: Path) -> None:
    load_weights(network(), file)


def _toml(kind: type[Any]) -> Any:
    return lambda file: from_toml(file, kind)


def _audit(file: Path) -> None:
    audit(file, quiet=True)


_READERS: dict[str, tuple[Any, ...]] = {
    "images": (_picture, _bands),
    "manifests": (_data,),
    "datasets": (partial(_of, "hf-dataset"),),
    "shards": (_folder,),
    "idx": (partial(_of, "idx"),),
    "artefacts": (_artefact, _inspect, _run_by("torch")),
    "checkpoints": (_checkpoint,),
    "scans": (_scan,),
    "caches": (_cache,),
    "onnx": (_inspect, _run_by("onnxruntime"), _run_by("openvino")),
    "openvino": (_inspect, _run_by("openvino")),
    "programs": (_inspect, _run_by("torch")),
    "weights": (_weights,),
    "toml": (_toml(TrainConfig), _toml(ServeConfig), _toml(EvaluateConfig)),
    "answers": (_audit,),
}


def place(example: Any, data: bytes, folder: Path) -> Path:
    """Copy an example with one file harmed, and return that file."""
    shutil.copytree(example.folder, folder)
    file = folder / example.file
    file.write_bytes(data)
    return file
