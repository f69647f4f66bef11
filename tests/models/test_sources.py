"""Networks by their spelling: timm's, torchvision's, transformers' and the caller's own."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision_beside import torchvision_or_skip

from softonce.cli.app import main
from softonce.data.loader import normalize
from softonce.errors import ArgumentError, MissingExtraError, UnknownNameError, WeightsError
from softonce.models import architecture_of, create_model
from softonce.models.listing import find_rows
from softonce.models.sources import SOURCES, packages_of, spelling_of
from softonce.prediction.predictor import Predictor

if TYPE_CHECKING:
    import sys
from pathlib import Path

torchvision = torchvision_or_skip()
timm = pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")

OWN = """
from torch import nn

class Tiny(nn.Module):
    def __init__(self, num_classes, in_channels=3, width=8):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 3, stride=2)
        self.out = nn.Linear(width, num_classes)

    def forward(self, images):
        return self.out(self.conv(images).relu().mean(dim=(2, 3)))

def no_module(num_classes):
    return [num_classes]

def no_classes():
    return nn.Identity()
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "nets.py"
    path.write_text(OWN)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of Hugging Face's with a tiny vision transformer of seven classes."""
    path = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.ViTConfig(
        **sizes, intermediate_size=32, image_size=32, patch_size=8, num_labels=7
    )
    transformers.ViTForImageClassification(config).save_pretrained(path)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(path)
    return path


def pixels(side: int, channels: int = 3) -> torch.Tensor:
    return torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(1))


# bit for bit what the library itself computes


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_efficientnet"])
def test_a_network_of_timm_is_timms_own(name: str) -> None:
    torch.manual_seed(0)
    expected = timm.create_model(name, num_classes=5).eval()
    torch.manual_seed(0)
    network = create_model(f"timm:{name}", num_classes=5).eval()
    side = network.default_preprocessing.size
    assert list(network.state_dict()) == list(expected.state_dict())
    assert torch.equal(network(pixels(side)), expected(pixels(side)))


def test_a_network_of_torchvision_is_torchvisions_own() -> None:
    torch.manual_seed(0)
    expected = torchvision.models.mobilenet_v3_small(num_classes=5).eval()
    torch.manual_seed(0)
    network = create_model("torchvision:mobilenet_v3_small", num_classes=5).eval()
    assert torch.equal(network(pixels(64)), expected(pixels(64)))


def test_a_network_of_transformers_is_its_own_with_its_weights(folder: Path) -> None:
    expected = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    network = create_model(f"hf:{folder}", weights="DEFAULT").eval()
    assert network.num_logits == 7
    assert torch.equal(network(pixels(32)), expected(pixels(32)).logits)
    fewer = create_model(f"hf:{folder}", weights="DEFAULT", num_classes=3)
    assert fewer.num_logits == 3
    name = "vit.embeddings.cls_token"
    assert torch.equal(fewer.state_dict()[name], expected.state_dict()[name])


def test_a_module_of_the_working_directory_is_found_and_the_path_left_as_it_was(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own.parent)
    before = list(sys.path)
    network = create_model(f"{own.stem}:Tiny", num_classes=5)
    monkeypatch.delitem(sys.modules, own.stem)
    assert (network.num_classes, sys.path) == (5, before)


def test_an_own_network_is_built_by_its_function(own: Path) -> None:
    network = create_model(f"{own}:Tiny", num_classes=5, in_channels=2, width=4)
    assert tuple(network(pixels(16, 2)).shape) == (2, 5)
    assert network.state_dict()["conv.weight"].shape == (4, 2, 3, 3)


@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("name", ["timm:test_vit", "torchvision:squeezenet1_1"])
def test_images_may_have_other_channels_and_another_size(name: str, channels: int) -> None:
    network = create_model(name, num_classes=3, in_channels=channels, size=64).eval()
    assert network.default_preprocessing.size == 64
    assert tuple(network(pixels(64, channels)).shape) == (2, 3)


def test_every_spelling_can_be_built_again_from_what_an_artefact_holds(
    own: Path, folder: Path
) -> None:
    for name in ("timm:test_vit", "torchvision:squeezenet1_1", f"hf:{folder}", f"{own}:Tiny"):
        network = create_model(name, num_classes=3, size=64)
        arch, arch_args = architecture_of(network)
        again = create_model(arch, **json.loads(json.dumps(arch_args)))
        again.load_state_dict(network.state_dict())
        assert torch.equal(again.eval()(pixels(64)), network.eval()(pixels(64))), name


