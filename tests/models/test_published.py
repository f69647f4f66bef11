"""Published weights of other libraries, from their own caches; what cannot fit is one line."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision_beside import torchvision_or_skip

import softonce
from softonce.artefact import Metadata, write_artefact
from softonce.data.images import to_square
from softonce.data.loader import normalize
from softonce.errors import ArgumentError, SoftonceError
from softonce.models import architecture_of, create_model
from softonce.preprocessing import Preprocessing

torchvision_or_skip()
timm = pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")
hub = pytest.importorskip("huggingface_hub")

NAME = "test_vit.r160_in1k"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a cache of the hub's that is offline and holds the weights of one network of timm."""
    folder = tmp_path / "hub"
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    repo = folder / f"models--timm--{NAME}"
    snapshot = repo / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("0" * 40)
    torch.manual_seed(3)
    state = timm.create_model("test_vit").state_dict()
    save_file(state, snapshot / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_published_weights_of_timm_come_from_its_cache(cache: Path) -> None:
    images = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(1))
    network = create_model(f"timm:{NAME}", weights="DEFAULT").eval()
    expected = timm.create_model(NAME, pretrained=True).eval()
    with torch.no_grad():
        assert torch.equal(network(images), expected(images))
    torch.manual_seed(3)
    assert torch.equal(network.state_dict()["pos_embed"], timm.create_model("test_vit").pos_embed)


@pytest.mark.slow
def test_training_starts_from_them_and_says_so(
    cache: Path, photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    softonce.train(
        photos, model=f"timm:{NAME}", probe=True, size=160, output=tmp_path / "run", workers=0,
        device="cpu",
    )  # fmt: skip
    assert f"starting from the published weights of timm:{NAME}; --weights none" in caplog.text
    artefact = softonce.Classifier.load(tmp_path / "run")
    torch.manual_seed(3)
    expected = timm.create_model("test_vit").state_dict()
    found = artefact.network.state_dict()
    assert all(
        torch.equal(found[name], value) for name, value in expected.items() if "head" not in name
    )


@pytest.mark.slow
def test_without_them_a_run_says_why_and_starts_from_nothing(
    cache: Path, photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    softonce.train(
        photos, model="timm:test_vit2.r160_in1k", probe=True, size=96, output=tmp_path / "run",
        workers=0, device="cpu",
    )  # fmt: skip
    assert "timm/test_vit2.r160_in1k is not in the cache, and HF_HUB_OFFLINE is set" in caplog.text


# Hugging Face


def hf_folder(path: Path, labels: tuple[str, ...] = ("ant", "bee", "wasp"), **options: Any) -> Any:
    torch.manual_seed(0)
    indices = {name: index for index, name in enumerate(labels)}
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        image_size=32, patch_size=8, id2label=dict(enumerate(labels)), label2id=indices,
    )  # fmt: skip
    model = transformers.ViTForImageClassification(config).eval()
    model.save_pretrained(path, **options)
    return model


def test_weights_in_several_files_are_read(tmp_path: Path) -> None:
    expected = hf_folder(tmp_path / "vit", max_shard_size="40KB")
    assert len(list((tmp_path / "vit").glob("model-*.safetensors"))) > 1
    network = create_model(f"hf:{tmp_path / 'vit'}", weights="DEFAULT").eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(images), expected(images).logits)


def test_label_names_come_along_and_classes_are_matched_by_them(
    tmp_path: Path, make_photos: Any
) -> None:
    expected = hf_folder(tmp_path / "vit", ("wasps", "hornets", "ants", "bees"))
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(
        tmp_path / "vit"
    )
    spelling = f"hf:{tmp_path / 'vit'}"
    network = create_model(spelling, weights="DEFAULT")
    assert network.classes == ("wasps", "hornets", "ants", "bees")
    for options in ({}, {"weights": "DEFAULT", "num_classes": 3}):  # a head of others
        assert create_model(spelling, **options).classes is None
    photos = make_photos(tmp_path / "photos/val", per_class=3).parent  # of ants, bees and wasps
    found = softonce.evaluate(photos, model=spelling, weights="DEFAULT", workers=0)
    samples = found.scan.samples
    assert samples.classes == network.classes
    for index in range(len(samples)):
        assert Path(samples.where(index)).parent.name == samples.classes[samples.target[index]]
    image = torch.from_numpy(
        to_square(Image.open(samples.where(0)), network.default_preprocessing)[None]
    )
    with torch.no_grad():
        logits = expected(normalize(image, network.default_preprocessing)).logits
    torch.testing.assert_close(found.logits[:1], logits)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("ants", "bees"), "expected classes in .* that the weights name, each once, found wasps"),
        (("ants", "bees", "wasps", "wasps"), "each once, found wasps: rename or remove them"),
        (("one", "two"), "expected the 2 classes of the weights in .*, found 3: use the data they"),
    ],
)
def test_classes_that_the_weights_do_not_know_are_refused(
    labels: tuple[str, ...], message: str, tmp_path: Path, make_photos: Any
) -> None:
    hf_folder(tmp_path / "vit", labels)
    photos = make_photos(tmp_path / "photos/val", per_class=2).parent
    with pytest.raises(SoftonceError, match=message):
        softonce.evaluate(photos, model=f"hf:{tmp_path / 'vit'}", weights="DEFAULT")


