"""On graphs put together at random, what is read of a model file is true of its outputs."""

from __future__ import annotations

import io
from functools import cache
from multiprocessing import get_context
from typing import TYPE_CHECKING

import pytest
import torch
from random_graphs import EVERYWHERE, AsModule, RandomGraph, is_true, random_graph

from softonce.checker.flow import apply
from softonce.checker.graph import read_model
from softonce.checker.kinds import Kind
from softonce.checker.tags import Call, Scores

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

AT_ONCE = 10
"""How many graphs one file holds: writing a file takes longer than reading it."""


def write_onnx(net: AsModule, inputs: Sequence[torch.Tensor], folder: Path) -> Path:
    buffer = io.BytesIO()
    names = list(net(*inputs))
    torch.onnx.export(net, tuple(inputs), buffer, dynamo=False, output_names=names)
    (folder / "net.onnx").write_bytes(buffer.getvalue())
    return folder / "net.onnx"


@cache
def exportable() -> dict[str, tuple[str, ...]]:
    """Return the forms that torch's ONNX exporter knows, each tried by itself."""
    names = {"a": "x0", "b": "x0", "d": -1, "e": 0, "k": 0}
    x0 = torch.ones(4, 2)

    def is_known(form: str) -> bool:
        net = AsModule([RandomGraph(x0, [f"x1 = {form.format(**names)}"])])
        try:
            torch.onnx.export(net, (x0,), io.BytesIO(), dynamo=False)
        except Exception:  # noqa: BLE001 - the exporter raises anything
            return False
        return True

    known = {name: tuple(filter(is_known, forms)) for name, forms in EVERYWHERE.items()}
    return {name: forms for name, forms in known.items() if forms}


def write_pt2(net: AsModule, inputs: Sequence[torch.Tensor], folder: Path) -> Path:
    torch.export.save(torch.export.export(net, tuple(inputs)), folder / "net.pt2")
    return folder / "net.pt2"


def write_openvino(net: AsModule, inputs: Sequence[torch.Tensor], folder: Path) -> Path:
    openvino = pytest.importorskip("openvino", reason="needs openvino")
    try:
        model = openvino.convert_model(str(write_onnx(net, inputs, folder)))
    except openvino.frontend.OpConversionFailure as failure:
        raise RuntimeError(failure) from failure  # of what torch's exporter has written wrongly
    openvino.save_model(model, folder / "net.xml", compress_to_fp16=False)
    return folder / "net.xml"


FORMATS = [write_onnx, write_pt2, write_openvino]


def check(seeds: Sequence[int], folder: Path, write) -> int:
    """Write some graphs as one file, and read it; return how many outputs are known."""
    table = EVERYWHERE if write is write_pt2 else exportable()
    graphs = [random_graph(seed, table=table) for seed in seeds]
    net = AsModule(graphs).eval()
    inputs = [graph.x0 for graph in graphs]
    with torch.no_grad():
        values = net(*inputs)
        try:
            path = write(net, inputs, folder)
        except RuntimeError:
            # torch's exporter has faults of its own: without the graphs that it cannot write.
            parts = [[seed] for seed in seeds] if len(seeds) > 1 else []
            return sum(check(part, folder, write) for part in parts)
        found = read_model(path).outputs
    named = {output.name: output for output in found}
    assert len(named) == len(values)
    for name, value in values.items():
        lines = graphs[int(name[1 : name.index("_")])].lines
        assert is_true(named[name].kind, named[name].axis, value), (named[name], lines)
    return sum(output.kind != Kind.OTHER for output in found)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__)
def test_what_is_read_of_a_file_is_true(write, tmp_path: Path) -> None:
    number = 10 if write is write_openvino else 50  # its converter takes long
    known = [check(range(n, n + AT_ONCE), tmp_path, write) for n in range(0, number, AT_ONCE)]
    assert sum(known) > 2 * number


@pytest.mark.filterwarnings("ignore")
def test_rows_may_be_cut_up_by_a_reshape_to_unknown_sizes(tmp_path: Path) -> None:
    probs = Scores(Kind.P, -1)
    made = [
        apply(Call("reshape", (probs,), shapes=((8, 10),), after=after))
        for after in (None, (8, 10))
    ]
    kinds = [scores.kind if scores else None for scores in made]
    assert kinds == [Kind.P | Kind.BP, Kind.P]
    check([4013], tmp_path, write_onnx)  # ONNX's own inference leaves the sizes of one open


def test_few_operations_have_no_onnx() -> None:
    assert EVERYWHERE.keys() - exportable().keys() <= {"mT"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__)
def test_what_is_read_of_the_files_of_5000_graphs_is_true(write, tmp_path: Path) -> None:
    for start in range(0, 5000, AT_ONCE):
        check_apart(range(start, start + AT_ONCE), tmp_path, write)


def check_apart(seeds: Sequence[int], folder: Path, write) -> None:
    """Check graphs in a process of their own: torch's exporter to ONNX dies of some of them."""
    process = get_context("fork").Process(target=check, args=(seeds, folder, write))
    process.start()
    process.join()
    assert process.exitcode != 1, f"one of the graphs {seeds} is misread, as printed above"
    if process.exitcode != 0 and len(seeds) > 1:
        for seed in seeds:
            check_apart([seed], folder, write)
