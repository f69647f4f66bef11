"""Foreign models adopted or refused: exports of torchvision, timm and transformers, and a folder.

The exports have random weights and small inputs, and are written here; `--folder` takes files of
other programs (`foreign_models.py` writes some, packages of the index hold others), with
`options.json` beside them: what `softonce adopt` is told of each. With `--data`, those files whose
options hold `"data": true` are adopted with these images.

    python benchmarks/adopt.py --folder DIR [--data PHOTOS]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from harness import report
from torch import nn

import softonce
from softonce.errors import SoftonceError

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
SIDE = 64


class Scores(nn.Module):
    """A transformers network whose only output are its logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor) -> Any:
        """Return the logits."""
        return self.model(pixels).logits


def _torchvision(name: str, **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import torchvision

        network: nn.Module = torchvision.models.get_model(name, num_classes=11, **options)
        return network

    return build


def _timm(name: str, **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import timm

        network: nn.Module = timm.create_model(name, num_classes=11, **options)
        return network

    return build


def _transformers(config: str, model: str, **options: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import transformers

        made = getattr(transformers, config)(num_labels=11, **options)
        return Scores(getattr(transformers, model)(made))

    return build


def _lite0() -> nn.Module:
    import efficientnet_lite0

    network = efficientnet_lite0.lite0()
    network.load_state_dict(torch.load(efficientnet_lite0.WEIGHTS, weights_only=True))
    return nn.Sequential(network, nn.Softmax(dim=1))


VIT = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 96}
VIT |= {"image_size": SIDE, "patch_size": 16}

EXPORTS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "torchvision resnet18": (_torchvision("resnet18"), SIDE),
    "torchvision mobilenet_v3_small": (_torchvision("mobilenet_v3_small"), SIDE),
    "torchvision squeezenet1_1": (_torchvision("squeezenet1_1"), SIDE),
    "torchvision shufflenet_v2_x0_5": (_torchvision("shufflenet_v2_x0_5"), SIDE),
    "torchvision vit, 32 px patches": (_torchvision("vit_b_32", image_size=SIDE), SIDE),
    "timm resnet10t": (_timm("resnet10t"), SIDE),
    "timm convnext_atto": (_timm("convnext_atto"), SIDE),
    "timm mobilenetv4_conv_small_035": (_timm("mobilenetv4_conv_small_035"), SIDE),
    "timm vit_tiny_patch16_224": (_timm("vit_tiny_patch16_224", img_size=SIDE), SIDE),
    "transformers ViT": (_transformers("ViTConfig", "ViTForImageClassification", **VIT), SIDE),
    "transformers ResNet": (
        _transformers(
            "ResNetConfig", "ResNetForImageClassification", embedding_size=16,
            hidden_sizes=[16, 32, 32, 64], depths=[1, 1, 1, 1], layer_type="basic",
        ),
        SIDE,
    ),
    "efficientnet-lite0, ImageNet's weights": (_lite0, 224),
}  # fmt: skip


def exported(folder: Path) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """Export each network: every second one with a softmax, every fourth with two."""
    for number, (name, (build, side)) in enumerate(EXPORTS.items()):
        torch.manual_seed(number)
        network = build().eval()
        if name.startswith(("torchvision", "timm", "transformers")) and number % 2:
            softmaxes = [nn.Softmax(dim=1)] * (2 if number % 4 == 3 else 1)
            network = nn.Sequential(network, *softmaxes)
            name += f", {len(softmaxes)} softmax" + "es" * (len(softmaxes) - 1)  # noqa: PLW2901 - the name of what is exported
        path = folder / f"{number}.onnx"
        size = {0: torch.export.Dim("batch")}
        with warnings.catch_warnings(action="ignore"):
            torch.onnx.export(
                network, (torch.rand(2, 3, side, side),), path, dynamic_shapes=(size,),
                verbose=False, external_data=False,
            )  # fmt: skip
        asked = {"head": "softmax"} if "squeezenet" in name else {}  # its scores went through ReLU
        yield name, path, IMAGENET | asked


def adopted(path: Path, options: dict[str, Any], data: Path | None, output: Path) -> dict[str, Any]:
    """Return what became of a file."""
    given = {name: value for name, value in options.items() if name != "data"}
    images = [data] if options.get("data") and data is not None else []
    try:
        found = softonce.adopt(path, *images, output=output, quiet=True, **given)
    except SoftonceError as error:
        return {"refused": str(error).replace(str(path), path.name)}
    pictures = found.agreement
    return {
        "classes": len(found.metadata.classes),
        "normaliser": found.metadata.normaliser,
        "scores": found.notes["scores"],
        "pixels": found.notes["pixels"].replace(str(data), "PHOTOS"),
        "temperature": round(found.metadata.temperature, 4),
        "pictures": f"{pictures.n}{'' if pictures.is_real else ' made-up'}",
        "probability_difference": float(f"{pictures.probs:.2e}"),
        "logit_difference": float(f"{pictures.logits:.2e}"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--folder-only", action="store_true", help="leave the exports out")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = () if asked.folder_only else exported(Path(folder))
        for name, path, options in (*files, *_of_folder(asked.folder)):
            found = adopted(path, options, asked.data, Path(folder) / f"own{path.suffix}")
            rows[name] = found
            print(f"{name:42} {found.get('refused') or found['probability_difference']}")
    kept = [row for row in rows.values() if "refused" not in row]
    largest = max(row["probability_difference"] for row in kept)
    figures = {"models": len(rows), "adopted": len(kept), "largest_difference": largest} | rows
    packages = ("torch", "torchvision", "timm", "transformers", "onnx", "onnxruntime")
    report("adopt", ratios={}, figures=figures, packages=packages)


def _of_folder(folder: Path | None) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    if folder is not None:
        options = json.loads((folder / "options.json").read_text())
        for name in sorted(options):
            yield name, folder / name, options[name]


if __name__ == "__main__":
    main()
