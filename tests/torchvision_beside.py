"""torchvision's Python parts beside a torch for which it has no compiled operators.

Parity tests and benchmarks compare softonce with torchvision; the product never imports it. A wheel
of torchvision whose binary does not match the installed torch fails at import ("operator
torchvision::nms does not exist"). Models and transforms need none of the missing operators, so
declaring them is enough to import those parts, and timm after them.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from types import ModuleType

OPERATORS = (
    "nms",
    "qnms",
    "roi_align",
    "_roi_align_backward",
    "qroi_align",
    "ps_roi_align",
    "_ps_roi_align_backward",
    "roi_pool",
    "_roi_pool_backward",
    "ps_roi_pool",
    "_ps_roi_pool_backward",
    "deform_conv2d",
    "_deform_conv2d_backward",
)
_libraries: list[torch.library.Library] = []  # a library's operators live as long as it does


def load_torchvision() -> ModuleType:
    """Import torchvision, declaring its operators where its binary does not load.

    Raises:
        ImportError: where torchvision is not installed.
    """
    with warnings.catch_warnings(action="ignore"):
        try:
            return importlib.import_module("torchvision")
        except RuntimeError as error:
            if "torchvision::" not in str(error):
                raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        _declare_operators()
        return importlib.import_module("torchvision")


def torchvision_or_skip() -> ModuleType:
    """Import torchvision for the parity tests of a module; without it they are skipped.

    With the environment variable CI=true its absence is a failure, so that a run of the whole
    suite cannot pass by comparing nothing.
    """
    import pytest

    try:
        return load_torchvision()
    except ImportError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"parity needs torchvision: {error}", allow_module_level=True)


def _declare_operators() -> None:
    library = torch.library.Library("torchvision", "DEF")
    for operator in OPERATORS:
        library.define(f"{operator}(Tensor x) -> Tensor")
    _libraries.append(library)
