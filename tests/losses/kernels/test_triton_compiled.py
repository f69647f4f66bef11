"""The Triton programs as a GPU would get them: what the interpreter cannot see."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from softonce.losses.kernels import triton_rows

if not triton_rows.has_language():
    pytest.skip("there is no triton from 3.7 on", allow_module_level=True)

SCRIPT = Path(__file__).with_name("compiled_programs.py")


@pytest.fixture(scope="module", params=["90", pytest.param("80", marks=pytest.mark.slow)])
def programs(request, tmp_path_factory):
    """Return what was compiled for a compute capability, by case and program."""
    env = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("triton"))}
    env.pop("TRITON_INTERPRET", None)
    command = [sys.executable, SCRIPT, request.param]
    done = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, timeout=300)
    lines = map(json.loads, done.stdout.splitlines())
    return {(line["case"], line["program"]): line for line in lines}


def test_every_program_compiles_and_spills_nothing(programs):
    assert {program for _, program in programs} == {
        "forward_program",
        "partial_program",
        "combine_program",
        "backward_program",
    }
    assert len({case for case, _ in programs}) == 9
    assert [line for line in programs.values() if line["stack_bytes"]] == []


def test_threads_load_and_store_16_bytes_where_rows_are_aligned(programs):
    for case in ("plain", "options", "probs", "padded"):
        line = programs[case, "forward_program"]
        assert line["wide_loads"] >= 2
        assert line["wide_stores"] == 2
    assert programs["unaligned probs", "forward_program"]["wide_stores"] == 0


def test_the_next_block_is_on_its_way_while_one_is_added_up(programs):
    for case, program in programs:
        if program in ("forward_program", "partial_program") and case != "positions":
            assert programs[case, program]["async_copies"] >= 2, case


def test_four_programs_fit_a_processor(programs):
    for case in ("plain", "padded"):
        line = programs[case, "forward_program"]
        assert line["registers"] * 4 * 256 <= 65536
        assert line["shared_bytes"] * 4 <= 160 * 1024


def test_gradients_are_rounded_to_bfloat16_not_cut(programs):
    for program in ("forward_program", "backward_program"):
        assert programs["plain", program]["rounds_bfloat16"]


def test_double_precision_is_handed_nothing_in_single(programs):
    for program in ("forward_program", "backward_program"):
        assert "fp32" in programs["plain", program]["argument_types"]
        assert "fp32" not in programs["double", program]["argument_types"]


def test_few_long_rows_are_shared_by_many_programs(programs):
    assert programs["plain", "forward_program"]["grid"] == [512, 1]
    assert programs["few rows", "partial_program"]["grid"] == [4, 2]
    assert programs["few rows", "combine_program"]["grid"] == [4, 1]
    assert programs["few rows", "backward_program"]["grid"] == [4, 2]
