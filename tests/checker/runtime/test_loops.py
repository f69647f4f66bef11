"""Loops of other shapes: data-parallel replicas, DDP, accumulation, a trainer with hooks."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from processes import run_together
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

from softonce.checker.runtime import watch

TARGET = torch.arange(16) % 4


def guilty_net() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 4), nn.Softmax(dim=1))


def _train_guilty_together() -> None:
    """Train under DDP in this process of a group, watched; only rank 0 looks."""
    rank = torch.distributed.get_rank()
    os.environ["RANK"] = str(rank)
    torch.manual_seed(0)
    net = DistributedDataParallel(guilty_net())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with watch(report=False, steps=2) as session:
        for step in range(4):
            generator = torch.Generator().manual_seed(10 * step + rank)
            loss = F.cross_entropy(net(torch.randn(16, 6, generator=generator)), TARGET)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    found = [(f.code, f.witness) for f in session.findings]
    assert found == ([("SO101", "tag")] if rank == 0 else [])
    weights = torch.cat([p.detach().flatten() for p in net.parameters()])
    others = [torch.empty_like(weights) for _ in range(2)]
    torch.distributed.all_gather(others, weights)
    assert torch.equal(*others)


def test_ddp_in_two_processes_is_watched_on_rank_0_and_keeps_in_step() -> None:
    run_together(_train_guilty_together, 2)


def test_replica_in_another_thread_is_known_by_autograds_record() -> None:
    net, images, results = guilty_net(), torch.randn(16, 6), []
    with watch(report=False) as session:
        # As DataParallel runs its replicas: where this thread's modes are not seen.
        from threading import Thread

        thread = Thread(target=lambda: results.append(net(images)))
        thread.start()
        thread.join()
        F.cross_entropy(torch.cat(results), TARGET).backward()
    assert [(f.code, f.witness) for f in session.findings] == [("SO101", "grad_fn")]


def test_forked_workers_of_a_loader_do_not_disturb() -> None:
    data = TensorDataset(torch.randn(32, 6), TARGET.repeat(2))
    net = guilty_net()
    with watch(report=False) as session:
        for images, target in DataLoader(data, batch_size=16, num_workers=1):
            F.cross_entropy(net(images), target).backward()
    assert [f.code for f in session.findings] == ["SO101"]
    assert session.ledger.num_looks == 2


class Trainer:
    """A loop that hands its step to the optimizer as a closure, as Lightning does."""

    def __init__(self, net: nn.Module) -> None:
        self.net, self.criterion = net, nn.CrossEntropyLoss()
        self.optimizer = torch.optim.AdamW(net.parameters())

    def compute_loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.criterion(self.net(batch["images"]), batch["labels"])

    def fit(self, steps: int) -> None:
        for _ in range(steps):
            self.optimizer.step(self.closure)

    def closure(self) -> torch.Tensor:
        self.optimizer.zero_grad()
        loss = self.compute_loss({"images": torch.randn(16, 6), "labels": TARGET})
        loss.backward()
        return loss


def test_trainer_with_closures_is_followed_to_both_lines() -> None:
    with watch(report=False, steps=3) as session:
        Trainer(guilty_net()).fit(5)
    (finding,) = session.findings
    assert finding.code == "SO101"
    assert Path(finding.place.path).resolve() == Path(__file__)
    assert session.num_looked_at == 3
