"""Compile what the Triton kernel would launch, for a GPU that need not be there.

Triton's compiler takes any target, and brings NVIDIA's assembler along: only the driver, which
would load and start the programs, is missing, and is played here. One JSON line for each program.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction

from softonce.losses.kernels import triton_rows
from softonce.losses.kernels.interface import Mass

NUM_PROCESSORS = 132


class Driver:
    """A driver of a GPU with the given compute capability, which starts nothing."""

    def __init__(self, capability):
        self.target = GPUTarget("cuda", capability, 32)

    def get_current_target(self):
        return self.target

    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0


def resources_of(cubin):
    """Return what a thread takes of registers, and of a stack because registers are short."""
    tool = Path(triton.__path__[0]) / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        found = subprocess.run([tool, "-res-usage", file.name], capture_output=True, check=True)
    pairs = re.findall(rb"(REG|STACK):(\d+)", found.stdout)
    return {name.decode(): int(number) for name, number in pairs}


def compile_only(case, jit_run):
    """Return a stand-in for the launch of a program, which compiles and describes it."""

    def run(self, *arguments, grid, warmup, **options):
        kernel = jit_run(self, *arguments, grid=grid, warmup=True, **options)
        ptx, resources = kernel.asm["ptx"], resources_of(kernel.asm["cubin"])
        described = {
            "case": case,
            "program": self.fn.__name__,
            "grid": list(grid),
            "argument_types": str(kernel.src.signature),
            "stack_bytes": resources["STACK"],
            "registers": resources["REG"],
            "shared_bytes": kernel.metadata.shared,
            "async_copies": len(re.findall(r"cp\.async\S* \[", ptx)),
            "wide_loads": len(re.findall(r"ld\.global\S*\.v4\.b32", ptx)),
            "wide_stores": len(re.findall(r"st\.global\S*\.v4\.b32", ptx)),
            "rounds_bfloat16": "cvt.rn.bf16" in ptx,
        }
        sys.stdout.write(json.dumps(described) + "\n")

    return run


def launch(case, logits, **mass):
    """Go both ways, with the launches replaced."""
    run, JITFunction.run = JITFunction.run, None
    JITFunction.run = compile_only(case, run)
    try:
        row = torch.zeros(logits.shape[:1] + logits.shape[2:], dtype=torch.int64)
        mass = Mass(index=None if "probs" in mass else row, **mass)
        dlogits = logits if mass.room else torch.empty_like(logits)
        rows = triton_rows.forward_rows(logits, mass, scale=0.5, dlogits=dlogits)
        triton_rows.backward_rows(logits, mass, rows, logits, upstream=rows.loss, upstream_lse=0.1)
    finally:
        JITFunction.run = run


def main():
    triton.runtime.driver.set_active(Driver(int(sys.argv[1])))
    triton_rows._num_processors = lambda device: NUM_PROCESSORS
    half = torch.empty(512, 16384, dtype=torch.bfloat16)
    classes = torch.ones(16384)
    launch("plain", half)
    flags = torch.zeros(512, dtype=torch.bool)
    launch("options", half, keep=classes, spread=classes, ignored=flags, outside=flags)
    launch("probs", half, probs=half, keep=classes, spread=classes)
    head = torch.empty(512, 10048, dtype=torch.bfloat16)[:, :9999]
    launch("padded", head, room=49)
    launch("unaligned probs", torch.empty(512, 9999), probs=torch.empty(512, 9999))
    launch("double", torch.empty(512, 9999).double(), spread=torch.ones(9999).double())
    launch("few rows", half[:4], spread=classes)
    launch("short rows", torch.empty(65536, 10))
    launch("positions", torch.empty(2, 21, 4096, dtype=torch.float16))


if __name__ == "__main__":
    main()