def test_without_names_in_common_the_order_counts(tmp_path: Path, make_photos: Any) -> None:
    hf_folder(tmp_path / "vit", ("n1", "n2", "n3"))
    photos = make_photos(tmp_path / "photos/val", per_class=2).parent
    found = softonce.evaluate(photos, model=f"hf:{tmp_path / 'vit'}", weights="DEFAULT")
    assert found.scan.samples.classes == ("ants", "bees", "wasps")


@pytest.mark.parametrize(
    "options",
    [
        {"size": {"height": 32, "width": 32}},
        {"size": {"height": 32, "width": 32}, "resample": 3, "image_mean": [0.1, 0.2, 0.3]},
    ],
    ids=["bilinear", "bicubic"],
)
def test_the_pixels_are_those_of_the_image_processor(
    options: dict[str, Any], tmp_path: Path
) -> None:
    hf_folder(tmp_path / "vit")
    processor = transformers.ViTImageProcessor(**options)
    processor.save_pretrained(tmp_path / "vit")
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
    picture = small.resize((300, 230), Image.Resampling.BICUBIC)
    seen = create_model(f"hf:{tmp_path / 'vit'}").default_preprocessing
    ours = normalize(torch.from_numpy(to_square(picture, seen)[None]), seen)[0]
    by_pillow = transformers.ViTImageProcessorPil(**options)(picture, return_tensors="pt")
    assert (ours - by_pillow["pixel_values"][0]).abs().max() < 1e-5
    # Its other backend is torch's resize of uint8, whose weights have 16 bits in place of
    # Pillow's 22: a value near a half goes to the other side.
    theirs = processor(picture, return_tensors="pt")["pixel_values"][0]
    pixels = torch.from_numpy(np.array(picture)).movedim(2, 0)[None]
    resized = torch.nn.functional.interpolate(
        pixels, (32, 32), mode=seen.interpolation, antialias=True
    )
    assert (normalize(resized, seen)[0] - theirs).abs().max() < 1e-5
    levels = (ours - theirs).abs() * 255 * torch.tensor(seen.std)[:, None, None]
    assert levels.max() < 1.001
    assert (levels > 0.5).double().mean() < 0.01


# what cannot be


class Maps(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, num_classes, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.conv(images)


class Fixed(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.out = nn.Linear(3 * 64 * 64, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.out(images.flatten(1))


def one_line(error: pytest.ExceptionInfo[SoftonceError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_maps_of_logits_are_refused_with_the_remedy(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"of shape \(N, 3\)") as caught:
        softonce.train(photos, model=Maps, size=16, output=tmp_path / "run", device="cpu")
    assert "pool over the places" in one_line(caught)
    assert not (tmp_path / "run").exists()


def test_a_network_of_another_size_names_what_it_was_given(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"images of shape \(3, 32, 32\)") as caught:
        softonce.train(photos, model=Fixed, size=32, output=tmp_path / "run", device="cpu")
    assert "give the size and the channels that it was made for" in one_line(caught)


def test_an_artefact_of_another_version_of_a_package_names_both(tmp_path: Path) -> None:
    network = create_model("timm:test_vit", num_classes=3)
    arch, arch_args = architecture_of(network)
    state = network.state_dict()
    state["blocks.0.of_an_older_timm"] = torch.ones(1)
    metadata = Metadata(
        arch=arch, arch_args=arch_args, classes=("a", "b", "c"),
        preprocessing=Preprocessing(size=160), packages={"timm": "0.1.2"},
    )  # fmt: skip
    write_artefact(tmp_path / "model.safetensors", state, metadata)
    with pytest.raises(SoftonceError, match=f"timm {timm.__version__} in place of 0.1.2") as caught:
        softonce.load(tmp_path / "model.safetensors")
    one_line(caught)


def test_an_artefact_whose_package_is_missing_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = create_model("timm:test_vit", num_classes=3)
    arch, arch_args = architecture_of(network)
    metadata = Metadata(
        arch=arch, arch_args=arch_args, classes=("a", "b", "c"),
        preprocessing=Preprocessing(size=160), packages={"timm": timm.__version__},
    )  # fmt: skip
    write_artefact(tmp_path / "model.safetensors", network.state_dict(), metadata)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(SoftonceError, match=r'pip install "softonce\[timm\]"') as caught:
        softonce.load(tmp_path / "model.safetensors")
    one_line(caught)
