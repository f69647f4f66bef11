"""ONNX files in eight bits: calibrated with the training data's own pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from softonce.engines.graph_engine import as_pictures
from softonce.exporting.onnx_file import label_onnx_

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from softonce.exporting.pictures import Sample
    from softonce.preprocessing import Preprocessing

_QUANTISED = ["Conv", "Gemm", "MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean"]
"""Not Add: to bring both sides of a residual to eight bits takes longer than it saves. Measured:
ResNet-50, batch 16, two cores with AMX: 47 img/s with it, 66 to 71 without (ONNX Runtime), 61 to 94
with it, 92 to 169 without (OpenVINO)."""


class _Calibration(CalibrationDataReader):  # type: ignore[misc] # has no types
    def __init__(self, pictures: Iterable[Sample], preprocessing: Preprocessing) -> None:
        self.batches = (as_pictures(each.pixels[None], preprocessing) for each in pictures)

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self.batches, None)
        return None if batch is None else {"images": batch}


def quantise_onnx(
    path: Path,
    pictures: Iterable[Sample],
    preprocessing: Preprocessing,
    record: dict[str, str],
) -> None:
    """Replace an ONNX file by its eight-bit form.

    Weights have one scale a channel and seven bits of range, so that the sums of pairs, which
    processors without VNNI make in 16 bits, cannot overflow.

    Source:
        https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
    """
    prepared, quantised = (path.with_suffix(f".{step}.onnx") for step in ("prepared", "int8"))
    quant_pre_process(path, prepared, skip_symbolic_shape=True)
    quantize_static(
        prepared,
        quantised,
        _Calibration(pictures, preprocessing),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=_QUANTISED,
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    model = onnx.load(quantised)
    _drop_unused_opsets_(model)
    label_onnx_(model, record)
    onnx.save(model, path)
    prepared.unlink()
    quantised.unlink()


def _drop_unused_opsets_(model: Any) -> None:
    """Declare only the operator sets that the graph uses: ONNX Runtime adds all that it knows."""
    used = {node.domain for node in model.graph.node}
    used |= {node.domain for function in model.functions for node in function.node}
    kept = [each for each in model.opset_import if each.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
