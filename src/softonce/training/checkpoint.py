"""The whole training state in one .safetensors file, so that a killed run goes on bit for bit."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from softonce.console import LOG
from softonce.distributed import on_rank_zero, rank, world_size
from softonce.errors import ArtefactError, CheckpointError, describe_error
from softonce.files import make_folder
from softonce.groups import gather_rows
from softonce.losses import ShardedLinear
from softonce.tensors import read_record, read_tensors, write_tensors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from torch import Tensor, nn
    from torch.optim import Optimizer
    from torch.optim.swa_utils import AveragedModel

    from softonce.run_folder import RunFolder

KEEP = 2
"""The state before the last is kept, should the last be damaged."""


@dataclass
class Progress:
    """Where the run is.

    Args:
        epoch: epochs that are complete.
        batch: batches of the running epoch that are done.
        step: optimizer steps so far.
        seconds: time spent so far, over all sittings.
        num_rows: rows of `metrics.jsonl` that are behind this state.
        best: epoch, top1, nll, macro_f1 and balanced_accuracy of the best epoch so far.
        plateau: epochs in a row at the floor of a double softmax.
        least_loss: that of the epoch with the smallest one.
        extended_at: epochs that were complete when more were asked for.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    seconds: float = 0.0
    num_rows: int = 0
    best: dict[str, float] = field(default_factory=dict)
    plateau: int = 0
    least_loss: float | None = None
    extended_at: int = 0


@dataclass
class State:
    """All that a run changes while it goes on.

    Args:
        model: its parameters and buffers.
        optimizer: its state for every parameter.
        average: the moving average, or None.
        sums: loss, correct and images of the running epoch, float64.
        progress: where the run is.
        fingerprint: of the training data.
    """

    model: nn.Module
    optimizer: Optimizer
    average: AveragedModel | None
    sums: Tensor
    progress: Progress
    fingerprint: str


def save_checkpoint(run: RunFolder, state: State) -> None:
    """Write the state, then remove the older ones but the last; called by all processes.

    Raises:
        StorageError: if the disk is full; the states before stay.
    """
    numbers, options = _optimizer_tensors(state.optimizer)
    tensors = {**_module_tensors(state), **numbers, "sums": state.sums}
    for name, head in _sharded_heads(state, tensors).items():
        tensors[name] = head.whole(tensors[name])
    tensors |= _random_states()
    on_rank_zero(lambda: _write(run, state, tensors, options))


def _write(
    run: RunFolder, state: State, tensors: dict[str, Tensor], options: dict[str, Any]
) -> None:
    make_folder(run.checkpoints)
    record = {
        "kind": "checkpoint",
        "progress": asdict(state.progress),
        "optimizer": options,
        "fingerprint": state.fingerprint,
    }
    write_tensors(run.state(state.progress.step), tensors, record)
    for old in run.states()[KEEP:]:
        old.unlink(missing_ok=True)


def newest_state(run: RunFolder) -> Path | None:
    """Return the newest saved state that is whole; one that is not is named."""
    for path in run.states():
        try:
            read_record(path)
        except ArtefactError as error:
            LOG.warning("%s; going back to the state before it", error)
        else:
            return path
    return None


def load_checkpoint(path: Path, state: State) -> None:
    """Put a saved state back.

    Raises:
        ArtefactError: if the file is damaged.
        CheckpointError: if the state belongs to another network or other data.
    """
    tensors, record = read_tensors(path)
    _restore(path, tensors, record, state)


def _module_tensors(state: State) -> dict[str, Tensor]:
    tensors = {f"model.{name}": value for name, value in state.model.state_dict().items()}
    if state.average is not None:
        average = state.average.state_dict()
        tensors |= {f"average.{name}": value for name, value in average.items()}
    return tensors