# the preprocessing


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
    return small.resize((300, 230), Image.Resampling.BICUBIC)


def ours(network: Any, picture: Image.Image) -> torch.Tensor:
    seen = Predictor(_Engine(network.default_preprocessing)).prepare(lambda: picture)  # type: ignore[arg-type] # reads only the metadata
    return normalize(torch.from_numpy(np.asarray(seen)[None]), network.default_preprocessing)[0]


class _Engine:
    def __init__(self, preprocessing: Any) -> None:
        self.metadata = type("Metadata", (), {"preprocessing": preprocessing})


def test_the_pixels_are_those_of_timms_own_transform(picture: Image.Image) -> None:
    network = create_model("timm:test_vit")
    body: Any = network.backbone
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(body))
    assert (ours(network, picture) - transform(picture)).abs().max() < 1e-6


def test_the_pixels_are_those_of_the_weights_of_torchvision(picture: Image.Image) -> None:
    network = create_model("torchvision:mobilenet_v3_small")
    weights = torchvision.models.get_model_weights("mobilenet_v3_small").DEFAULT
    assert (ours(network, picture) - weights.transforms()(picture)).abs().max() < 1e-6


def test_the_pixels_are_those_of_the_image_processor_beside_the_weights(
    folder: Path, picture: Image.Image
) -> None:
    network = create_model(f"hf:{folder}")
    found = network.default_preprocessing
    assert (found.size, found.fit, found.mean) == (32, "squash", (0.5, 0.5, 0.5))


# bad input: one line each


def refused(name: str, **options: Any) -> str:
    with pytest.raises((ArgumentError, WeightsError, MissingExtraError)) as caught:
        create_model(name, **{"num_classes": 3} | options)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_what_cannot_be_built_is_said_in_one_line(own: Path, folder: Path) -> None:
    assert "nearest names are: resnet" in refused("timm:resnet5o")
    assert "softonce models 'timm:*' lists all" in refused("timm:0000")
    assert "the nearest names are" in refused("torchvision:mobilenet")
    assert "did you mean Tiny" in refused(f"{own}:tiny")
    assert "expected a torch.nn.Module from" in refused(f"{own}:no_module")
    assert "with the argument num_classes" in refused(f"{own}:no_classes")
    assert "found none: check the path" in refused("nothing.py:f")
    assert "FILE.py:FUNCTION" in refused("no_such_module:f")
    assert "does not answer" in refused("hf:nobody/nothing")
    assert "expected DEFAULT or a file" in refused("timm:test_vit", weights="V7")
    assert "name a file with --weights" in refused("timm:test_vit", checkpoint_path="x.pth")
    assert "can be built with" in refused("timm:test_vit", bogus=1)


def test_a_package_that_is_missing_is_one_line_with_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    assert 'pip install "softonce[timm]"' in refused("timm:test_vit")


def test_a_function_is_spelled_so_that_another_process_finds_it() -> None:
    assert spelling_of(nn.Identity) == "torch.nn.modules.linear:Identity"
    with pytest.raises(ArgumentError, match="pass the class, or a function"):
        spelling_of(nn.Identity())


# the list


def test_the_list_has_names_of_every_source_with_what_is_published(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = {row.name: row for row in find_rows("mobilenet_v3_small")}
    published = names["torchvision:mobilenet_v3_small"]
    assert (published.num_params, published.size) == (2_542_856, 224)
    assert published.accuracy == pytest.approx(67.668)
    assert find_rows("timm:test_vit")[0].num_params == sum(
        p.numel() for p in timm.create_model("test_vit").parameters()
    )
    assert main(["models", "timm:test_vit", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert "timm:test_vit" in {row["name"] for row in rows}
    with pytest.raises(UnknownNameError, match="nearest names are: convnext"):
        find_rows("timm:convnexxt_atto")
    assert main(["models"]) == 0
    assert "torchvision has" in capsys.readouterr().err


def test_versions_are_those_of_the_packages_that_a_network_comes_from() -> None:
    assert packages_of("timm:test_vit") == {"timm": timm.__version__}
    assert packages_of("nets.py:Tiny") == packages_of("resnet18") == {}
    assert set(SOURCES) == {"timm", "torchvision", "hf"}
