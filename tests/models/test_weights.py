"""Records of published weights, and the ways to name them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from softonce import models
from softonce.errors import UnknownNameError, WeightsError
from softonce.models import (
    ResNet18_Weights,
    ResNet50_Weights,
    WeightsEnum,
    create_model,
    get_weight,
    imagenet_classes,
    list_models,
    list_weights,
    load_weights,
    registry,
    weights,
)
from softonce.preprocessing import Preprocessing

if TYPE_CHECKING:
    from pathlib import Path

RECORDS = [record for name in list_models() for record in list_weights(name)]


def test_seventeen_records_belong_to_ten_architectures() -> None:
    assert len(RECORDS) == 17
    assert {record.arch for record in RECORDS} == set(list_models()) - set(list_models("cifar*"))
    assert len({record.url for record in RECORDS}) == 17


def test_every_enum_is_public() -> None:
    assert {kind.__name__ for kind in WeightsEnum.__subclasses__()} == {
        name for name in models.__all__ if name.endswith("_Weights")
    }


@pytest.mark.parametrize("record", RECORDS, ids=str)
def test_records_agree_with_the_architecture(record: WeightsEnum) -> None:
    skeleton = registry._skeleton(record.arch)
    assert record.num_params == sum(parameter.numel() for parameter in skeleton.parameters())
    assert record.acc1 < record.acc5
    assert record.preprocessing == Preprocessing(size=224, resize=record.resize)
    assert len(record.classes) == skeleton.fc.out_features
    assert type(record).DEFAULT.acc1 >= record.acc1


def test_a_record_knows_its_address() -> None:
    assert (
        ResNet50_Weights.IMAGENET1K_V2.url
        == "https://download.pytorch.org/models/resnet50-11ad3fa6.pth"
    )


def test_default_is_another_name_of_the_best() -> None:
    assert ResNet50_Weights.DEFAULT is ResNet50_Weights.IMAGENET1K_V2
    assert get_weight("ResNet50_Weights.DEFAULT") is ResNet50_Weights["DEFAULT"]


def test_class_names_are_the_thousand_of_ilsvrc() -> None:
    names = imagenet_classes()
    assert len(set(names)) == len(names) == 1000
    assert (names[0], names[207], names[999]) == ("tench", "golden retriever", "toilet tissue")


def test_architectures_without_published_weights_have_an_empty_list() -> None:
    assert list_weights("cifar_resnet20") == []


@pytest.mark.parametrize(
    "name",
    [
        "DEFAULT",
        "IMAGENET1K_V2",
        "ResNet50_Weights.DEFAULT",
        "ResNet50_Weights.IMAGENET1K_V2",
        ResNet50_Weights.DEFAULT,
    ],
    ids=str,
)
def test_a_record_may_be_named_in_five_ways(name: str | WeightsEnum) -> None:
    assert weights.resolve("resnet50", name) is ResNet50_Weights.IMAGENET1K_V2


def test_a_full_name_needs_no_architecture() -> None:
    assert weights.resolve(None, "ResNet18_Weights.DEFAULT") is ResNet18_Weights.IMAGENET1K_V1


def test_an_unknown_record_gets_the_nearest_names() -> None:
    with pytest.raises(UnknownNameError, match=r"the nearest names are: ResNet50_Weights\.IMAG"):
        get_weight("ResNet50_Weights.IMAGENET1K_V3")


@pytest.mark.parametrize(
    ("arch", "name", "message"),
    [
        ("resnet50", "IMAGENET1K_V3", r"neither a record .*DEFAULT, one of ResNet50_Weights\.IMA"),
        ("resnet50", "ResNet18_Weights.DEFAULT", "IMAGENET1K_V1, which are of resnet18: use DEF"),
        ("resnet50", ResNet18_Weights.DEFAULT, "weights of resnet50, found ResNet18_Weights.IMA"),
        ("cifar_resnet20", "DEFAULT", "none is published, pass the path of a .pth or .safetensors"),
        (None, "DEFAULT", "expected weights of the model, found 'DEFAULT'"),
        ("resnet50", "nowhere.pth", "found 'nowhere.pth', which is neither a record nor an exist"),
    ],
)
def test_weights_that_are_none_are_refused(
    arch: str | None, name: str | WeightsEnum, message: str
) -> None:
    with pytest.raises(WeightsError, match=message):
        weights.resolve(arch, name)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in for the download of resnet18: half precision, as two published files are."""
    path = tmp_path / "resnet18-f37072fd.pth"
    state = models.resnet18().state_dict()
    torch.save({k: v.half() if v.is_floating_point() else v for k, v in state.items()}, path)

    def fetch(url: str, sha256: str, *, progress: bool) -> Path:
        assert (url, sha256) == (ResNet18_Weights.DEFAULT.url, "f37072fd")
        return path

    monkeypatch.setattr(weights, "fetch", fetch)
    return path


def test_a_record_brings_classes_and_preprocessing(published: Path) -> None:
    model = models.resnet18()
    report = load_weights(model, "DEFAULT")
    assert report.source == "ResNet18_Weights.IMAGENET1K_V1"
    assert report.classes == imagenet_classes()
    assert report.preprocessing == Preprocessing(size=224, resize=256)
    assert (report.head_reinitialised, report.stem_fitted, report.notes) == (False, False, ())
    stored = torch.load(published, weights_only=True)
    assert model.fc.weight.dtype is torch.float32
    assert torch.equal(model.fc.weight, stored["fc.weight"].float())


@pytest.mark.usefixtures("published")
def test_another_number_of_classes_takes_the_names_away() -> None:
    model = create_model("resnet18", num_classes=5)
    report = load_weights(model, ResNet18_Weights.DEFAULT)
    assert report.head_reinitialised
    assert report.classes is None
    assert report.notes == (
        "ResNet18_Weights.IMAGENET1K_V1 has 1,000 classes, the model 5: the head starts afresh",
    )


@pytest.mark.usefixtures("published")
def test_grey_images_get_a_grey_preprocessing() -> None:
    report = load_weights(create_model("resnet18", in_channels=1), "DEFAULT")
    assert report.stem_fitted
    assert report.preprocessing.mode == "L"
    assert report.preprocessing.mean == pytest.approx((0.449,))
    assert report.preprocessing.std == pytest.approx((0.226,))
