"""The Triton programs as a GPU would get them: what the interpreter cannot see."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="triton is made for Linux")

SCRIPT = Path(__file__).with_name("compiled_programs.py")


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Return what was compiled for compute capability 8.0, by case and program."""
    env = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("triton"))}
    env.pop("TRITON_INTERPRET", None)
    command = [sys.executable, SCRIPT, "80"]
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
    assert len({case for case, _ in programs}) == 8
    assert [line for line in programs.values() if line["stack_bytes"]] == []


def test_threads_load_and_store_16_bytes_where_rows_are_aligned(programs):
    for case in ("plain", "options", "probs"):
        line = programs[case, "forward_program"]
        assert line["wide_loads"] >= 4
        assert line["wide_stores"] == 2
    assert programs["unaligned probs", "forward_program"]["wide_stores"] == 0


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
