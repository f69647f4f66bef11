"""The loops that people use, where they are installed: watched as they are, nothing in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from softonce.checker.runtime import watch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TARGET = torch.arange(64) % 4
IMAGES = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))


def network(*, guilty: bool) -> nn.Sequential:
    torch.manual_seed(0)
    last = nn.Softmax(dim=1) if guilty else nn.Identity()
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4), last)


def lightning(net: nn.Module, folder: Path) -> None:
    pl: Any = pytest.importorskip("pytorch_lightning", reason="needs pytorch-lightning")

    class Lit(pl.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def training_step(self, batch: list[Tensor], index: int) -> Tensor:
            loss = F.cross_entropy(self.net(batch[0]), batch[1])
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(Lit(), DataLoader(TensorDataset(IMAGES, TARGET), batch_size=16))


def hugging_face(net: nn.Module, folder: Path) -> None:
    hf: Any = pytest.importorskip("transformers", reason="needs transformers")
    pytest.importorskip("accelerate", reason="needs accelerate")

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
            scores = self.net(images)
            return {"loss": nn.CrossEntropyLoss()(scores, labels), "logits": scores}

    rows = [{"images": x, "labels": y} for x, y in zip(IMAGES, TARGET, strict=True)]
    arguments = hf.TrainingArguments(
        output_dir=str(folder), num_train_epochs=2, per_device_train_batch_size=16,
        report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    hf.Trainer(model=Model(), args=arguments, train_dataset=rows).train()


def skorch(net: nn.Module, folder: Path) -> None:
    library: Any = pytest.importorskip("skorch", reason="needs skorch")
    options = {"criterion": nn.CrossEntropyLoss, "max_epochs": 2, "batch_size": 16, "verbose": 0}
    library.NeuralNetClassifier(net, train_split=None, **options).fit(
        IMAGES.numpy(), TARGET.numpy()
    )


def ignite(net: nn.Module, folder: Path) -> None:
    engine: Any = pytest.importorskip("ignite.engine", reason="needs pytorch-ignite")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    trainer = engine.create_supervised_trainer(net, optimizer, nn.CrossEntropyLoss())
    trainer.run(DataLoader(TensorDataset(IMAGES, TARGET), batch_size=16), max_epochs=2)


def plain(net: nn.Module, folder: Path) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for start in range(0, 64, 16):
        rows = slice(start, start + 16)
        loss = F.cross_entropy(net(IMAGES[rows]), TARGET[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def data_parallel(net: nn.Module, folder: Path) -> None:
    plain(nn.DataParallel(net), folder)


LOOPS = [plain, data_parallel, lightning, hugging_face, skorch, ignite]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
def test_second_softmax_is_found_and_the_training_is_untouched(
    loop: Callable[[nn.Module, Path], None], tmp_path: Path
) -> None:
    unwatched, watched, right = network(guilty=True), network(guilty=True), network(guilty=False)
    torch.manual_seed(1)
    loop(unwatched, tmp_path)
    torch.manual_seed(1)
    with watch(report=False, steps=3) as session:
        loop(watched, tmp_path)
    assert {finding.code for finding in session.findings} == {"SO101"}
    assert session.findings[0].witness == "tag"
    for a, b in zip(unwatched.parameters(), watched.parameters(), strict=True):
        assert torch.equal(a, b)
    with watch(report=False) as session:
        loop(right, tmp_path)
    assert session.findings == []
    assert session.ledger.num_looks > 0
