"""What a network makes of pictures before its head: as an array, as .npz, as parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import softonce
from softonce.artefact import Metadata, write_artefact
from softonce.cli.app import main
from softonce.errors import ArgumentError, ArtefactError, ConfigError, DataError
from softonce.models import architecture_of, create_model
from softonce.prediction.features import write_features
from softonce.preprocessing import Preprocessing


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = create_model("cifar_resnet20", num_classes=3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # as of a network that has seen images
            module.running_mean.normal_()
    arch, arch_args = architecture_of(model)
    metadata = Metadata(
        arch=arch, arch_args=arch_args, classes=("ants", "bees", "wasps"),
        preprocessing=Preprocessing(size=16, resize=18),
    )  # fmt: skip
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    write_artefact(path, model.state_dict(), metadata)
    return path


def test_the_head_of_the_features_gives_the_logits(artefact: Path, photos: Path) -> None:
    classifier = softonce.Classifier.load(artefact)
    features = classifier.features(photos / "val", batch_size=4)
    assert features.shape == (15, 64)
    assert features.dtype == np.float32
    with torch.no_grad():
        logits = classifier.network.fc(torch.from_numpy(features))
    expected = np.stack([row.logits for row in classifier.predict(photos / "val")])
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_a_file_has_the_features_with_their_paths(
    suffix: str, artefact: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, bad = tmp_path / f"features{suffix}", tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    named = [str(photos / "val" / "ants"), str(bad), str(photos / "val" / "bees")]
    options = ["--emit", "features", "-o", str(file), "--batch-size", "4"]
    assert main(["predict", str(artefact), *named, *options]) == 1
    printed, said = capsys.readouterr()
    assert printed == f"features of 10 images, 64 values each: {file}\n"
    assert f"left out {bad}: " in said
    if suffix == ".npz":
        with np.load(file, allow_pickle=False) as arrays:
            features, paths = arrays["features"], arrays["path"].tolist()
    else:
        from pyarrow import parquet

        table = parquet.read_table(file).to_pydict()
        features, paths = np.array(table["features"], np.float32), table["path"]
    expected = softonce.Classifier.load(artefact).features([named[0], named[2]])
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-5)
    assert paths == [str(path) for name in ("ants", "bees") for path in sorted(
        (photos / "val" / name).iterdir()
    )]  # fmt: skip


def test_a_picture_that_cannot_be_read_is_an_error_of_an_array(
    artefact: Path, photos: Path
) -> None:
    classifier = softonce.Classifier.load(artefact)
    with pytest.raises(DataError, match="found .*gone.jpg: .*; leave it out"):
        classifier.features([photos / "val", "gone.jpg"])
    with pytest.raises(ArgumentError, match="expected images"):
        classifier.features([])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"emit": "features"}, "FILE.npz or FILE.parquet"),
        ({"emit": "features", "output": "f.csv"}, "FILE.npz or FILE.parquet"),
        ({"output": "f.npz"}, "--emit features with --output"),
        ({"emit": "features", "output": "f.npz", "tta": "flip"}, "no --tta"),
        ({"emit": "features", "output": "f.npz", "format": "csv"}, "no --format"),
        ({"emit": "features", "output": "f.npz", "show": "folder"}, "no --show"),
        ({"emit": "features", "output": "f.npz", "engine": "openvino"}, "--engine torch"),
    ],
)
def test_what_has_no_meaning_is_refused_by_name(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        softonce.PredictConfig(Path("model.safetensors"), ("a.jpg",), **options)


def test_an_exported_file_has_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    command = ["predict", str(tmp_path / "model.onnx"), "a.jpg", "--emit", "features"]
    assert main([*command, "-o", str(tmp_path / "f.npz")]) == 2
    assert "expected an artefact for features" in capsys.readouterr().err
    assert not (tmp_path / "f.npz").exists()


def test_nothing_is_written_if_nothing_can_be_read(artefact: Path, tmp_path: Path) -> None:
    file = tmp_path / "f.npz"
    config = softonce.PredictConfig(
        artefact, (tmp_path / "gone.jpg",), emit="features", output=file
    )
    with pytest.raises(DataError, match="found none: .*gone.jpg"):
        write_features(config)
    assert not file.exists()
    with pytest.raises(ConfigError, match="Classifier.features"):
        list(softonce.predict(config))
    with pytest.raises(ArtefactError, match="found nothing"):
        softonce.Classifier.load(tmp_path / "gone.safetensors")
