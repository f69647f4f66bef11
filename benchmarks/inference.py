"""Images per second of inference: our engines against torchvision's network and the runtimes alone.

The same weights on all sides; in turn, in one process. Ours start from uint8 pixels, and what an
exported file has before and after the network is in its time; the others get normalised tensors and
stop at the logits. Our torch engine is there as it decides by its own measurement, and in each
precision fixed by hand that the processor has. Times are wall-clock seconds, or with --cpu-time the
CPU seconds of this process, for a machine that others use, too. The others: torchvision's network
as it is; compiled by torch with freezing, channels last, in bfloat16 where the processor multiplies
it; exported by torch to ONNX and run by ONNX Runtime and by OpenVINO, by the latter in bfloat16 too
where the processor multiplies it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import openvino
import torch
from harness import interleaved, report

from softonce import create_model
from softonce.artefact import Metadata, write_artefact
from softonce.engines import open_engine
from softonce.engines.networks import fold_batch_norm
from softonce.exporting.int8 import quantise_onnx
from softonce.exporting.network import Deployed
from softonce.exporting.onnx_file import write_onnx
from softonce.exporting.openvino_file import write_openvino
from softonce.exporting.pictures import made_up_pictures
from softonce.hardware import has_native_bfloat16
from softonce.models.network import architecture_of

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from torchvision_beside import load_torchvision

BFLOAT16 = has_native_bfloat16(torch.device("cpu"))
PX = 224
"""Side of the images, and of what the networks see: nobody resizes."""
Answer = Callable[[np.ndarray], object]


def ours(name: str, folder: Path, *, threads: int) -> tuple[Any, dict[str, Answer]]:
    """Our network, and our engines for its artefact and for what is exported of it."""
    model = create_model(name).eval()
    arch, arch_args = architecture_of(model)
    metadata = Metadata(
        arch=arch,
        arch_args=arch_args,
        classes=tuple(map(str, range(1000))),
        preprocessing=replace(model.default_preprocessing, resize=PX),  # the images are that size
    )
    write_artefact(folder / "artefact.safetensors", model.state_dict(), metadata)
    network = Deployed(fold_batch_norm(model), metadata).eval()
    records = {
        precision: {"softonce": metadata.to_json(), "softonce_precision": precision}
        for precision in ("fp32", "bf16", "int8")
    }
    whole, eight = folder / "fp32.onnx", folder / "int8.onnx"
    write_onnx(network, whole, records["fp32"], opset=18)
    shutil.copyfile(whole, eight)
    pictures = made_up_pictures(metadata.preprocessing)
    quantise_onnx(eight, pictures, metadata.preprocessing, records["int8"])
    for precision, record in records.items():
        graph = eight if precision == "int8" else whole
        write_openvino(graph, folder / f"{precision}.xml", record, half=False)
    files = {
        "torch": ("artefact.safetensors", "torch"),
        "onnxruntime": ("fp32.onnx", "onnxruntime"),
        "openvino": ("fp32.xml", "openvino"),
        "onnxruntime int8": ("int8.onnx", "onnxruntime"),
        "openvino int8": ("int8.xml", "openvino"),
    }
    if BFLOAT16:
        files["openvino bf16"] = ("bf16.xml", "openvino")
    opened: dict[str, Any] = {
        label: open_engine(folder / file, name=engine, threads=threads)
        for label, (file, engine) in files.items()
    }
    for precision in ("float32", "bfloat16") if BFLOAT16 else ("float32",):
        opened[f"torch {precision}"] = open_engine(
            folder / "artefact.safetensors", precision=precision, threads=threads
        )
    return model, {f"ours, {label}": engine.logits for label, engine in opened.items()}


def others(name: str, model: Any, folder: Path, *, threads: int) -> dict[str, Answer]:
    """What somebody has who takes torchvision's network to each runtime by hand."""
    theirs, eager = (getattr(load_torchvision().models, name)().eval() for _ in range(2))
    for network in (theirs, eager):
        network.load_state_dict(model.state_dict())
    tensors = partial(_normalised, mean=0.45, std=0.23)
    program = folder / "theirs.onnx"
    torch.onnx.export(
        theirs,
        (torch.zeros(2, 3, PX, PX),),
        program,
        dynamic_shapes=({0: torch.export.Dim("N")},),
        input_names=["images"],
        dynamo=True,
        verbose=False,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(program, options)
    compiled = torch.compile(
        theirs.to(memory_format=torch.channels_last), options={"freezing": True}
    )
    cases: dict[str, Answer] = {
        "torchvision eager": _eager(eager, tensors),
        "torch.compile": _compiled(compiled, tensors),
        "ONNX Runtime": lambda pixels: session.run(None, {"images": tensors(pixels).numpy()}),
    }
    for hint in ("f32", "bf16") if BFLOAT16 else ("f32",):
        graph = openvino.compile_model(
            str(program),
            "CPU",
            {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads},
        )
        cases[f"OpenVINO {hint}"] = _direct(graph, tensors)
    return cases


def _normalised(pixels: np.ndarray, *, mean: float, std: float) -> torch.Tensor:
    """Make the others' input: once for all, so that it is not in their time."""
    key = (id(pixels), pixels.shape)
    if key not in _MADE:
        images = torch.from_numpy(pixels.copy())
        _MADE[key] = (images.float() / 255 - mean) / std
    return _MADE[key]


_MADE: dict[Any, torch.Tensor] = {}


def _eager(model: Any, tensors: Any) -> Answer:
    def answer(pixels: np.ndarray) -> object:
        with torch.inference_mode():
            return model(tensors(pixels))

    return answer


def _compiled(model: Any, tensors: Any) -> Answer:
    def answer(pixels: np.ndarray) -> object:
        images = tensors(pixels).contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=BFLOAT16):
            return model(images)

    return answer


