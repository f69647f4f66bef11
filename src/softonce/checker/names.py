"""The one name of an operation: `softmax`, be it `F.softmax`, `x.softmax_` or `nn.Softmax`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softonce.checker.kinds import ROWS

if TYPE_CHECKING:
    from collections.abc import Mapping

# torch.nn class -> operation, if the class is not simply the operation in capitals.
MODULES: Mapping[str, str] = {
    "Softmax": "softmax",
    "Softmax2d": "softmax",
    "Softmin": "softmin",
    "LogSoftmax": "log_softmax",
    "Sigmoid": "sigmoid",
    "Hardsigmoid": "hardsigmoid",
    "LogSigmoid": "logsigmoid",
    "Tanh": "tanh",
    "Hardtanh": "hardtanh",
    "Softsign": "softsign",
    "ReLU": "relu",
    "ReLU6": "relu6",
    "Softplus": "softplus",
    "LeakyReLU": "leaky_relu",
    "PReLU": "prelu",
    "RReLU": "rrelu",
    **{name: name.lower() for name in ("ELU", "SELU", "CELU", "GELU", "SiLU", "Mish", "Hardswish")},
    "Linear": "linear",
    "LazyLinear": "linear",
    "Bilinear": "bilinear",
    **{f"Conv{d}d": f"conv{d}d" for d in (1, 2, 3)},
    **{f"LazyConv{d}d": f"conv{d}d" for d in (1, 2, 3)},
    **{f"ConvTranspose{d}d": f"conv_transpose{d}d" for d in (1, 2, 3)},
    **{f"BatchNorm{d}d": "batch_norm" for d in (1, 2, 3)},
    **{f"InstanceNorm{d}d": "instance_norm" for d in (1, 2, 3)},
    "LayerNorm": "layer_norm",
    "GroupNorm": "group_norm",
    **{f"{a}AvgPool{d}d": f"avg_pool{d}d" for d in (1, 2, 3) for a in ("", "Adaptive")},
    **{f"{a}MaxPool{d}d": f"max_pool{d}d" for d in (1, 2, 3) for a in ("", "Adaptive")},
    **{f"Dropout{d}": "dropout" for d in ("", "1d", "2d", "3d")},
    "AlphaDropout": "dropout",
    "Identity": "identity",
    "Flatten": "flatten",
    "Unflatten": "unflatten",
    "Upsample": "interpolate",
    "CrossEntropyLoss": "cross_entropy",
    "NLLLoss": "nll_loss",
    "NLLLoss2d": "nll_loss",
    "CTCLoss": "ctc_loss",
    "BCELoss": "binary_cross_entropy",
    "BCEWithLogitsLoss": "binary_cross_entropy_with_logits",
    "MultiLabelSoftMarginLoss": "multilabel_soft_margin_loss",
    "KLDivLoss": "kl_div",
}

_SYNONYMS: Mapping[str, str] = {
    "expit": "sigmoid",
    "multiply": "mul",
    "true_divide": "div",
    "divide": "div",
    "truediv": "div",
    "subtract": "sub",
    "rsub": "sub",
    "negative": "neg",
    "absolute": "abs",
    "clip": "clamp",
    "concat": "cat",
    "concatenate": "cat",
    "mm": "matmul",
    "bmm": "matmul",
    "greater": "gt",
    "greater_equal": "ge",
    "less": "lt",
    "less_equal": "le",
    "not_equal": "ne",
    "swapaxes": "transpose",
    "swapdims": "transpose",
    "moveaxis": "movedim",
    "upsample": "interpolate",
    "alpha_dropout": "dropout",
    "feature_dropout": "dropout",
    "dropout1d": "dropout",
    "dropout2d": "dropout",
    "dropout3d": "dropout",
    "arctanh": "atanh",
}


def canonical(name: str) -> str:
    """Return the one name of an operation: no underscores of dunder or in-place, no synonyms.

    Example:
        >>> [canonical(name) for name in ("sigmoid_", "__truediv__", "expit", "softmax")]
        ['sigmoid', 'div', 'sigmoid', 'softmax']
    """
    if name in ROWS:
        return name
    bare = name.strip("_") or name
    if bare.startswith("adaptive_"):
        bare = bare.removeprefix("adaptive_")
    return _SYNONYMS.get(bare, bare)
