"""What real networks put out, in every format: logits without a softmax, probabilities with one."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn
from torchvision_beside import torchvision_or_skip

import softonce
from softonce.checker.graph import read_model
from softonce.checker.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CLASSES = 5
SIZE = 32


class Residual(nn.Module):
    """Sums of two affine layers: the last values before the head, and the scores themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.one, self.other, self.head = (nn.Linear(8, width) for width in (8, 8, CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images).mean((2, 3))
        x = self.one(x) + self.other(x)
        return self.head(x) - self.head(x.flip(1))


def own(name: str) -> nn.Module:
    return softonce.create_model(name, num_classes=CLASSES)


def from_torchvision(name: str) -> nn.Module:
    return torchvision_or_skip().models.get_model(name, num_classes=CLASSES)


def from_timm(name: str, **options: object) -> nn.Module:
    torchvision_or_skip()
    timm = pytest.importorskip("timm", reason="needs timm")
    return timm.create_model(name, num_classes=CLASSES, **options)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: own("resnet18"),
    "resnet50": lambda: own("resnet50"),
    "torchvision resnet18": lambda: from_torchvision("resnet18"),
    "torchvision mobilenet_v2": lambda: from_torchvision("mobilenet_v2"),
    "timm convnext": lambda: from_timm("convnext_atto"),
    "timm mobilenetv2": lambda: from_timm("mobilenetv2_035"),
    "timm vit": lambda: from_timm("vit_tiny_patch16_224", img_size=SIZE),
    "timm resnet10t": lambda: from_timm("resnet10t"),
}


def as_onnx(net: nn.Module, images: Tensor, folder: Path, *, dynamo: bool = False) -> Path:
    path = folder / "net.onnx"
    if dynamo:
        torch.onnx.export(net, (images,), path, dynamo=True, verbose=False)
    else:
        buffer = io.BytesIO()
        torch.onnx.export(net, (images,), buffer, dynamo=False, dynamic_axes={"x": {0: "batch"}},
                          input_names=["x"])  # fmt: skip
        path.write_bytes(buffer.getvalue())
    return path


def as_pt2(net: nn.Module, images: Tensor, folder: Path) -> Path:
    torch.export.save(torch.export.export(net, (images,)), folder / "net.pt2")
    return folder / "net.pt2"


def as_openvino(net: nn.Module, images: Tensor, folder: Path) -> Path:
    openvino = pytest.importorskip("openvino", reason="needs openvino")
    model = openvino.convert_model(str(as_onnx(net, images, folder)))
    openvino.save_model(model, folder / "net.xml")
    return folder / "net.xml"


def as_dynamo_onnx(net: nn.Module, images: Tensor, folder: Path) -> Path:
    return as_onnx(net, images, folder, dynamo=True)


FORMATS = [as_onnx, as_dynamo_onnx, as_pt2, as_openvino]


def check(net: nn.Module, folder: Path, write: Callable[[nn.Module, Tensor, Path], Path]) -> None:
    images = torch.zeros(2, 3, SIZE, SIZE)
    ends = ((nn.Identity(), Kind.LOGITS, None), (nn.Softmax(dim=1), Kind.P, -1))
    for end, kind, axis in ends:
        (output,) = read_model(write(nn.Sequential(net, end).eval(), images, folder)).outputs
        assert (output.kind, output.axis) == (kind, axis)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__)
def test_what_a_sum_of_layers_puts_out(write, tmp_path: Path) -> None:
    check(Residual(), tmp_path, write)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__)
@pytest.mark.parametrize("name", NETWORKS)
def test_what_a_network_puts_out(name: str, write, tmp_path: Path) -> None:
    check(NETWORKS[name](), tmp_path, write)
