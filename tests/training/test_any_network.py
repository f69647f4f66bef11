"""Architectures of every source through train, resume, evaluate, predict, export and inspect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from serving.service_beside import raw, running
from torchvision_beside import torchvision_or_skip
from training.runs import planned, small

import softonce
from softonce.checker.graph import read_model
from softonce.checker.kinds import Kind
from softonce.cli.app import main
from softonce.engines import open_engine
from softonce.errors import ArgumentError, ConfigError
from softonce.models import create_model
from softonce.models.adapted import AdaptedNetwork
from softonce.training import head_loss
from softonce.training.layers import layers_of
from softonce.training.optim import parameter_groups

torchvision_or_skip()
timm = pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")

OWN = """
from torch import nn

class Own(nn.Module):
    def __init__(self, num_classes, in_channels=3):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(in_channels, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(16, num_classes)

    def forward(self, images):
        return {"logits": self.classifier(self.pool(self.stem(images)).flatten(1))}
"""
QUICK = {"timm:test_vit": 32, "torchvision:squeezenet1_1": 64, "hf": 32, "own": 32}
"""The quickest of each source."""
ALL = {
    "timm:resnet10t": 32,
    "timm:convnext_atto": 32,
    "timm:vit_tiny_patch16_224": 32,
    "timm:swin_tiny_patch4_window7_224": 64,
    "timm:mobilenetv3_small_050": 32,
    "timm:efficientnet_lite0": 32,
    "timm:regnetx_002": 32,
    "timm:mixer_s32_224": 64,
    "timm:deit_tiny_distilled_patch16_224": 32,
    "timm:inception_v3": 96,
    "torchvision:squeezenet1_1": 64,
    "hf": 32,
    "own": 32,
}


def spelled(name: str, folder: Path) -> str:
    """Return the spelling of a network, whose file or folder is made where it needs one."""
    if name == "own":
        # Of a name of its own: of two files of one name that are loaded, neither is chosen.
        file = folder / f"{folder.name}.py"
        file.write_text(OWN)
        return f"{file}:Own"
    if name == "hf":
        config = transformers.ViTConfig(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
            image_size=32, patch_size=8,
        )  # fmt: skip
        config.save_pretrained(folder / "vit")
        return f"hf:{folder / 'vit'}"
    return name


def trained(name: str, size: int, photos: Path, folder: Path, **options: Any) -> Any:
    asked = {"epochs": 1, "batch_size": 18, "weights": "none", "device": "cpu"} | options
    model = spelled(name, folder)
    return softonce.train(
        small(photos, folder / "run", model=model, size=size, quiet=True, **asked)
    )


def check_service(run: Path, photo: Path) -> None:
    """Check that a service answers with the prediction of the run's classifier."""
    (expected,) = softonce.Classifier.load(run).predict(photo)
    with running(open_engine(run)) as client:
        (record,) = raw(client, photo.read_bytes()).json()["predictions"]
    assert record["class"] == expected.pred
    assert record["prob"] == pytest.approx(expected.prob, rel=1e-3)


def check_run(made: Any, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Check that a run resumes, and that its classifier evaluates and predicts alike."""
    run = made.run
    more = softonce.train(resume=run, epochs=2, quiet=True)
    assert [row["epoch"] for row in more.history if row["split"] == "val"] == [1, 2]
    evaluation = softonce.evaluate(run, photos)
    assert evaluation.figures.n == 15
    (photo,) = more.classifier.predict(photos / "val/ants/00.jpg")
    if more.classifier.metadata.packages:  # an own network's code is trusted elsewhere
        check_service(run, photos / "val/ants/00.jpg")
    network = more.classifier.network
    with torch.no_grad():
        logits = network(more.classifier.preprocess(photos / "val/ants/00.jpg")[None])
    assert photo.top[0]["logit"] == pytest.approx(logits.max().item(), rel=1e-3, abs=1e-3)
    assert main(["inspect", str(run), "--expect", "logits", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["arch_args"]["num_classes"] == 3


@pytest.mark.parametrize("name", QUICK)
def test_a_network_goes_all_the_way_to_a_prediction(
    name: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_run(trained(name, QUICK[name], photos, tmp_path, layer_decay=0.5), photos, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_every_architecture_trains_resumes_and_exports_with_parity(
    name: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = trained(name, ALL[name], photos, tmp_path, head_epochs=0, layer_decay=0.9)
    check_run(made, photos, capsys)
    for form in ("onnx", "torch"):
        exported = made.classifier.export(form)
        assert exported.is_written, exported.parity.failures
        assert exported.parity.same_pixels < 1e-4
        outputs = {output.name: output.kind for output in read_model(exported.file).outputs}
        # SqueezeNet's end in a ReLU.
        assert outputs["logits"] in (Kind.LOGITS, Kind.NONNEG)
        assert outputs["probs"] == Kind.P


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hf", "timm:test_convnext"])
def test_the_other_formats_and_the_report_know_it_too(
    name: str, photos: Path, tmp_path: Path
) -> None:
    made = trained(name, 32, photos, tmp_path, head_epochs=0)
    assert made.classifier.metadata.arch in made.report.read_text()
    for to, precision in (("openvino", "fp32"), ("onnx", "int8")):
        file = tmp_path / precision / f"model{'.xml' if to == 'openvino' else '.onnx'}"
        file.parent.mkdir()
        exported = made.classifier.export(to, file, precision=precision, data=photos, force=True)
        assert softonce.evaluate(exported.file, photos).figures.n == 15
        assert exported.parity.agreement > 0.6  # of a network that has hardly learned, in int8
    assert softonce.Classifier.load(tmp_path / "fp32/model.xml").predict(photos / "val").rows


@pytest.mark.slow
def test_a_network_with_many_logits_learns_alike(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = []
    for name in ("plain", "blocks"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(head_loss, "MANY_LOGITS", 1 if name == "blocks" else 2**20)
        made = trained("hf", 32, photos, tmp_path / name, epochs=2)
        losses.append([row["loss"] for row in made.history if row["split"] == "train"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


# what training asks of a network


def test_stochastic_depth_and_checkpointing_are_the_librarys_own(
    photos: Path, tmp_path: Path
) -> None:
    options = {"stochastic_depth": 0.2, "grad_checkpointing": True, "model_ema": True}
    trained("timm:test_vit", 32, photos, tmp_path, **options)
    network = create_model("timm:test_vit", drop_path=0.2)
    rates = [getattr(module, "drop_prob", 0.0) for module in network.modules()]
    assert max(rates) == pytest.approx(0.2)
    with pytest.raises(ArgumentError, match="leave --stochastic-depth out"):
        trained("own", 32, photos, tmp_path, stochastic_depth=0.2, overwrite=True)
    with pytest.raises(ConfigError, match="leave these options out"):
        trained("own", 32, photos, tmp_path, grad_checkpointing=True, overwrite=True)


def test_rates_fall_from_the_head_to_the_stem_by_the_networks_own_order() -> None:
    network = create_model("timm:test_vit", num_classes=3, size=32)
    assert isinstance(network, AdaptedNetwork)
    layers = layers_of(network)
    groups = parameter_groups(layers, planned(layer_decay=0.5, weight_decay=0.1))
    scale = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert scale.keys() == {id(p) for p in network.parameters()}
    named = dict(network.body.named_parameters())
    rates = [scale[id(named[f"{part}.weight"])] for part in ("head", "norm")]
    blocks = sorted({scale[id(p)] for n, p in named.items() if n.startswith("blocks.")})
    assert rates == [1.0, 0.5]
    assert blocks == [0.5 ** (len(blocks) + 1 - n) for n in range(len(blocks))]
    assert scale[id(named["pos_embed"])] == min(scale.values()) < blocks[0]
    assert decay[id(named["pos_embed"])] == 0.0 != decay[id(named["head.weight"])]


def test_a_frozen_backbone_changes_the_head_and_nothing_else(photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = trained("timm:test_vit", 32, photos, tmp_path, freeze="backbone", seed=0)
    torch.manual_seed(0)
    before = create_model("timm:test_vit", num_classes=3, size=32).state_dict()
    after = made.classifier.network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"head.weight", "head.bias"}
