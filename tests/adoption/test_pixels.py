"""How pictures go in: by the input's shape and first nodes, a configuration beside, or measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MakePhotos
from foreign_files import CLASSES, SIDE, node, write
from onnx import TensorProto
from PIL import Image

from softonce import AdoptConfig, ArtefactError, ConfigError, DataError, adopt
from softonce.adoption.agreement import Original
from softonce.adoption.conventions import conventions
from softonce.adoption.entrance import find_entrance
from softonce.adoption.foreign import open_foreign
from softonce.adoption.head import find_head
from softonce.adoption.labelled import list_labelled
from softonce.adoption.scaling import settle_scaling

SOFTMAX = [node("Softmax", ["z"], "y")]
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory, make_photos: MakePhotos) -> Path:
    return make_photos(tmp_path_factory.mktemp("labelled") / "photos", per_class=8, size=(12, 9))


HIDDEN = [
    node("Conv", ["x0", "kernel", "offset"], "x"),
]


def trained_on(path: Path, mean: Any, std: Any, *, order: str = "RGB") -> Path:
    """Write a network that a convolution, not arithmetic, makes one for pixels scaled so."""
    kernel = np.diag(np.broadcast_to(np.asarray(std, np.float32), (3,)))
    offset = np.broadcast_to(np.asarray(mean, np.float32), (3,))
    if order == "BGR":
        kernel = kernel[:, ::-1]
    arrays = {"kernel": kernel[:, :, None, None].copy(), "offset": offset.copy()}
    return write(path, SOFTMAX, start=HIDDEN, arrays=arrays)


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return pictures whose colour tells the class most of the time."""
    rng, root = np.random.default_rng(0), tmp_path_factory.mktemp("varied")
    for index, name in enumerate(CLASSES):
        (root / name).mkdir()
        for number in range(200):
            colour = 105 + 40 * np.eye(3)[index] + rng.normal(0, 25, 3)
            pixels = np.broadcast_to(colour.clip(0, 255).astype(np.uint8), (SIDE, SIDE, 3))
            Image.fromarray(np.ascontiguousarray(pixels)).save(root / name / f"{number}.png")
    return root


@pytest.mark.parametrize("convention", conventions(3), ids=lambda each: each.name)
def test_labelled_images_show_how_pixels_are_scaled(
    convention: Any, varied: Path, tmp_path: Path
) -> None:
    path = trained_on(
        tmp_path / "other.onnx", convention.mean, convention.std, order=convention.order
    )
    config = AdoptConfig(path, varied)
    foreign = open_foreign(path)
    found = find_entrance(foreign, config)
    head = find_head(foreign.graph, asked=None, output=None)
    samples = list_labelled(config, None, 3)
    original = Original(foreign, head, found.entrance)
    scaled = settle_scaling(foreign, found, SIDE, config, original=original, samples=samples)
    preprocessing = scaled.preprocessing
    assert (preprocessing.mean, preprocessing.std) == (convention.mean, convention.std)
    assert scaled.order == convention.order
    assert f"{convention.name}, on 600 images" in scaled.note
    assert "standard errors of the NLL behind" in scaled.note


def test_images_without_a_margin_are_refused(labelled: Path, tmp_path: Path) -> None:
    """These are answered right with several scalings."""
    path = write(tmp_path / "other.onnx", SOFTMAX)
    with pytest.raises(
        DataError, match=r"3 standard errors ahead.*found 0\.\.1, RGB, on 24 images"
    ):
        adopt(path, labelled, quiet=True)
    assert not (tmp_path / "other-adopted.onnx").exists()


def test_images_that_show_nothing_are_refused(labelled: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "other.onnx", SOFTMAX, gain=0.0)
    with pytest.raises(DataError, match="better than chance.*--range, --mean and --std"):
        adopt(path, labelled, quiet=True)
    assert not (tmp_path / "other-adopted.onnx").exists()


def test_without_images_the_scaling_must_be_said(tmp_path: Path) -> None:
    path = write(tmp_path / "other.onnx", SOFTMAX)
    with pytest.raises(ConfigError, match=r"expected DATA, or --range, --mean and --std"):
        adopt(path, quiet=True)


def test_a_mean_is_given_in_the_range_and_the_order_of_the_network(tmp_path: Path) -> None:
    path = write(tmp_path / "other.onnx", SOFTMAX)
    found = adopt(
        path, range="0..255", mean=(104, 117, 123), channel_order="BGR", quiet=True
    ).metadata.preprocessing
    assert found.mean == pytest.approx((123 / 255, 117 / 255, 104 / 255))
    assert found.std == pytest.approx((1 / 255,) * 3)
    symmetric = adopt(path, range="-1..1", output=tmp_path / "b.onnx", quiet=True)
    assert symmetric.metadata.preprocessing.mean == (0.5,) * 3


@pytest.mark.parametrize(
    ("start", "arrays", "expected"),
    [
        ([node("Div", ["x0", "d"], "x")], {"d": np.float32(255)}, (0.0, 1 / 255)),
        (
            [node("Mul", ["x0", "k"], "t"), node("Sub", ["t", "one"], "x")],
            {"k": np.float32(1 / 127.5), "one": np.float32(1)},
            (0.0, 1 / 255),
        ),
        (
            [node("Sub", ["x0", "m"], "t"), node("Div", ["t", "s"], "x")],
            {
                k: np.reshape(np.float32(v), (1, 3, 1, 1))
                for k, v in zip("ms", IMAGENET.values(), strict=True)
            },
            (0.0, 1.0),
        ),
        (
            [node("Sub", ["x0", "m"], "x")],
            {"m": np.reshape(np.float32([123.68, 116.779, 103.939]), (1, 3, 1, 1))},
            (0.0, 1 / 255),
        ),
    ],
    ids=["by 255", "to -1..1", "ImageNet's", "Caffe's"],
)
def test_a_scaling_in_the_graph_is_read(
    start: list, arrays: dict, expected: tuple[float, float], tmp_path: Path
) -> None:
    path = write(tmp_path / "other.onnx", SOFTMAX, start=start, arrays=arrays)
    adopted = adopt(path, quiet=True)
    found = adopted.metadata.preprocessing
    assert (found.mean[0], found.std[0]) == expected
    assert start[0].name in adopted.notes["pixels"]


