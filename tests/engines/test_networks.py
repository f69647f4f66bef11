"""Artefacts and foreign weights become networks that give logits."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from softonce.artefact import Metadata, write_artefact
from softonce.data.loader import normalize
from softonce.engines import Flipped, open_engine, torch_engine
from softonce.engines.networks import build_network, load
from softonce.engines.torch_engine import TorchEngine
from softonce.errors import ArtefactError, ConfigError, UnknownNameError, WeightsError
from softonce.models import create_model
from softonce.models.network import architecture_of
from softonce.preprocessing import Preprocessing

if TYPE_CHECKING:
    from pathlib import Path

PIXELS = (
    torch.randint(256, (3, 3, 16, 16), generator=torch.Generator().manual_seed(0)).byte().numpy()
)
SQUARE = Preprocessing(size=16)


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    model = create_model("cifar_resnet20", num_classes=3, shortcut="B")
    with torch.no_grad():
        for _ in range(2):  # so that the statistics are not their initial values
            model(torch.randn(8, 3, 16, 16))
    return model.eval()


@pytest.fixture
def metadata(model: Any) -> Metadata:
    arch, arch_args = architecture_of(model)
    return Metadata(
        arch=arch, arch_args=arch_args, classes=("a", "b", "c"), preprocessing=SQUARE, temperature=2
    )


@pytest.fixture
def artefact(tmp_path: Path, model: Any, metadata: Metadata) -> Path:
    write_artefact(tmp_path / "model.safetensors", model.state_dict(), metadata)
    return tmp_path / "model.safetensors"


# artefacts


def test_a_loaded_artefact_gives_the_logits_of_the_model_that_was_written(
    artefact: Path, model: Any, metadata: Metadata
) -> None:
    found, found_metadata = load(str(artefact), device="cpu")
    assert found_metadata == metadata
    assert not found.training
    with torch.no_grad():
        expected = model(normalize(torch.from_numpy(PIXELS), SQUARE)).numpy()
    engine = open_engine(artefact, device="cpu", precision="float32")
    assert (engine.name, engine.metadata) == ("torch", metadata)
    np.testing.assert_allclose(engine.logits(PIXELS), expected, rtol=1e-4, atol=1e-5)


def test_a_flipped_engine_gives_the_mean_logits_of_a_picture_and_its_mirror_image(
    artefact: Path,
) -> None:
    engine = open_engine(artefact, device="cpu")
    mirrored = np.flip(PIXELS, -1).copy()
    plain, flipped = engine.logits(PIXELS), Flipped(engine)
    np.testing.assert_allclose(
        flipped.logits(PIXELS), (plain + engine.logits(mirrored)) / 2, rtol=1e-5
    )
    np.testing.assert_allclose(flipped.logits(PIXELS), flipped.logits(mirrored), rtol=1e-5)
    assert not np.allclose(plain, engine.logits(mirrored))


@pytest.mark.parametrize(
    ("precision", "is_native", "pays", "dtype"),
    [
        ("float32", True, True, torch.float32),
        ("bfloat16", False, False, torch.bfloat16),
        ("auto", True, True, torch.bfloat16),
        ("auto", True, False, torch.float32),
        ("auto", False, True, torch.float32),
    ],
)
def test_an_artefact_is_computed_as_asked_or_in_what_is_measured_to_be_faster(
    precision: Any,
    is_native: bool,
    pays: bool,
    dtype: torch.dtype,
    artefact: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def measured(compute: Any, num: int, **_: Any) -> bool:
        answers = [run(num) for run in compute.values()]
        assert [answer.shape for answer in answers] == [(num, 3)] * 2
        assert np.abs(answers[0] - answers[1]).max() < 0.2
        return pays

    monkeypatch.setattr(torch_engine, "has_native_bfloat16", lambda _: is_native)
    monkeypatch.setattr(torch_engine, "bfloat16_pays", measured)
    engine: Any = open_engine(artefact, device="cpu", precision=precision)
    assert next(engine.model.parameters()).dtype == dtype
    exact: Any = open_engine(artefact, device="cpu", exact=True)
    assert next(exact.model.parameters()).dtype == torch.float32
    np.testing.assert_allclose(engine.logits(PIXELS), exact.logits(PIXELS), atol=0.2)


def test_an_engine_gives_float32_whatever_the_network_computes_in(
    model: Any, metadata: Metadata
) -> None:
    class Half(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = copy.deepcopy(model).bfloat16()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.network(images.bfloat16())

    assert TorchEngine(Half(), metadata).logits(PIXELS).dtype == np.float32


@pytest.mark.parametrize(
    ("arch_args", "found"),
    [
        ({"num_classes": 4, "shortcut": "B"}, "size mismatch for fc"),
        ({"num_classes": 3, "shortcut": "A"}, "Unexpected key"),
        ({"num_classes": 3, "bogus": 1}, "unexpected keyword argument 'bogus'"),
    ],
    ids=str,
)
def test_an_artefact_whose_tensors_do_not_fit_is_said(
    artefact: Path, model: Any, metadata: Metadata, arch_args: dict[str, Any], found: str
) -> None:
    write_artefact(artefact, model.state_dict(), dataclasses.replace(metadata, arch_args=arch_args))
    with pytest.raises(ArtefactError, match=f"the tensors of cifar_resnet20 in .*{found}"):
        load(artefact)


def test_an_artefact_names_a_class_for_each_logit(
    artefact: Path, model: Any, metadata: Metadata
) -> None:
    changed = dataclasses.replace(metadata, classes=("a", "b"))
    write_artefact(artefact, model.state_dict(), changed)
    with pytest.raises(ArtefactError, match="expected 3 class names in .*, found 2"):
        load(artefact)


def test_an_artefact_of_an_unknown_architecture_is_said(
    artefact: Path, model: Any, metadata: Metadata
) -> None:
    changed = dataclasses.replace(metadata, arch="cifar_resnet21")
    write_artefact(artefact, model.state_dict(), changed)
    with pytest.raises(UnknownNameError, match="found 'cifar_resnet21'; the nearest names are: c"):
        load(artefact)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the device is there")
def test_a_device_that_is_not_there_is_said(artefact: Path) -> None:
    with pytest.raises(ConfigError, match="--device cuda, found no such device: use --device auto"):
        load(artefact, device="cuda")


# networks with weights


def build(weights: Path | None, **options: Any) -> tuple[Any, Preprocessing]:
    defaults: dict[str, Any] = {"num_classes": 3, "in_channels": 3}
    weights_name = None if weights is None else str(weights)
    return build_network("cifar_resnet20", weights=weights_name, **defaults | options)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    path = tmp_path / "weights.pth"
    torch.save(create_model("cifar_resnet20", num_classes=3).state_dict(), path)
    return path


def test_without_weights_the_network_says_what_it_expects() -> None:
    model, preprocessing = build(None, num_classes=5, in_channels=1)
    assert model.fc.out_features == 5
    assert preprocessing == model.default_preprocessing


def test_weights_fill_the_network(weights: Path) -> None:
    model, preprocessing = build(weights)
    expected = torch.load(weights)
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    assert preprocessing == model.default_preprocessing


def test_a_head_for_other_classes_starts_afresh_and_is_said(
    weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, _ = build(weights, num_classes=4)
    assert model.fc.out_features == 4
    assert torch.equal(model.conv1.weight, torch.load(weights)["conv1.weight"])
    assert "head" in caplog.text


def test_a_head_for_other_classes_is_refused_where_it_must_fit(weights: Path) -> None:
    with pytest.raises(WeightsError, match="weights for 4 classes, .* found a head for others in"):
        build(weights, num_classes=4, fresh_head=False)


def test_weights_of_another_architecture_are_refused(weights: Path) -> None:
    with pytest.raises(WeightsError, match="cifar_resnet20"):
        build_network("resnet18", num_classes=3, in_channels=3, weights=str(weights))
