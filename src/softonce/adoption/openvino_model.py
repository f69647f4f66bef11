"""OpenVINO: the foreign graph run as it is, and written between our preprocessing and a softmax."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from softonce.adoption.bounds import MAX_BYTES, MAX_ELEMENTS, MAX_MEMORY, bounded_memory
from softonce.adoption.head import SMALLEST
from softonce.checker.graph.openvino_file import parse
from softonce.engines.openvino_engine import read_file
from softonce.errors import ArtefactError, describe_error, import_extra

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from softonce.adoption.foreign import Entrance, Plan, Run
    from softonce.checker.graph.nodes import Graph

_EXACT = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
"""OpenVINO's own choice is bfloat16 if the processor has it."""

_UNBOUNDED = frozenset({"Loop", "TensorIterator", "While"})
"""They repeat a graph as often as a number says that the file computes."""


@dataclass(frozen=True)
class OpenVinoModel:
    """A foreign OpenVINO IR.

    Args:
        path: the .xml, with its .bin beside it.
        graph: as the checker reads it.
    """

    path: Path
    graph: Graph

    @classmethod
    def read(cls, path: Path) -> OpenVinoModel:
        """Read a file, after a look at what it declares.

        Raises:
            ArtefactError: if it is damaged or asks for too much.
            MissingExtraError: if OpenVINO is not installed.
        """
        graph, _ = parse(path)
        weights = path.with_suffix(".bin")
        if weights.is_file() and weights.stat().st_size > MAX_BYTES:
            raise _refusal(path, f"weights of at most {MAX_BYTES:,} bytes", "more")
        for node in graph.nodes:
            if node.op in _UNBOUNDED:
                raise _refusal(path, "a graph whose number of steps is known", str(node))
        for value, shape in graph.shapes.items():
            if np.prod([float(max(1, size)) for size in shape or ()]) > MAX_ELEMENTS:
                sizes = " x ".join(map(str, shape or ()))
                raise _refusal(path, f"values of at most {MAX_ELEMENTS:,}", f"{value} of {sizes}")
        return cls(path, graph)

    @cached_property
    def about(self) -> Mapping[str, str]:
        """Its metadata: what a converter kept of an ONNX file's."""
        model = self._read()
        keys = ("names", "classes", "task", "imgsz", "id2label", "character")
        places = {key: (["framework", key], [key], ["model_info", key]) for key in keys}
        found = {}
        for key, paths in places.items():
            for place in paths:
                if model.has_rt_info(place):
                    found[key] = str(model.get_rt_info(place).astype(str))
        return found

    @property
    def producer(self) -> str:
        """What wrote it."""
        return "OpenVINO"

    @property
    def tolerance(self) -> float:
        """Ten times ONNX Runtime's: exp and tanh are approximated, as they happen to be fused."""
        return 1e-5

    def dtype_of(self, name: str) -> str:
        """Return the NumPy dtype of an input."""
        return str(np.dtype(_parameter(self._read(), name).get_element_type().to_dtype()))

    def open(self, entrance: Entrance, values: Sequence[str]) -> Run:
        """Return what computes these values of the graph; they may lie inside it."""
        import openvino

        model = self._read()
        outputs = [self._output(model, value) for value in values]
        results = [openvino.opset13.result(output) for output in outputs]
        cut = openvino.Model(results, model.get_parameters(), "cut")
        try:
            with self._bounded():
                compiled = openvino.Core().compile_model(cut, "CPU", _EXACT)
        except RuntimeError as error:
            raise _unusable(self.path, error) from error

        def run(planes: NDArray[np.float32]) -> list[NDArray[np.generic]]:
            try:
                with self._bounded():
                    found = compiled.create_infer_request().infer([entrance.arrange(planes)])
            except RuntimeError as error:
                raise _unusable(self.path, error) from error
            return [np.array(found[position]) for position in range(len(values))]

        return run

    def write(self, plan: Plan, path: Path) -> None:
        """Write the network with our preprocessing before its input and one softmax at its end."""
        import openvino

        before = _planes(plan)
        model = self._read()
        parameter = _parameter(model, plan.entrance.name)
        arranged = _arranged(plan, before.outputs[0].get_node().input_value(0))
        scores = self._output(model, plan.head.scores)
        parameter.output(0).replace(arranged)
        logits, probs = _finished(plan, scores)
        results = []
        for name, output in (("logits", logits), ("probs", probs)):
            output.get_tensor().set_names({name})
            output.get_node().set_friendly_name(name)
            results.append(openvino.opset13.result(output))
        made = openvino.Model(results, before.get_parameters(), "adopted")
        if plan.batch is not None:
            shape = before.get_parameters()[0].get_partial_shape()
            shape[0] = plan.batch
            before.get_parameters()[0].set_partial_shape(shape)
        made.validate_nodes_and_infer_types()
        for key, text in {
            "softonce": plan.metadata.to_json(),
            "softonce_precision": "fp32",
        }.items():
            made.set_rt_info(text, [key])
        openvino.save_model(made, path, compress_to_fp16=False)

    def _output(self, model: Any, value: str) -> Any:
        """Return the output of a node that the checker calls a value."""
        made = next((n for n in self.graph.nodes if value in n.outputs), None)
        for node in model.get_ops():
            if made is not None and node.get_friendly_name() == made.name:
                return node.output(made.outputs.index(value))
        raise _refusal(self.path, "a graph whose nodes have names of their own", f"{value!r}")

    def _read(self) -> Any:
        openvino = import_extra("openvino", "openvino")
        try:
            with self._bounded():
                return read_file(openvino.Core(), self.path)
        except RuntimeError as error:
            raise _unusable(self.path, error) from error

    def _bounded(self) -> Any:
        weights = self.path.with_suffix(".bin")
        size = weights.stat().st_size if weights.is_file() else 0
        return bounded_memory(MAX_MEMORY + 5 * size)