def _direct(graph: Any, tensors: Any) -> Answer:
    request = graph.create_infer_request()
    return lambda pixels: request.infer([tensors(pixels).numpy()], share_inputs=True)


def compare(name: str, asked: argparse.Namespace) -> tuple[dict[str, float], dict[str, Any]]:
    """Time all for each batch size; return the ratios and the rates."""
    ratios, figures = {}, {}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        model, engines = ours(name, Path(folder), threads=asked.threads)
        cases = others(name, model, Path(folder), threads=asked.threads) | engines
        for batch in asked.batch_sizes:
            shape = (batch, PX, PX, 3)  # as a decoder leaves them
            pixels = np.random.default_rng(batch).integers(0, 256, shape, dtype=np.uint8)
            pixels = pixels.transpose(0, 3, 1, 2)
            runs = {label: partial(answer, pixels) for label, answer in cases.items()}
            rounds = asked.rounds * (3 if batch == 1 else 1)
            clock = time.process_time if asked.cpu_time else time.perf_counter
            seconds = interleaved(runs, rounds=rounds, warmup=2, clock=clock)
            rates = {label: batch / value for label, value in seconds.items()}
            label = f"{name}, batch {batch}"
            ratios |= {f"{label}, {key}": value for key, value in _ratios(rates).items()}
            figures[label] = {f"{case} img/s": round(rate, 1) for case, rate in rates.items()}
            print(f"{label}: {figures[label]}", flush=True)
    return ratios, figures


def _ratios(rates: dict[str, float]) -> dict[str, float]:
    """Our best, in eight bits and not, to torchvision's network and to the best of the others."""
    mine = {case: rate for case, rate in rates.items() if case.startswith("ours")}
    whole = max(rate for case, rate in mine.items() if "int8" not in case)
    eight = max(rate for case, rate in mine.items() if "int8" in case)
    best = max(rate for case, rate in rates.items() if case not in mine)
    fixed = [mine[case] for case in ("ours, torch float32", "ours, torch bfloat16") if case in mine]
    return {
        "ours, torch by default to the better precision": mine["ours, torch"] / max(fixed),
        "ours to torchvision eager": whole / rates["torchvision eager"],
        "ours to the fastest other": whole / best,
        "ours int8 to the fastest other": eight / best,
        "ours int8 to torchvision eager": eight / rates["torchvision eager"],
    }


def main() -> None:
    """Time all, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true", help="CPU seconds, not the wall's")
    asked = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(asked.threads)
    ratios: dict[str, float] = {}
    figures: dict[str, Any] = {"px": PX, "threads": asked.threads, "native bfloat16": BFLOAT16}
    figures["clock"] = "CPU" if asked.cpu_time else "wall"
    for name in asked.models:
        found = compare(name, asked)
        ratios |= found[0]
        figures |= found[1]
    packages = ("torch", "torchvision", "onnxruntime", "openvino")
    report("inference", ratios=ratios, figures=figures, packages=packages)


if __name__ == "__main__":
    main()
