"""The CIFAR family: sizes of the paper, shortcuts, and a file of weights from the wild."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from softonce.errors import ArgumentError
from softonce.models import CifarResNet, architecture_of, cifar_resnet20, create_model, registry
from softonce.models.cifar import SubsampleAndPad

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "cifar_resnet20.th"

# He et al. 2015, table 6, and the exact counts of 16, 32, 64 planes with option A.
NUM_PARAMS = {
    20: (0.27, 269_722),
    32: (0.46, 464_154),
    44: (0.66, 658_586),
    56: (0.85, 853_018),
    110: (1.7, 1_727_962),
    1202: (19.4, 19_421_274),
}


def padded_slice(maps: torch.Tensor, pad: int) -> torch.Tensor:
    """Option A as the paper words it: every second pixel, and zeros in the new channels."""
    return F.pad(maps[:, :, ::2, ::2], (0, 0, 0, 0, pad, pad))


@pytest.mark.parametrize("depth", NUM_PARAMS)
def test_number_of_parameters_is_that_of_the_paper(depth: int) -> None:
    model = registry._skeleton(f"cifar_resnet{depth}")
    num_params = sum(parameter.numel() for parameter in model.parameters())
    millions, exact = NUM_PARAMS[depth]
    assert num_params == exact
    assert num_params / 1e6 == pytest.approx(millions, abs=0.05 if millions > 1 else 0.01)
    weighted = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len(weighted) == depth


def test_projections_add_their_parameters_only() -> None:
    keys = set(cifar_resnet20(shortcut="B").state_dict()) - set(cifar_resnet20().state_dict())
    assert {key.rpartition(".")[0] for key in keys} == {
        f"layer{stage}.0.downsample.{index}" for stage in (2, 3) for index in (0, 1)
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [8, 7, 1])
def test_shortcut_equals_the_padded_slice(size: int, dtype: torch.dtype) -> None:
    maps = torch.randn(2, 16, size, size + 2, dtype=dtype, requires_grad=True)
    shortcut = SubsampleAndPad(8)(maps)
    expected = padded_slice(maps, 8)
    assert torch.equal(shortcut, expected)
    cotangent = torch.randn_like(expected)
    (grad,) = torch.autograd.grad(shortcut, maps, cotangent)
    assert torch.equal(grad, torch.autograd.grad(expected, maps, cotangent)[0])


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_shortcuts_keep_channels_last(shortcut: str) -> None:
    model = cifar_resnet20(shortcut=shortcut).to(memory_format=torch.channels_last)
    maps: list[torch.Tensor] = []
    model.layer2[0].downsample.register_forward_hook(lambda *call: maps.append(call[2]))
    with torch.autocast("cpu", torch.bfloat16):
        model(torch.randn(2, 3, 32, 32).to(memory_format=torch.channels_last))
    assert maps[0].is_contiguous(memory_format=torch.channels_last)
    assert maps[0].dtype is torch.bfloat16


def test_shortcut_says_how_it_pads() -> None:
    assert repr(SubsampleAndPad(8)) == "SubsampleAndPad(pad=8)"


@pytest.mark.parametrize("size", [28, 32, 33])
def test_other_sizes_and_channels_work(size: int) -> None:
    model = cifar_resnet20(num_classes=7, in_channels=1).eval()
    assert model(torch.randn(2, 1, size, size)).shape == (2, 7)


def test_ten_classes_and_32_pixels_are_the_default() -> None:
    model = cifar_resnet20()
    assert model.fc.out_features == 10
    assert model.default_preprocessing.size == 32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shortcut": "C"}, "shortcut to be A or B, found 'C'"),
        ({"num_classes": -1}, "num_classes of at least 1, found -1"),
        ({"num_blocks": 0}, "num_blocks of at least 1, found 0"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        CifarResNet(**{"num_blocks": 1} | options)


@pytest.mark.skipif(not PUBLISHED.exists(), reason=f"no published weights at {PUBLISHED}")
def test_published_weights_of_another_implementation_load() -> None:
    model = create_model("cifar_resnet20", weights=PUBLISHED)
    theirs = torch.load(PUBLISHED, map_location="cpu", weights_only=True)["state_dict"]
    assert torch.equal(model.fc.weight, theirs["module.linear.weight"])
    assert torch.equal(model.layer3[2].bn2.running_var, theirs["module.layer3.2.bn2.running_var"])
    assert architecture_of(model) == ("cifar_resnet20", {"num_classes": 10, "in_channels": 3})