def _parameter(model: Any, name: str) -> Any:
    return next(p for p in model.get_parameters() if p.get_friendly_name() == name)


def _planes(plan: Plan) -> Any:
    """Return our preprocessing as a model of OpenVINO."""
    from softonce.adoption.onnx_model import planes_bytes
    from softonce.engines.openvino_engine import read_graph

    with TemporaryDirectory() as folder:
        path = Path(folder) / "planes.onnx"
        path.write_bytes(planes_bytes(plan.metadata.preprocessing))
        return read_graph(path)[0]


def _arranged(plan: Plan, value: Any) -> Any:
    """Return what makes of our planes the input of the network, as `Entrance.arrange` does."""
    from openvino import opset13 as ops

    how = plan.entrance
    if how.order == "BGR":
        value = ops.gather(value, np.array([2, 1, 0]), 1).output(0)
    if how.layout in ("NHWC", "flat"):
        value = ops.transpose(value, np.array([0, 2, 3, 1])).output(0)
    if how.layout == "NHW":
        value = ops.squeeze(value, np.array([1])).output(0)
    if how.layout == "flat":
        value = ops.reshape(value, np.array([0, -1]), special_zero=True).output(0)
    return ops.convert(value, np.dtype(how.dtype)).output(0)


def _finished(plan: Plan, scores: Any) -> Iterator[Any]:
    """Yield logits and probabilities of the scores."""
    from openvino import opset13 as ops

    value = ops.reshape(
        ops.convert(scores, np.float32), np.array([-1, plan.num_scores]), special_zero=False
    )
    if plan.head.is_log:
        value = ops.log(ops.maximum(value, np.float32(SMALLEST)))
    if plan.fill:
        zeros = ops.subtract(value, value)
        value = ops.concat([zeros, value] if plan.fill == "before" else [value, zeros], axis=1)
    value = ops.add(value, np.float32(0))  # a node of its own, whose name is that of the output
    yield value.output(0)
    scaled = ops.divide(value, np.float32(plan.metadata.temperature))
    if plan.metadata.normaliser == "sigmoid":
        yield ops.sigmoid(scaled).output(0)
    else:
        yield ops.softmax(scaled, axis=1).output(0)


def _refusal(path: Path, expected: str, found: str) -> ArtefactError:
    return ArtefactError(f"expected {expected} in {path}, found {found}: convert the network again")


def _unusable(path: Path, error: Exception) -> ArtefactError:
    return ArtefactError(
        f"expected a graph that OpenVINO runs in {path}, found: "
        f"{describe_error(error)}; convert it again"
    )
