"""State dicts of other packages and other shapes: made to fit, or refused with what is wrong."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from softonce import models
from softonce.errors import WeightsError
from softonce.models import create_model, load_weights
from softonce.models.state_dicts import LoadReport, StateDict, fit_, num_classes_of
from softonce.plurals import format_count

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def state() -> dict[str, Tensor]:
    return {key: tensor.clone() for key, tensor in models.cifar_resnet20().state_dict().items()}


def renamed(state: dict[str, Tensor], old: str, new: str) -> dict[str, Tensor]:
    return {re.sub(rf"(^|\.){old}\.", rf"\g<1>{new}.", key): state[key] for key in state}


def load(model: nn.Module, tensors: dict[str, Tensor]) -> LoadReport:
    return fit_(model, StateDict("a.pth", tensors), ())


def check_filled(model: nn.Module, state: dict[str, Tensor]) -> None:
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    "head",
    ["fc", "linear", "classifier", "head", "head.fc", "last_linear", "fc.1", "classifier.1"],
)
def test_other_names_of_the_head_are_understood(state: dict[str, Tensor], head: str) -> None:
    tensors = renamed(state, "fc", head)
    assert num_classes_of(tensors) == 10
    model = models.cifar_resnet20()
    report = load(model, tensors)
    assert (report.head_reinitialised, report.notes) == (False, ())
    check_filled(model, state)


def test_other_names_of_projections_are_understood() -> None:
    state = models.cifar_resnet20(shortcut="B").state_dict()
    model = models.cifar_resnet20(shortcut="B")
    load(model, renamed(renamed(state, "downsample", "shortcut"), "fc", "linear"))
    check_filled(model, state)


def test_a_head_of_several_layers_is_not_guessed_at(state: dict[str, Tensor]) -> None:
    tensors = renamed(state, "fc", "fc.0") | {"fc.2.weight": torch.zeros(2, 10)}
    tensors |= {"fc.2.bias": torch.zeros(2)}
    with pytest.raises(WeightsError, match=r"4 unexpected \(fc.0.weight, fc.0.bias, fc.2.weight, "):
        load(models.cifar_resnet20(), tensors)


def test_old_files_without_batch_counters_load(state: dict[str, Tensor]) -> None:
    tensors = {key: state[key] for key in state if not key.endswith("num_batches_tracked")}
    model = models.cifar_resnet20()
    load(model, tensors)
    check_filled(model, state)


def test_averages_bring_a_counter_that_is_left_out(state: dict[str, Tensor]) -> None:
    load(models.cifar_resnet20(), state | {"n_averaged": torch.tensor(3)})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_converted(state: dict[str, Tensor], dtype: torch.dtype) -> None:
    tensors = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}
    model = models.cifar_resnet20()
    load(model, tensors)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert torch.equal(model.conv1.weight, tensors["conv1.weight"].float())


def test_another_number_of_classes_starts_the_head_afresh(state: dict[str, Tensor]) -> None:
    model = models.cifar_resnet20(num_classes=3)
    nn.init.zeros_(model.fc.weight)
    report = load(model, state)
    assert report.head_reinitialised
    assert report.notes == ("a.pth has 10 classes, the model 3: the head starts afresh",)
    assert model.fc.weight.abs().sum() > 0
    assert torch.equal(model.layer3[2].conv2.weight, state["layer3.2.conv2.weight"])


def test_a_file_without_a_head_starts_it_afresh(state: dict[str, Tensor]) -> None:
    tensors = {key: state[key] for key in state if not key.startswith("fc.")}
    report = load(models.cifar_resnet20(num_classes=3), tensors)
    assert num_classes_of(tensors) is None
    assert report.notes == ("a.pth has no head: the head starts afresh",)


def test_half_a_head_is_an_error(state: dict[str, Tensor]) -> None:
    for key in ("fc.weight", "fc.bias"):
        tensors = {other: state[other] for other in state if other != key}
        with pytest.raises(WeightsError, match=rf"1 missing \({key}\)"):
            load(models.cifar_resnet20(), tensors)


def test_a_stem_for_colours_equals_its_sum_on_grey_images(state: dict[str, Tensor]) -> None:
    colour, grey = models.cifar_resnet20().eval(), models.cifar_resnet20(in_channels=1).eval()
    load(colour, state)
    report = load(grey, state)
    assert report.stem_fitted
    assert report.notes == (
        "the stem of a.pth takes 3 channels, the model 1: the filters were summed",
    )
    images = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(grey(images), colour(images.expand(-1, 3, -1, -1)))


def test_a_stem_for_colours_sees_the_same_in_colours_that_come_twice(
    state: dict[str, Tensor],
) -> None:
    colour, six = models.cifar_resnet20().eval(), models.cifar_resnet20(in_channels=6).eval()
    load(colour, state)
    assert "the model 6: the filters were repeated" in load(six, state).notes[0]
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(six(images.repeat(1, 2, 1, 1)), colour(images))


@pytest.mark.parametrize(("theirs", "ours"), [(1, 3), (4, 1), (5, 4)])
def test_other_numbers_of_channels_are_an_error(theirs: int, ours: int) -> None:
    state = models.cifar_resnet20(in_channels=theirs).state_dict()
    with pytest.raises(
        WeightsError, match=f"{format_count(ours, 'channel')}, found {theirs} in a.pth: build the"
    ):
        load(models.cifar_resnet20(in_channels=ours), dict(state))


def test_another_architecture_is_named(tmp_path: Path) -> None:
    torch.save(models.cifar_resnet32(num_classes=7).state_dict(), tmp_path / "a.pth")
    with pytest.raises(WeightsError) as caught:
        create_model("cifar_resnet20", weights=tmp_path / "a.pth")
    message = str(caught.value)
    assert message.startswith("expected the weights of cifar_resnet20, found in ")
    assert "72 unexpected (layer1.3.conv1.weight, layer1.3.bn1.weight, layer1.3.bn1.bias, ...)" in (
        message
    )
    assert message.endswith("they fit 'cifar_resnet32', built with its default options")


def test_shapes_that_differ_are_counted_and_shown(state: dict[str, Tensor]) -> None:
    tensors = state | {"bn1.weight": torch.ones(3), "fc.weight": torch.ones(10, 7)}
    message = (
        r"2 misshaped \(bn1.weight \(3,\) in place of \(16,\), fc.weight \(10, 7\) in place of "
        r"\(10, 64\)\): check which network, with which options"
    )
    with pytest.raises(WeightsError, match=message):
        load(models.cifar_resnet20(), tensors)


def test_a_tensor_that_pretends_to_be_huge_is_never_unfolded(state: dict[str, Tensor]) -> None:
    huge = torch.zeros(1).expand(1 << 20, 1 << 20, 3, 3)
    with pytest.raises(WeightsError, match=r"conv1.weight \(1048576, 1048576, 3, 3\)"):
        load(models.cifar_resnet20(), state | {"conv1.weight": huge})


def test_own_names_win_over_foreign_ones(tmp_path: Path) -> None:
    class Own(models.Network):
        def __init__(self) -> None:
            super().__init__()
            self.shortcut = nn.Sequential(nn.Linear(2, 2))
            self.linear = nn.Linear(2, 2)
            self.fc = nn.Linear(2, 2)

    ours, theirs = Own(), Own()
    save_file(theirs.state_dict(), tmp_path / "a.safetensors")
    load_weights(ours, tmp_path / "a.safetensors")
    check_filled(ours, theirs.state_dict())