def test_means_in_the_graph_that_begin_with_blue_tell_the_order(tmp_path: Path) -> None:
    means = np.reshape(np.float32([103.939, 116.779, 123.68]), (1, 3, 1, 1))
    path = write(
        tmp_path / "other.onnx", SOFTMAX, start=[node("Sub", ["x0", "m"], "x")], arrays={"m": means}
    )
    assert ", BGR, " in adopt(path, quiet=True).notes["pixels"]


def test_the_axes_may_lie_in_either_order(labelled: Path, tmp_path: Path) -> None:
    last = write(tmp_path / "last.onnx", SOFTMAX, layout="NHWC")
    adopted = adopt(last, labelled, range="0..1", quiet=True)
    assert adopted.classifier.evaluate(labelled, workers=0).figures.top1 == 1.0


def test_integer_pixels_go_in_as_they_are(labelled: Path, tmp_path: Path) -> None:
    start = [node("Cast", ["x0"], "t", to=TensorProto.FLOAT), node("Div", ["t", "d"], "x")]
    path = write(
        tmp_path / "other.onnx",
        SOFTMAX,
        start=start,
        arrays={"d": np.float32(255)},
        dtype=TensorProto.UINT8,
    )
    adopted = adopt(path, labelled, quiet=True)
    assert adopted.metadata.preprocessing.is_raw
    assert adopted.classifier.evaluate(labelled, workers=0).figures.top1 == 1.0


@pytest.mark.parametrize("batch", [1, 4])
def test_a_fixed_number_of_pictures_is_no_limit(batch: int, labelled: Path, tmp_path: Path) -> None:
    """The graph's shapes forbid any other number."""
    end = [node("Reshape", ["z", "shape"], "r"), node("Softmax", ["r"], "y")]
    path = write(
        tmp_path / "other.onnx",
        end,
        shape=[batch, 3, SIDE, SIDE],
        arrays={"shape": np.array([batch, 3])},
    )
    adopted = adopt(path, labelled, range="0..1", quiet=True)
    assert adopted.classifier.evaluate(labelled, workers=0).figures.top1 == 1.0
    free = write(tmp_path / "free.onnx", SOFTMAX, shape=[batch, 3, SIDE, SIDE])
    import onnx

    made = onnx.load(adopt(free, range="0..1", quiet=True).file)
    assert made.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


@pytest.mark.parametrize(
    ("shape", "options", "error", "reason"),
    [
        (["N", 3, 8, 9], {}, ArtefactError, "square pictures"),
        (["N", 3, "H", "W"], {}, ConfigError, "--size"),
        (["N", 2048], {}, ArtefactError, "a row of numbers"),
        (["N", 3, 8, 8, 8], {}, ArtefactError, "not an image classifier"),
        (["N", 3, 8, 8], {"size": 9}, ConfigError, "--size 8"),
        (["N", 3, 8, 8], {"mode": "L"}, ConfigError, "--mode"),
    ],
)
def test_an_input_that_takes_no_square_pictures_is_refused(
    shape: list, options: dict, error: type, reason: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "other.onnx", SOFTMAX, shape=shape)
    with pytest.raises(error, match=reason):
        adopt(path, range="0..1", quiet=True, **options)


def test_a_configuration_beside_the_file_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "other.onnx", SOFTMAX)
    record = {
        "do_normalize": True, "do_rescale": True, "do_resize": True, "rescale_factor": 1 / 255,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "resample": 3,
        "size": {"height": 8, "width": 8},
    }  # fmt: skip
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(record))
    found = adopt(path, quiet=True).metadata.preprocessing
    assert (found.mean, found.interpolation, found.fit) == ((0.5,) * 3, "bicubic", "squash")
    (tmp_path / "preprocessor_config.json").unlink()
    timm = {"mean": [0.4, 0.4, 0.4], "std": [0.2] * 3, "crop_pct": 0.8, "input_size": [3, 8, 8]}
    (tmp_path / "config.json").write_text(json.dumps({"pretrained_cfg": timm}))
    found = adopt(path, quiet=True).metadata.preprocessing
    assert (found.mean[0], found.resize, found.interpolation) == (0.4, 10, "bicubic")


def test_class_names_come_from_a_list_the_file_or_the_folders(
    labelled: Path, tmp_path: Path
) -> None:
    path = write(tmp_path / "other.onnx", SOFTMAX)
    assert adopt(path, range="0..1", quiet=True).metadata.classes == CLASSES
    (tmp_path / "names.json").write_text('{"c": 2, "a": 0, "b": 1}')
    listed = adopt(path, range="0..1", classes=tmp_path / "names.json", quiet=True)
    assert listed.metadata.classes == ("a", "b", "c")
    (tmp_path / "short.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match="expected 3 class names"):
        adopt(path, range="0..1", classes=tmp_path / "short.txt", quiet=True)
    bare = write(tmp_path / "bare.onnx", SOFTMAX, about={"nothing": ""})
    assert adopt(bare, range="0..1", quiet=True).metadata.classes == ("0", "1", "2")
    by_folders = adopt(bare, labelled, range="0..1", quiet=True)
    assert by_folders.metadata.classes == CLASSES
    assert "in this order" in by_folders.notes["classes"]
