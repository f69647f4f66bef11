"""Deployed networks as ONNX, and as what OpenVINO makes of that."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import onnx
import torch

from softonce.exporting.network import to_program

if TYPE_CHECKING:
    from pathlib import Path

    from softonce.exporting.job import ExportJob
    from softonce.exporting.network import Planes

# It warns four times that torchvision's operators are missing, which none of our networks has.
logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)

PILLOWS_CUBIC = -0.5
"""Pillow's and torch's coefficient of the antialiased bicubic filter; the exporter writes -0.75."""


def write(job: ExportJob, path: Path, *, in_float32: bool = False) -> None:
    """Write a classifier as an ONNX file that carries its record, in eight bits if that is asked.

    Args:
        job: what to write.
        path: the .onnx.
        in_float32: whether floats stay float32, whatever the precision.
    """
    write_onnx(job.network(in_float32=in_float32), path, job.record, opset=job.opset)
    if job.precision == "int8" and job.calibration is not None:
        from softonce.exporting.int8 import quantise_onnx

        quantise_onnx(path, job.calibration(), job.metadata.preprocessing, job.record)


def write_onnx(network: Planes, path: Path, record: dict[str, str], *, opset: int) -> None:
    """Write the network as an ONNX file that carries the record."""
    program = torch.onnx.export(
        to_program(network),
        input_names=["images"],
        output_names=list(network.outputs),
        opset_version=opset,
        dynamo=True,
        verbose=False,
    )
    assert program is not None  # noqa: S101 - dynamo returns one
    model = program.model_proto
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "cubic_coeff_a":
                attribute.f = PILLOWS_CUBIC
    _name_sizes_(model.graph)
    label_onnx_(model, record)
    onnx.save(model, path)


def label_onnx_(model: Any, record: dict[str, str]) -> None:
    """Let the file carry the record, and nothing of the machine that made it."""
    onnx.helper.set_model_props(model, record)
    model.producer_name = "softonce"


def _name_sizes_(graph: Any) -> None:
    """Call the free sizes N, H and W, as the manual does."""
    sizes = graph.input[0].type.tensor_type.shape.dim
    names = dict(zip((size.dim_param for size in sizes[:3]), "NHW", strict=True))
    for value in (*graph.input, *graph.value_info, *graph.output):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param in names:  # to write a name, be it empty, would take the number away
                size.dim_param = names[size.dim_param]
