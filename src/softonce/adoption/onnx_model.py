"""ONNX: the foreign graph run as it is, and written between our preprocessing and one softmax."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from softonce.adoption.bounds import MAX_MEMORY, bounded_memory, check_bounds, check_shapes
from softonce.adoption.classical import unfold_
from softonce.adoption.head import SMALLEST
from softonce.checker.graph.onnx_file import graph_of, inlined, parse
from softonce.errors import ArtefactError, describe_error, import_extra

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from softonce.adoption.foreign import Entrance, Plan, Run
    from softonce.checker.graph.nodes import Graph
    from softonce.preprocessing import Preprocessing

OPSET = 18
"""The first one whose resize is antialiased."""

_PREFIX = "network/"
_FATAL = 4
"""What fails raises with the words that the library would print as well."""


@dataclass(frozen=True)
class OnnxModel:
    """A foreign ONNX file, whose functions are inlined and whose classifiers are unfolded.

    Args:
        path: the file.
        model: as protobuf holds it, weights included.
        graph: as the checker reads it.
        about: its metadata.
        producer: what wrote it.
        num_bytes: of its weights.
    """

    path: Path
    model: Any
    graph: Graph
    about: Mapping[str, str]
    producer: str
    num_bytes: int

    @classmethod
    def read(cls, path: Path) -> OnnxModel:
        """Read a file, after a look at what it declares.

        Raises:
            ArtefactError: if it is damaged or asks for too much.
            MissingExtraError: if a package is missing.
        """
        model = parse(path)
        check_bounds(model, path)
        from onnx.external_data_helper import load_external_data_for_model

        try:
            load_external_data_for_model(model, str(path.resolve().parent))
        except (OSError, ValueError) as error:
            raise _unusable(path, error) from error
        about = {entry.key: entry.value for entry in model.metadata_props}
        producer = f"{model.producer_name} {model.producer_version}".strip()
        model = inlined(model, model.ByteSize())
        about |= unfold_(model)
        _check_order(model.graph, path)
        check_shapes(model, path)
        return cls(path, model, graph_of(model), about, producer, model.ByteSize())

    @property
    def tolerance(self) -> float:
        """Some ulps of 1, for sums in another order."""
        return 1e-6

    def dtype_of(self, name: str) -> str:
        """Return the NumPy dtype of an input."""
        from onnx import helper

        given = next(value for value in self.model.graph.input if value.name == name)
        return str(helper.tensor_dtype_to_np_dtype(given.type.tensor_type.elem_type))

    def open(self, entrance: Entrance, values: Sequence[str]) -> Run:
        """Return what computes these values of the graph; they may lie inside it."""
        session = self._session(_with_outputs(self.model, values))

        def run(planes: NDArray[np.float32]) -> list[NDArray[np.generic]]:
            given = {entrance.name: entrance.arrange(planes)}
            try:
                with self._bounded():
                    return list(session.run(list(values), given))
            except Exception as error:  # the library raises a class of its own for each failure
                raise _unusable(self.path, error) from error

        return run

    def write(self, plan: Plan, path: Path) -> None:
        """Write the network with our preprocessing before its input and one softmax at its end."""
        import onnx

        from softonce.exporting.onnx_file import label_onnx_

        made = self._joined(plan)
        label_onnx_(made, {"softonce": plan.metadata.to_json(), "softonce_precision": "fp32"})
        if made.ByteSize() > 2**31 - 1:
            raise ArtefactError(
                f"expected a network of less than 2 GiB in {self.path}, found a larger one: an "
                "ONNX file holds no more"
            )
        onnx.save(made, path)

    def _joined(self, plan: Plan) -> Any:
        """Return our graph, theirs, and ours again."""
        from onnx import compose, helper

        network = compose.add_prefix(self._cut(plan.head.scores), _PREFIX)
        opset = max(_opset(network), OPSET)
        before = planes_graph(plan.metadata.preprocessing, opset)
        network = _at_opset(network, opset, self.path)
        entrance, scores = _PREFIX + plan.entrance.name, _PREFIX + plan.head.scores
        opsets = {entry.domain: entry.version for entry in network.opset_import} | {"": opset}
        nodes = [
            *before.graph.node,
            *_arranged(plan, entrance),
            *network.graph.node,
            *_finished(plan, scores),
        ]
        pictures = before.graph.input[0]
        if plan.batch is not None:
            pictures.type.tensor_type.shape.dim[0].dim_value = plan.batch
        batch = plan.batch or "N"
        shape = [batch, len(plan.metadata.classes)]
        outputs = [helper.make_tensor_value_info(name, 1, shape) for name in ("logits", "probs")]
        graph = helper.make_graph(
            nodes,
            "adopted",
            [pictures],
            outputs,
            [*before.graph.initializer, *network.graph.initializer, *_numbers(plan)],
            sparse_initializer=list(network.graph.sparse_initializer),
        )
        imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
        version = max(before.ir_version, network.ir_version)
        return helper.make_model(
            graph, opset_imports=imports, ir_version=version, functions=list(network.functions)
        )

    def _cut(self, scores: str) -> Any:
        """Return the part of the model that makes the scores."""
        import onnx

        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        graph = model.graph
        makers = {name: node for node in graph.node for name in node.output}
        needed: set[int] = set()
        wanted = [scores]
        names = {scores}
        while wanted:
            node = makers.get(wanted.pop())
            if node is None or id(node) in needed:
                continue
            needed.add(id(node))
            found = set(_inputs_of(node))
            wanted += found - names
            names |= found
        for kept, values in (
            ([n for n in graph.node if id(n) in needed], graph.node),
            ([t for t in graph.initializer if t.name in names], graph.initializer),
        ):
            copies = [type(each).FromString(each.SerializeToString()) for each in kept]
            del values[:]
            values.extend(copies)
        del graph.output[:], graph.value_info[:]
        graph.output.add().name = scores
        return model

    def _bounded(self) -> Any:
        return bounded_memory(MAX_MEMORY + 5 * self.num_bytes)

    def _session(self, model: Any) -> Any:
        onnxruntime = import_extra("onnxruntime", "export")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL
        try:
            with self._bounded():
                return onnxruntime.InferenceSession(
                    model.SerializeToString(), options, providers=["CPUExecutionProvider"]
                )
        except Exception as error:  # as above
            raise _unusable(self.path, error) from error


def planes_graph(preprocessing: Preprocessing, opset: int) -> Any:
    """Return our preprocessing as a model: uint8 pictures of any size -> normalised planes."""
    import onnx

    model = onnx.load_model_from_string(planes_bytes(preprocessing))
    return _at_opset(model, opset, Path("planes.onnx"))


@cache
def planes_bytes(preprocessing: Preprocessing) -> bytes:
    """Return the same as a file holds it; to trace it takes longer than all else here."""
    from softonce.exporting.network import Planes
    from softonce.exporting.onnx_file import write_onnx

    with TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        path = Path(folder) / "planes.onnx"
        write_onnx(Planes(preprocessing).eval(), path, {}, opset=OPSET)
        return path.read_bytes()


def _arranged(plan: Plan, entrance: str) -> Iterator[Any]:
    """Yield what makes of our planes the input of the network, as `Entrance.arrange` does."""
    from onnx import TensorProto, helper

    how, value = plan.entrance, "planes"
    if how.order == "BGR":
        yield helper.make_node("Gather", [value, "softonce/order"], ["softonce/bgr"], axis=1)
        value = "softonce/bgr"
    if how.layout in ("NHWC", "flat"):
        yield helper.make_node("Transpose", [value], ["softonce/last"], perm=[0, 2, 3, 1])
        value = "softonce/last"
    if how.layout == "NHW":
        yield helper.make_node("Squeeze", [value, "softonce/one"], ["softonce/plane"])
        value = "softonce/plane"
    if how.layout == "flat":
        yield helper.make_node("Flatten", [value], ["softonce/row"], axis=1)
        value = "softonce/row"
    kind = TensorProto.DataType.Value(_ELEMENTS.get(how.dtype, how.dtype.upper()))
    yield helper.make_node("Cast", [value], [entrance], to=kind)


_ELEMENTS = {"float32": "FLOAT", "float64": "DOUBLE"}
"""Dtypes of NumPy that ONNX calls otherwise."""


def _finished(plan: Plan, scores: str) -> Iterator[Any]:
    """Yield what makes logits and probabilities of the scores."""
    from onnx import TensorProto, helper

    value = "softonce/scores"
    yield helper.make_node("Cast", [scores], ["softonce/float"], to=TensorProto.FLOAT)
    yield helper.make_node("Reshape", ["softonce/float", "softonce/shape"], [value])
    if plan.head.is_log:
        yield helper.make_node("Max", [value, "softonce/smallest"], ["softonce/positive"])
        yield helper.make_node("Log", ["softonce/positive"], ["softonce/log"])
        value = "softonce/log"
    if plan.fill:
        yield helper.make_node("Pad", [value, "softonce/fill"], ["softonce/pair"])
        value = "softonce/pair"
    yield helper.make_node("Identity", [value], ["logits"])
    yield helper.make_node("Div", ["logits", "softonce/temperature"], ["softonce/scaled"])
    if plan.metadata.normaliser == "sigmoid":
        yield helper.make_node("Sigmoid", ["softonce/scaled"], ["probs"])
    else:
        yield helper.make_node("Softmax", ["softonce/scaled"], ["probs"], axis=-1)


def _numbers(plan: Plan) -> list[Any]:
    """Return the constants of what we add."""
    from onnx import numpy_helper

    fill = [0, int(plan.fill == "before"), 0, int(plan.fill == "after")]
    numbers = {
        "order": np.array([2, 1, 0]),
        "one": np.array([1]),
        "shape": np.array([-1, plan.num_scores]),
        "smallest": np.float32(SMALLEST),
        "fill": np.array(fill),
        "temperature": np.float32(plan.metadata.temperature),
    }
    return [numpy_helper.from_array(np.asarray(x), f"softonce/{k}") for k, x in numbers.items()]


def _with_outputs(model: Any, values: Sequence[str]) -> Any:
    """Return the model with these values as its outputs."""
    import onnx

    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.output[:]
    for value in values:
        changed.graph.output.add().name = value
    return changed


def _inputs_of(node: Any) -> Iterator[str]:
    """Yield the values that a node reads, those of its inner graphs included."""
    yield from node.input
    for attribute in node.attribute:
        graphs = (attribute.g,) if attribute.HasField("g") else tuple(attribute.graphs)
        for graph in graphs:
            for inner in graph.node:
                yield from _inputs_of(inner)
            yield from (value.name for value in graph.output)


def _check_order(graph: Any, path: Path) -> None:
    """Raise an `ArtefactError` if a node reads a value that is made after it, or by itself."""
    made = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    made |= {tensor.values.name for tensor in graph.sparse_initializer} | {""}
    for node in graph.node:
        missing = [name for name in node.input if name not in made]
        twice = [name for name in node.output if name and name in made]
        if missing or twice:
            found = f"{node.op_type} {node.name!r}, which reads {missing[0]!r} before it is made"
            found = found if missing else f"two nodes that make {twice[0]!r}"
            raise ArtefactError(
                f"expected an ONNX graph in order in {path}, found {found}: export it again"
            )
        made |= set(node.output)


def _opset(model: Any) -> int:
    versions = {entry.domain: entry.version for entry in model.opset_import}
    return int(versions.get("", versions.get("ai.onnx", 1)))


def _at_opset(model: Any, opset: int, path: Path) -> Any:
    """Return the model in a newer operator set, as the standard's own converter writes it."""
    from onnx import version_converter

    if _opset(model) == opset:
        return model
    try:
        return version_converter.convert_version(model, opset)
    except Exception as error:
        raise ArtefactError(
            f"expected a graph in {path} that onnx's converter brings from operator set "
            f"{_opset(model)} to {opset}, found: {describe_error(error, 160)}; export it "
            f"with opset {opset}"
        ) from error


def _unusable(path: Path, error: Exception) -> ArtefactError:
    return ArtefactError(
        f"expected an ONNX graph that ONNX Runtime runs in {path}, found: "
        f"{describe_error(error)}; export it again"
    )
