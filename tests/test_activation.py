"""Where a network looked: the terms of its own logit, in their places, or none at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from softonce.artefact import Metadata
from softonce.data.images import to_square
from softonce.engines.engine import Flipped
from softonce.engines.networks import fold_batch_norm
from softonce.engines.torch_engine import TorchEngine
from softonce.models import create_model
from softonce.preprocessing import Preprocessing
from softonce.report import mistakes
from softonce.report.activation import activation_maps

GREY = {"mode": "L", "mean": (0.5,), "std": (0.5,)}


def engine_of(model: nn.Module, size: int, **options: object) -> TorchEngine:
    preprocessing = Preprocessing(size=size, **options)  # type: ignore[arg-type] # a test's own
    metadata = Metadata(
        arch="any", arch_args={}, classes=("a", "b", "c"), preprocessing=preprocessing
    )
    return TorchEngine(model.eval(), metadata)


def noise(num: int, size: int, channels: int = 3) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (num, channels, size, size), dtype=np.uint8)


class Looks(nn.Module):
    """Class 0 is in favour of bright places, class 1 of dark ones, class 2 of none."""

    def __init__(self, pool: nn.Module | None = None) -> None:
        super().__init__()
        self.pool = pool or nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(1, 3)
        self.fc.load_state_dict(
            {"weight": torch.tensor([[1.0], [-1.0], [0.0]]), "bias": torch.ones(3)}
        )

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.pool(images).flatten(1))
        return logits


def every_class(num: int, classes: int = 3) -> np.ndarray:
    return np.tile(np.arange(classes), (num, 1))


@pytest.mark.parametrize(
    ("name", "size"), [("cifar_resnet20", 32), ("resnet18", 64), ("resnext50_32x4d", 64)]
)
def test_a_map_is_the_logit_spread_over_its_places(name: str, size: int) -> None:
    engine = engine_of(create_model(name, num_classes=3), size)
    pixels = noise(2, size)
    maps = activation_maps(engine, pixels, every_class(2)).values
    assert maps is not None
    bias = engine.model.fc.bias.detach().numpy()  # type: ignore[union-attr] # a Linear
    assert maps.mean(axis=(2, 3)) + bias == pytest.approx(engine.logits(pixels), abs=1e-4)


def test_evidence_lies_where_it_was_put() -> None:
    pixels = np.zeros((1, 1, 8, 8), np.uint8)
    pixels[0, 0, 5, 2] = 255
    maps = activation_maps(engine_of(Looks(), 8, **GREY), pixels, np.array([[0, 1]])).values
    assert maps is not None
    assert np.unravel_index(maps[0, 0].argmax(), (8, 8)) == (5, 2)
    assert np.unravel_index(maps[0, 1].argmin(), (8, 8)) == (5, 2)


@pytest.mark.parametrize(
    "model",
    [
        Looks(nn.AdaptiveMaxPool2d(1)),
        Looks(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Tanh())),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 3)),
    ],
    ids=["max pooling", "something after the pooling", "no fc"],
)
def test_a_network_of_another_form_has_no_maps(model: nn.Module) -> None:
    bright = noise(2, 8, 1) | 128  # near grey, tanh is nearly what it gets
    found = activation_maps(engine_of(model, 8, **GREY), bright, every_class(2))
    assert found.values is None
    assert "global average pooling and a Linear head" in found.reason


def test_a_feature_map_of_one_place_says_nothing_of_places() -> None:
    engine = engine_of(create_model("resnet18", num_classes=3), 16)
    found = activation_maps(engine, noise(2, 16), every_class(2))
    assert found.values is None
    assert "one place" in found.reason


def test_an_exported_file_has_no_maps() -> None:
    class Exported:
        name = "onnxruntime"

    found = activation_maps(Exported(), noise(1, 8), every_class(1))  # type: ignore[arg-type] # as one
    assert found.values is None
    assert "exported file" in found.reason


def test_maps_of_averaged_mirror_images_spread_the_averaged_logit() -> None:
    engine = Flipped(engine_of(create_model("cifar_resnet20", num_classes=3), 32))
    pixels = noise(2, 32)
    maps = activation_maps(engine, pixels, every_class(2)).values
    assert maps is not None
    bias = engine.engine.model.fc.bias.detach().numpy()  # type: ignore[attr-defined] # a Linear
    assert maps.mean(axis=(2, 3)) + bias == pytest.approx(engine.logits(pixels), abs=1e-4)


def test_folded_networks_of_half_precision_have_maps_too() -> None:
    model = fold_batch_norm(create_model("cifar_resnet20", num_classes=3).eval()).bfloat16()
    found = activation_maps(engine_of(model, 32), noise(2, 32), every_class(2))
    assert found.values is not None
    assert found.values.dtype == np.float32


def test_the_network_is_left_as_it_was() -> None:
    model = create_model("cifar_resnet20", num_classes=3)
    activation_maps(engine_of(model, 32), noise(1, 32), every_class(1))
    assert not any(module._forward_pre_hooks for module in model.modules())


# what is drawn


@pytest.mark.parametrize("size", [(40, 30), (30, 40), (33, 33), (100, 21)])
@pytest.mark.parametrize(
    ("fit", "options"), [("crop", {}), ("crop", {"resize": 24}), ("pad", {}), ("squash", {})]
)
def test_the_frame_is_what_the_network_sees(
    fit: str, options: dict[str, int], size: tuple[int, int]
) -> None:
    """A picture that is white inside the frame only is a white square for the network."""
    preprocessing = Preprocessing(size=16, fit=fit, **GREY, **options)  # type: ignore[arg-type] # as above
    box = mistakes._seen_box(size, preprocessing)
    image = Image.new("L", size, 0)
    image.paste(255, box)
    seen = to_square(image, preprocessing)[0]
    inner = seen[2:-2, 2:-2]
    if fit == "pad":
        # The rest of the square is outside of the picture: the mean, here grey.
        assert box[2] - box[0] == max(size)
        assert set(np.unique(inner)) & {255}
    else:
        assert inner.min() == 255


@pytest.mark.parametrize("value", [0, 200, 255])
def test_a_picture_is_clear_where_the_evidence_is(value: int) -> None:
    picture = Image.new("RGB", (60, 40), (value, value, value))
    values = np.array([[0.0, 0.0], [0.0, 3.0]], np.float32)
    lit = np.asarray(mistakes._lit(picture, values, (10, 0, 50, 40)))[..., 0]
    assert lit[36, 46] == value
    assert lit[3, 13] == lit[20, 2]  # no evidence; not seen at all
    assert abs(int(lit[3, 13]) - value) > 50


@pytest.mark.parametrize("values", [[[2.0, 2.0]], [[0.0, 0.0]], [[-1.0, -3.0]]])
def test_every_map_can_be_drawn(values: Sequence[Sequence[float]]) -> None:
    picture = Image.new("RGB", (30, 30), "white")
    lit = np.asarray(mistakes._lit(picture, np.array(values, np.float32), (0, 0, 30, 30)))
    assert lit[1:-1, 1:-1].min() == 136  # a quarter white, the rest fog
