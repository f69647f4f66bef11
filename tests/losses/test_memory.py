"""Memory for large tensors: the values are those of any memory."""

import mmap

import pytest
import torch

from softonce.losses.kernels import memory
from softonce.losses.kernels.memory import Scratch, in_huge_pages

NUM_LARGE = 2**22 + 5


@pytest.fixture
def advice(monkeypatch):
    """Note what the system is asked for, and ask."""
    noted, ask = [], memory._madvise()

    def call(*args):
        noted.append((*args, ask(*args)))

    monkeypatch.setattr(memory, "_madvise", lambda: call)
    return noted


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="the system has no such advice")
def test_the_system_is_asked_for_the_whole_pages_of_a_large_tensor(advice):
    tensor = torch.empty(NUM_LARGE)
    assert in_huge_pages(tensor) is tensor
    ((start, length, _, _),) = advice
    stop, address = start + length, tensor.data_ptr()
    assert start % 2**21 == stop % 2**21 == 0
    assert 0 <= start - address < 2**21
    assert 0 <= address + 4 * NUM_LARGE - stop < 2**21
    tensor.fill_(3.0)
    assert tensor.sum().item() == 3.0 * NUM_LARGE


@pytest.mark.parametrize(
    "tensor", [torch.empty(4), torch.empty(NUM_LARGE, device="meta")], ids=["small", "no values"]
)
def test_of_others_it_is_not(advice, tensor):
    assert in_huge_pages(tensor) is tensor
    assert not advice


def test_a_system_without_huge_pages_is_not_asked(monkeypatch, advice):
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    in_huge_pages(torch.empty(NUM_LARGE))
    assert not advice


def test_scratch_is_used_again_until_it_is_too_small_or_of_another_dtype():
    scratch, like = Scratch(), torch.zeros(())
    first = scratch.place("a", (2, 3), like)
    assert scratch.place("a", (3, 2), like).data_ptr() == first.data_ptr()
    assert scratch.place("b", (2, 3), like).data_ptr() != first.data_ptr()
    larger = scratch.place("a", (3, 3), like)
    assert larger.shape == (3, 3)
    assert scratch.place("a", (2, 3), like).data_ptr() == larger.data_ptr()
    assert scratch.place("a", (2, 3), like.double()).dtype == torch.float64
