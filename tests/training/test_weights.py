"""What a network starts from if nobody says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training.runs import small

from softonce import TrainConfig, create_model, train
from softonce.config.toml import from_toml
from softonce.models import weights as published
from softonce.training import weights
from softonce.training.recipes import recipe_names
from softonce.training.weights import with_weights

V1 = "ResNet18_Weights.IMAGENET1K_V1"


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Publish a fresh resnet18, and return the addresses that are fetched."""
    file, asked = tmp_path / "resnet18.pth", []
    torch.save(create_model("resnet18").state_dict(), file)

    def fetch(url: str, *_: object, **__: object) -> Path:
        asked.append(url)
        return file

    monkeypatch.setattr(weights, "fetch", fetch)
    monkeypatch.setattr(published, "fetch", fetch)
    return asked


def test_photographs_start_from_published_weights_and_it_is_said(
    photos: Path, tmp_path: Path, fetched: list[str], caplog
) -> None:
    caplog.set_level("INFO", logger="softonce")
    options = {"model": "resnet18", "recipe": "auto", "size": 72, "epochs": 1, "batch_size": 18}
    train(small(photos, tmp_path / "run", **options))
    assert set(fetched) == {"https://download.pytorch.org/models/resnet18-f37072fd.pth"}
    assert f"starting from {V1}; --weights none starts from nothing" in caplog.messages
    saved = from_toml(tmp_path / "run" / "config.toml", TrainConfig)
    assert (saved.weights, saved.recipe) == (V1, "finetune")


@pytest.mark.parametrize(
    "options",
    [
        {"weights": "none"},
        {"size": 64},
        {"model": "cifar_resnet20"},
        *({"recipe": name} for name in recipe_names() if "finetune" not in name),
    ],
    ids=str,
)
def test_who_refuses_them_or_has_small_pictures_starts_from_nothing(
    options, fetched: list[str], caplog
) -> None:
    caplog.set_level("INFO", logger="softonce")
    assert with_weights(TrainConfig("photos", **options)).weights == "none"
    assert fetched == []
    assert caplog.messages == []


def test_what_was_asked_for_is_kept(fetched: list[str]) -> None:
    assert with_weights(TrainConfig("photos", weights="mine.pth")).weights == "mine.pth"
    assert with_weights(TrainConfig("photos", recipe="finetune")).weights == V1


def test_without_a_network_one_line_says_so_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # with an empty cache
    assert with_weights(TrainConfig("photos")).weights == "none"
    assert len(caplog.messages) == 1
    for part in ("starting from nothing", V1, "check the connection", "--weights none asks for"):
        assert part in caplog.text
