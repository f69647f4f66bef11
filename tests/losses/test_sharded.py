"""The sharded loss in groups of gloo processes; the checks themselves are in `sharded_checks.py`.

The processes start once for each size of the group, and run all checks.
"""

import pytest
import torch
import torch.distributed as dist
from processes import run_together
from sharded_checks import in_all_processes

from softonce import groups
from softonce.errors import ArgumentError
from softonce.losses import ShardedLinear, sharded_linear_cross_entropy


@pytest.mark.parametrize("world_size", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_every_check_holds_in_a_group_of(world_size):
    run_together(in_all_processes, world_size)


def one_rank_fails():
    assert dist.get_rank() == 0, "rank 1 alone"
    dist.barrier()


def test_what_fails_in_one_process_fails_here_with_its_traceback():
    with pytest.raises(AssertionError, match="rank 1 alone"):
        run_together(one_rank_fails, 2)


def test_without_torchrun_the_message_names_it(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with (
        pytest.raises(ArgumentError, match=r"expected a rank.*found neither.*torchrun"),
        groups.open_group("gloo"),
    ):
        pass


@pytest.mark.parametrize("call", ["loss", "loss_and_pred"])
def test_a_head_that_knows_its_classes_takes_no_others(call):
    head = ShardedLinear(4, 10)
    with pytest.raises(TypeError, match="class_start"):
        getattr(head, call)(torch.ones(2, 4), torch.tensor([0, 9]), class_start=1)


@pytest.mark.parametrize("name", ["features", "local_weight", "target"])
def test_what_is_no_tensor_is_named(name):
    tensors = {"features": torch.ones(2, 4), "local_weight": torch.ones(3, 4)}
    tensors["target"] = torch.tensor([0, 2])
    tensors[name] = tensors[name].tolist()
    with pytest.raises(ArgumentError, match=f"expected {name} to be a torch.Tensor, found list"):
        sharded_linear_cross_entropy(**tensors, class_start=0, class_stop=3)
