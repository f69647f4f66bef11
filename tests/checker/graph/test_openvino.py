"""Kinds of OpenVINO outputs, in files written by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from softonce.checker.graph import read_model
from softonce.checker.graph.openvino_file import OPERATIONS
from softonce.checker.kinds import JOINS, PAIRS, ROWS, Kind
from softonce.errors import ArtefactError

if TYPE_CHECKING:
    from pathlib import Path

DIMS = "<dim>-1</dim><dim>5</dim>"


def layer(number: int, kind: str, name: str, *, inputs: int = 1, dims: str = DIMS, **data) -> str:
    """One layer with `inputs` ports in and one out; `Result` has none."""
    settings = " ".join(f'{key}="{value}"' for key, value in data.items())
    ports = "".join(f'<port id="{port}">{dims}</port>' for port in range(inputs))
    out = f'<output><port id="{inputs}" names="{name}">{dims}</port></output>'
    return (
        f'<layer id="{number}" name="{name}" type="{kind}" version="opset1">'
        f"<data {settings}/><input>{ports}</input>{'' if kind == 'Result' else out}</layer>"
    )


def write(path: Path, layers: list[str], edges: list[tuple[int, int, int, int]]) -> Path:
    """A MatMul from layer 0 and a constant, then the layers."""
    start = [
        layer(0, "Parameter", "x", inputs=0),
        layer(1, "Const", "weight", inputs=0),
        layer(2, "Convert", "weight_f32"),
        layer(3, "MatMul", "fc", inputs=2),
    ]
    joined = [(0, 0, 3, 0), (1, 0, 2, 0), (2, 1, 3, 1), *edges]
    lines = "".join(
        f'<edge from-layer="{a}" from-port="{b}" to-layer="{c}" to-port="{d}"/>'
        for a, b, c, d in joined
    )
    text = f"<layers>{''.join(start + layers)}</layers><edges>{lines}</edges>"
    path.write_text(f'<?xml version="1.0"?><net name="n" version="11">{text}</net>')
    return path


def test_softmax_output_is_probabilities_along_its_axis(tmp_path: Path) -> None:
    layers = [layer(4, "SoftMax", "probs", axis=1), layer(5, "Result", "out")]
    path = write(tmp_path / "m.xml", layers, [(3, 2, 4, 0), (4, 1, 5, 0)])
    (output,) = read_model(path).outputs
    assert (output.name, output.kind, output.axis) == ("probs", Kind.P, -1)
    assert output.node == "SoftMax 'probs'"


def test_weight_behind_a_conversion_still_makes_logits(tmp_path: Path) -> None:
    path = write(tmp_path / "m.xml", [layer(4, "Result", "out")], [(3, 2, 4, 0)])
    (output,) = read_model(path).outputs
    assert (output.kind, output.node) == (Kind.LOGITS, "MatMul 'fc'")


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("Sigmoid", {}, Kind.BP),
        ("LogSoftmax", {"axis": -1}, Kind.LOGP),
        ("ReLU", {}, Kind.NONNEG),
        ("Convert", {}, Kind.LOGITS),
        ("LSTMSequence", {}, Kind.OTHER),
    ],
)
def test_last_operation_decides_the_kind(tmp_path: Path, kind, data, expected) -> None:
    layers = [layer(4, kind, "last", **data), layer(5, "Result", "out")]
    path = write(tmp_path / "m.xml", layers, [(3, 2, 4, 0), (4, 1, 5, 0)])
    assert read_model(path).outputs[0].kind == expected


def test_second_softmax_and_log_are_reported(tmp_path: Path) -> None:
    layers = [
        layer(4, "SoftMax", "p", axis=1),
        layer(5, "SoftMax", "pp", axis=1),
        layer(6, "Log", "lp"),
        layer(7, "Result", "a"),
        layer(8, "Result", "b"),
    ]
    edges = [(3, 2, 4, 0), (4, 1, 5, 0), (4, 1, 6, 0), (5, 1, 7, 0), (6, 1, 8, 0)]
    model = read_model(write(tmp_path / "m.xml", layers, edges))
    assert sorted(finding.code for finding in model.findings) == ["SO202", "SO204"]
    assert [output.kind for output in model.outputs] == [Kind.P, Kind.LOGP]


def test_layers_may_stand_in_any_order(tmp_path: Path) -> None:
    layers = [layer(6, "Result", "out"), layer(5, "Reshape", "r"), layer(4, "SoftMax", "p", axis=1)]
    path = write(tmp_path / "m.xml", layers, [(3, 2, 4, 0), (4, 1, 5, 0), (5, 1, 6, 0)])
    (output,) = read_model(path).outputs
    assert (output.kind, output.through) == (Kind.P, ("Reshape 'r'",))


def test_every_operation_of_the_map_is_in_the_transfer_table() -> None:
    arithmetic = {name for name, _, _ in PAIRS} | {"div"}
    assert set(OPERATIONS.values()) <= set(ROWS) | JOINS | arithmetic | {"transpose"}


BOMB = '<!DOCTYPE net [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><net>&b;</net>'
OUTSIDE = '<!DOCTYPE net [<!ENTITY a SYSTEM "file:///etc/passwd">]><net>&a;</net>'


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (BOMB, "a document type or an entity"),
        (OUTSIDE, "a document type or an entity"),
        ("<html></html>", "the element <html>"),
        ("<net><layers>", "no XML"),
        ("", "no XML"),
        ("<net></net>", "found none"),
        ("<net>" * 50, "more than 32 levels"),
        ('<net><layers><layer id="0"/></layers></net>', "layers of another shape"),
    ],
)
def test_foreign_xml_is_one_clear_error(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "m.xml").write_text(text)
    with pytest.raises(ArtefactError, match=found):
        read_model(tmp_path / "m.xml")


def test_cycle_of_layers_is_no_endless_walk(tmp_path: Path) -> None:
    layers = [layer(4, "Sigmoid", "a"), layer(5, "Sigmoid", "b"), layer(6, "Result", "out")]
    path = write(tmp_path / "m.xml", layers, [(5, 1, 4, 0), (4, 1, 5, 0), (5, 1, 6, 0)])
    assert read_model(path).outputs[0].kind == Kind.BP


def test_file_above_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("softonce.checker.graph.openvino_file.MAX_BYTES", 10)
    path = write(tmp_path / "m.xml", [], [])
    with pytest.raises(ArtefactError, match="of at most 10 bytes"):
        read_model(path)
