"""Small foreign model files, made node by node: a classifier that tells colours apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

CLASSES = ("ants", "bees", "wasps")
SIDE = 8
PIXELS = np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)

Nodes = list[Any]


def node(op: str, inputs: Sequence[str], output: str, **options: Any) -> Any:
    return helper.make_node(op, list(inputs), [output], name=f"n/{output}", **options)


def network(
    num: int = 3, *, layout: str = "NCHW", gain: float = 4.0
) -> tuple[Nodes, dict[str, Any]]:
    """Return nodes from `x` to `z`: the mean of each channel, squashed, and one logit a class.

    The squashing makes that a picture scaled in another way is answered otherwise.
    """
    rng = np.random.default_rng(num)
    weight = gain * np.eye(3, dtype=np.float32) if num == 3 else rng.normal(0, gain, (3, num))
    arrays = {
        "slope": np.float32(20),
        "middle": np.full((1, 3), 0.47, np.float32),
        "weight": np.asarray(weight, np.float32),
        "bias": np.linspace(-0.1, 0.1, num, dtype=np.float32),
    }
    axes = [2, 3] if layout == "NCHW" else [1, 2]
    nodes = [
        node("ReduceMean", ["x"], "pooled", axes=axes, keepdims=0),
        node("Sub", ["pooled", "middle"], "centred"),
        node("Mul", ["centred", "slope"], "steep"),
        node("Tanh", ["steep"], "squashed"),
        node("Gemm", ["squashed", "weight", "bias"], "z"),
    ]
    return nodes, arrays


def write(
    path: Path,
    end: Nodes = (),
    *,
    num: int = 3,
    outputs: Sequence[str] = ("y",),
    layout: str = "NCHW",
    shape: Sequence[int | str] | None = None,
    dtype: int = TensorProto.FLOAT,
    start: Nodes = (),
    arrays: dict[str, Any] | None = None,
    about: dict[str, str] | None = None,
    opset: int = 13,
    gain: float = 4.0,
) -> Path:
    """Write a model file: `start` from the input `x0` to `x`, the network, `end` from `z`."""
    nodes, weights = network(num, layout=layout, gain=gain)
    sides = ["N", 3, SIDE, SIDE] if layout == "NCHW" else ["N", SIDE, SIDE, 3]
    weights |= arrays or {}
    graph = helper.make_graph(
        [*start, *nodes, *end],
        "foreign",
        [helper.make_tensor_value_info("x0" if start else "x", dtype, shape or sides)],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    model.producer_name = "other"
    helper.set_model_props(model, about or {"names": "{0: 'ants', 1: 'bees', 2: 'wasps'}"})
    onnx.save(model, path)
    return path


def ends() -> dict[str, tuple[Nodes, dict[str, Any]]]:
    """Return ways to end in one softmax or none, from `z` to `y`, with their constants."""
    kept = {"one": np.array([1]), "C": np.array([-1, 3])}
    total = node("ReduceSum", ["e", "one"], "t", keepdims=1)
    return {
        "logits": ([node("Identity", ["z"], "y")], {}),
        "softmax": ([node("Softmax", ["z"], "y")], {}),
        "softmax, then copies": (
            [
                node("Softmax", ["z"], "p"),
                node("Cast", ["p"], "c", to=TensorProto.FLOAT),
                node("Reshape", ["c", "C"], "r"),
                node("Identity", ["r"], "y"),
            ],
            kept,
        ),
        "log_softmax": ([node("LogSoftmax", ["z"], "y")], {}),
        "exp of log_softmax": ([node("LogSoftmax", ["z"], "l"), node("Exp", ["l"], "y")], {}),
        "log of softmax": ([node("Softmax", ["z"], "l"), node("Log", ["l"], "y")], {}),
        "percentages": (
            [node("Softmax", ["z"], "p"), node("Mul", ["p", "hundred"], "y")],
            {"hundred": np.float32(100)},
        ),
        "by hand": ([node("Exp", ["z"], "e"), total, node("Div", ["e", "t"], "y")], kept),
        "by hand, shifted": (
            [
                node("ReduceMax", ["z"], "m", axes=[1], keepdims=1),
                node("Sub", ["z", "m"], "s"),
                node("Exp", ["s"], "e"),
                total,
                node("Div", ["e", "t"], "y"),
            ],
            kept,
        ),
        "by hand, in another order": (
            [
                node("Exp", ["z"], "e"),
                node("ReduceSum", ["e", "one"], "t", keepdims=0),
                node("Unsqueeze", ["t", "one"], "u"),
                node("Expand", ["u", "same"], "w"),
                node("Div", ["e", "w"], "y"),
            ],
            kept | {"same": np.array([1, 3])},
        ),
        "by a reciprocal": (
            [
                node("Exp", ["z"], "e"),
                total,
                node("Reciprocal", ["t"], "i"),
                node("Mul", ["e", "i"], "y"),
            ],
            kept,
        ),
        "log_softmax by hand": (
            [
                node("Exp", ["z"], "e"),
                total,
                node("Log", ["t"], "l"),
                node("Sub", ["z", "l"], "y"),
            ],
            kept,
        ),
        "log_softmax by logsumexp": (
            [
                node("ReduceLogSumExp", ["z"], "l", axes=[1], keepdims=1),
                node("Sub", ["z", "l"], "y"),
            ],
            {},
        ),
        "two softmaxes": ([node("Softmax", ["z"], "p"), node("Softmax", ["p"], "y")], {}),
        "three softmaxes": (
            [
                node("Softmax", ["z"], "p"),
                node("Softmax", ["p"], "q"),
                node("Identity", ["q"], "i"),
                node("Softmax", ["i"], "y"),
            ],
            {},
        ),
        "softmax of a log_softmax": (
            [node("LogSoftmax", ["z"], "l"), node("Softmax", ["l"], "y")],
            {},
        ),
        "a mean of two softmaxes": (
            [
                node("Softmax", ["z"], "p"),
                node("Neg", ["z"], "o"),
                node("Softmax", ["o"], "q"),
                node("Add", ["p", "q"], "a"),
                node("Mul", ["a", "half"], "y"),
            ],
            {"half": np.float32(0.5)},
        ),
    }


def answers(path: Path, pixels: np.ndarray = PIXELS, output: str = "z") -> np.ndarray:
    """Return a value of the foreign graph, by ONNX Runtime alone, of pictures in [0, 1]."""
    model = onnx.load(path)
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(output))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    planes = pixels.transpose(0, 3, 1, 2).astype(np.float32) / 255
    return session.run([output], {session.get_inputs()[0].name: planes})[0]


def softmax(rows: np.ndarray) -> np.ndarray:
    powers = np.exp(rows.astype(np.float64) - rows.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def sigmoid(rows: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-rows.astype(np.float64)))