def _sharded_heads(state: State, names: Iterable[str]) -> dict[str, ShardedLinear]:
    """Return the head of each tensor of which this process holds the rows of its classes only."""
    modules = {"model": state.model, "average": state.average}
    heads = {
        f"{prefix}.{name}": (head, parameter)
        for prefix, module in modules.items()
        if module is not None
        # By identity: an adapted network's state dict has other names than its modules.
        for name, value in module.state_dict(keep_vars=True).items()
        for head in module.modules()
        if isinstance(head, ShardedLinear)
        for parameter in head.parameters()
        if parameter is value
    }
    if not heads:
        return {}
    found = {name: head for name, (head, _) in heads.items()}
    owners = {id(parameter): head for head, parameter in heads.values()}
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    for name in names:
        kind, _, rest = name.partition(".")
        if kind == "optimizer" and not rest.endswith(".step"):
            head = owners.get(id(parameters[int(rest.split(".", 1)[0])]))
            found |= {} if head is None else {name: head}
    return found


def _optimizer_tensors(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split the optimizer's state into tensors, by number and name, and plain values."""
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for number, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            key = f"optimizer.{number}.{name}"
            if isinstance(value, torch.Tensor):
                tensors[key] = value
            else:
                plain[key] = value
    return tensors, plain


def _random_states() -> dict[str, Tensor]:
    """Return torch's random states, one row a process."""
    states = {"random.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["random.cuda"] = torch.cuda.get_rng_state()
    return {name: gather_rows(own[None], [1] * world_size()) for name, own in states.items()}


def _restore(
    path: Path, tensors: Mapping[str, Tensor], record: dict[str, Any], state: State
) -> None:
    if record.get("fingerprint") != state.fingerprint:
        raise CheckpointError(
            f"expected the training data that {path} was made with, found other files or labels: "
            "restore the data, or start a new run"
        )
    try:
        shards = _sharded_heads(state, tensors)
        tensors = {k: shards[k].part(v) if k in shards else v for k, v in tensors.items()}
        state.model.load_state_dict(_below(tensors, "model."))
        if state.average is not None:
            state.average.load_state_dict(_below(tensors, "average."))
        _restore_optimizer(state.optimizer, tensors, record["optimizer"])
        state.sums = tensors["sums"].to(state.sums.device)
        progress = Progress(**record["progress"])
        _check_progress(progress)
        _restore_random(tensors)
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"expected the state of this network in {path}, found: "
            f"{describe_error(error, 300)}; resume with the configuration it was made with"
        ) from error
    state.progress = progress


def _check_progress(progress: Progress) -> None:
    """Raise a `ValueError` if a field is no number of its kind: it was not written by a run."""
    counts = [
        progress.epoch, progress.batch, progress.step, progress.num_rows, progress.plateau,
        progress.extended_at,
    ]  # fmt: skip
    loss = [] if progress.least_loss is None else [progress.least_loss]
    numbers = [progress.seconds, *progress.best.values(), *loss]
    if not all(type(count) is int and count >= 0 for count in counts) or not all(
        type(number) in (int, float) for number in numbers
    ):
        raise ValueError(f"a progress of other numbers: {progress!r:.200}")


def _restore_random(tensors: Mapping[str, Tensor]) -> None:
    """Go on with this process's own random states; a process that is new keeps its fresh ones."""
    if rank() >= len(tensors["random.cpu"]):
        return
    torch.set_rng_state(tensors["random.cpu"][rank()].clone())  # torch reads views wrongly
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"][rank()].clone())


def _below(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): value
        for name, value in values.items()
        if name.startswith(prefix)
    }


def _restore_optimizer(
    optimizer: Optimizer, tensors: Mapping[str, Tensor], plain: dict[str, Any]
) -> None:
    state: dict[int, dict[str, Any]] = {}
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for key, value in {**_below(tensors, "optimizer."), **_below(plain, "optimizer.")}.items():
        place, name = key.split(".", 1)
        number = int(place)
        state.setdefault(number, {})[name] = _as_laid_out(value, parameters[number])
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    for number, values in state.items():  # what has no layout stays where the optimizer put it
        parameter = parameters[number]
        shaped = {n: v for n, v in values.items() if getattr(v, "shape", None) == parameter.shape}
        optimizer.state[parameter].update(shaped)


def _as_laid_out(value: Any, parameter: Tensor) -> Any:
    """Give a tensor the strides of its parameter: another layout may round differently."""
    if not isinstance(value, torch.Tensor) or value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, requires_grad=False).copy_(value)
