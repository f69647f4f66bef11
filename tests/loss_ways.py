"""The ways in which a loss of logits or of a head is computed, each forced on small problems."""

import warnings
from contextlib import ExitStack, contextmanager
from unittest import mock

import pytest
import torch
import torch.nn.functional as F

from softonce.losses import cross_entropy, linear_cross_entropy
from softonce.losses.kernels import choice, triton_rows
from softonce.losses.kernels.triton_rows import Tiling
from softonce.losses.rows import autograd, checks
from softonce.losses.rows.objective import Objective
from softonce.losses.tuning import Tuning, tuned

SHORT = {name: getattr(Tuning, name) for name in ("small_logits", "small_head")}
LONG = dict.fromkeys(SHORT, 0)
IN_BLOCKS = {
    "onednn": True,
    "class_blocks_from": 0,
    "class_blocks_from_of_half": 0,
    "class_block_rows": 4,
    "class_block_width": (3, 3),
    "kept_bytes": 100,  # a block or two of the four
}
PADDED = {"is_row_padded": True, "gpu_row_multiple": 4}
TORCH_HAS_NO_HEAD_LOSS = pytest.mark.skipif(
    not hasattr(F, "linear_cross_entropy"), reason="torch has linear_cross_entropy from 2.13 on"
)
HEAD_LOSS = pytest.param("linear_cross_entropy", marks=TORCH_HAS_NO_HEAD_LOSS)
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
REDUCTIONS = ("mean", "sum", "none")
WAYS = ("short", "rows", "classes", "compiled", "accelerator")
TILING = Tiling(height=16, lanes=8, width=4, is_vector=True, num_spans=1, num_warps=1)


def compiled(function):
    """Return the function as one graph that torch has derived, and that runs as it is."""
    torch._dynamo.reset()
    return torch.compile(function, backend="aot_eager", fullgraph=True)


@contextmanager
def way(name, *, is_fast=True):
    """Let the losses take one way, and yield what turns a function into its caller on that way.

    `short` takes what small calls take; `rows` and `classes` the loops of large ones; `compiled` is
    inside `torch.compile`; `accelerator` runs the Triton programs in their interpreter, and reads
    no value of a target. `is_fast` says whether the processor multiplies half precision faster.
    """
    sizes = SHORT if name == "short" else LONG
    sizes = sizes | {"small_compiled": 0, "half_is_fast": is_fast}
    more = {"classes": IN_BLOCKS, "accelerator": PADDED}.get(name, {})
    with ExitStack() as stack, tuned(**sizes | more):

        def put(place, attribute, value):
            stack.enter_context(mock.patch.object(place, attribute, value))

        if name == "accelerator":
            if not triton_rows.has_language():
                pytest.skip("there is no triton from 3.7 on")
            # numpy warns of inf - inf in lanes that a program masks afterwards, as no GPU would
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", RuntimeWarning)
            for place in (choice, autograd):
                put(place, "find_kernel", lambda _: triton_rows)
            put(triton_rows, "choose_tiling", lambda *_: TILING)
            put(checks, "_has_values", lambda _: False)
            put(Objective, "kept_rows", lambda _: None)
        yield compiled if name == "compiled" else lambda function: function


def of_logits(features, head, target, **options):
    """Return the loss of the head's logits, which are made in front of it."""
    return cross_entropy(features @ head.T, target, **options)


LOSSES = {"logits": of_logits, "head": linear_cross_entropy}
