"""From a plan to a job: the network, its layers, the loaders, the step, the optimizer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from softonce.artefact import Metadata
from softonce.config import TrainConfig
from softonce.config.train import ALL
from softonce.data.loader import Loader
from softonce.data.membership import pack_marks
from softonce.data.sources import short_name
from softonce.distributed import rank, world_size
from softonce.engines.networks import build_network, to_layout
from softonce.errors import ConfigError
from softonce.hardware import pick_device
from softonce.losses import ShardedLinear
from softonce.models import architecture_of
from softonce.models.adapted import AdaptedNetwork
from softonce.models.blocks import set_recompute_, set_stochastic_depth_
from softonce.models.sources import packages_of, without_folder
from softonce.preprocessing import num_channels
from softonce.training.checkpoint import Progress, State
from softonce.training.checks import check_shares, check_statistics
from softonce.training.contract import check_contract
from softonce.training.features import FeatureHead, FeatureLoader
from softonce.training.head_loss import HeadLoss, ShardedHeadLoss, has_many_logits
from softonce.training.job import Job
from softonce.training.layers import layers_of
from softonce.training.metrics_file import MetricsFile
from softonce.training.mixing import Mixing
from softonce.training.objective import LossFunction, Objective, class_weights
from softonce.training.optim import build_average, build_optimizer, build_schedule
from softonce.training.probe import Probe
from softonce.training.recipes import has_weights
from softonce.training.step import TrainStep

if TYPE_CHECKING:
    from softonce.data.splits import Splits
    from softonce.models import Network
    from softonce.preprocessing import Preprocessing
    from softonce.training.features import SplitFeatures
    from softonce.training.plan import Plan
    from softonce.training.start import Start


def build_model(
    start: Start, config: TrainConfig, num_classes: int
) -> tuple[Network, Preprocessing]:
    """Build the network, filled unless a saved state will fill it, and check that it gives logits.

    Raises:
        SoftonceError: if it cannot be built or filled, or gives anything but logits.
    """
    network, preprocessing = build_network(
        config.model,
        num_classes=num_classes,
        in_channels=num_channels(config.mode),
        weights=config.weights if start.state is None and has_weights(config) else None,
        size=config.size,
        strip_normaliser=config.strip_normaliser,
        stochastic_depth=config.stochastic_depth,
    )
    side = config.size or preprocessing.size
    check_contract(network, config.model, (num_channels(config.mode), side, side))
    return network, preprocessing


def build_job(
    plan: Plan,
    model: Network,
    splits: Splits,
    loss: LossFunction | None,
    features: SplitFeatures | None = None,
) -> Job:
    """Put together what the plan asks for, at the first step.

    Args:
        plan: what was decided.
        model: the network.
        splits: the images.
        loss: of the caller's, or None.
        features: those of the images, if the network is frozen up to its head: what learns is then
            the head by itself.

    Raises:
        ConfigError: if the network or the data cannot do what is asked.
    """
    device = pick_device(plan.device)
    layout = torch.channels_last if plan.channels_last else torch.contiguous_format
    to_layout(model, device, layout)
    metadata = _metadata(plan, model, splits)
    learner = model if features is None else FeatureHead.of(model)
    if plan.shard_head:
        assert isinstance(learner.head, nn.Linear)  # noqa: S101 - only such a head is shared
        learner.set_head_(ShardedLinear.from_linear(learner.head))
    train_loader, val_loader = _loaders(plan, splits, features)
    check_shares(train_loader, plan.grad_accum_steps if plan.shard_head else 1)
    if plan.sync_bn:
        nn.SyncBatchNorm.convert_sync_batchnorm(learner)  # type: ignore[no-untyped-call] # torch's
    if features is None:
        check_statistics(model, plan, train_loader)
        _prepare_blocks(model, plan)
    layers = layers_of(learner, freeze=plan.freeze, head_epochs=plan.head_epochs)
    optimizer = build_optimizer(layers, plan)
    # Whatever was measured before, the run begins alike; random layers differ between processes.
    torch.manual_seed(plan.seed + rank())
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    average = build_average(learner, plan)
    objective = _objective(plan, splits, loss, device)
    return Job(
        plan=plan,
        run=plan.folder,
        state=State(learner, optimizer, average, sums, Progress(), splits.train.fingerprint),
        step=_build_step(plan, learner, optimizer, objective),
        layers=layers,
        backbone=None if features is None else model,
        probe=_probe(plan, splits, features, objective, device),
        mixing=_mixing(plan, len(splits.listed.classes)),
        schedule=build_schedule(plan, len(train_loader)),
        train=train_loader,
        val=val_loader,
        metadata=metadata,
        metrics=MetricsFile(plan.folder.metrics),
        device=device,
    )


def _loaders(plan: Plan, splits: Splits, features: SplitFeatures | None) -> tuple[Loader, Loader]:
    """Return the loaders of train and val: of the images, or of their features."""
    make_loader = partial(
        Loader,
        preprocessing=plan.preprocessing,
        batch_size=plan.batch_size,
        seed=plan.seed,
        workers=plan.workers,
        rank=rank(),
        world_size=world_size(),
    )
    train = make_loader(
        splits.train, augmentation=plan.augmentation, balanced=plan.sampler == "balanced"
    )
    val = make_loader(splits.val)
    if features is None:
        return train, val
    return FeatureLoader.of(train, features.train), FeatureLoader.of(val, features.val)


def _probe(
    plan: Plan,
    splits: Splits,
    features: SplitFeatures | None,
    objective: Objective,
    device: torch.device,
) -> Probe | None:
    if not plan.probe or features is None:
        return None
    return Probe(
        features=features,
        target=splits.train.samples.target,
        val_target=splits.val.samples.target,
        units=splits.train.units,
        objective=objective,
        classes=splits.listed.classes,
        device=device,
        seed=plan.seed,
        is_crossed=splits.listed.val is None,
    )


def _prepare_blocks(model: Network, plan: Plan) -> None:
    """Set what `--stochastic-depth` and `--grad-checkpointing` ask of the network."""
    is_adapted = isinstance(model, AdaptedNetwork)  # built with its stochastic depth
    can_drop = is_adapted or set_stochastic_depth_(model, plan.stochastic_depth) > 0
    if not plan.grad_checkpointing:
        can_recompute = True
    else:
        can_recompute = (
            model.set_recompute_()
            if isinstance(model, AdaptedNetwork)
            else set_recompute_(model) > 0
        )
    if (plan.stochastic_depth and not can_drop) or not can_recompute:
        raise ConfigError(
            f"expected a network with residual blocks for --stochastic-depth and "
            f"--grad-checkpointing, found none in {plan.model}: leave these options out"
        )


def _mixing(plan: Plan, num_classes: int) -> Mixing | None:
    mixup, cutmix = plan.mixup_alpha, plan.cutmix_alpha
    return Mixing(num_classes, mixup, cutmix, plan.seed) if mixup or cutmix else None


def _objective(
    plan: Plan, splits: Splits, loss: LossFunction | None, device: torch.device
) -> Objective:
    target = splits.train.samples.target
    weight = class_weights(plan.class_weights, target, splits.listed.classes)
    if loss is not None:
        return Objective(loss)
    return Objective(
        weight=None if weight is None else weight.to(device),
        label_smoothing=plan.label_smoothing,
    )


def _build_step(
    plan: Plan, model: Network, optimizer: torch.optim.Optimizer, objective: Objective
) -> TrainStep:
    kind = next(model.parameters()).device.type
    num_images = plan.batch_size // (world_size() * plan.grad_accum_steps)
    has_loss = plan.shard_head or has_many_logits(model, objective, num_images)
    trained: nn.Module = model
    if has_loss:
        join = ShardedHeadLoss if plan.shard_head else HeadLoss
        trained = join(model, objective, compiled=plan.compile)
    if world_size() > 1 and not plan.shard_head:
        trained = DistributedDataParallel(trained, find_unused_parameters=_has_unused(model, plan))
    return TrainStep(
        model=torch.compile(trained) if plan.compile and not has_loss else trained,  # type: ignore[arg-type] # torch's
        optimizer=optimizer,
        objective=objective,
        autocast=partial(torch.autocast, kind, dtype=torch.bfloat16, enabled=plan.amp),
        clip_grad_norm=plan.clip_grad_norm,
        world_size=world_size(),
        num_parts=plan.grad_accum_steps,
        has_loss=has_loss,
    )


def _has_unused(model: Network, plan: Plan) -> bool:
    """Return whether a step may leave parameters out, as those of auxiliary heads."""
    return plan.head_epochs > 0 or getattr(model, "num_side_outputs", 0) > 0


def _metadata(plan: Plan, model: Network, splits: Splits) -> Metadata:
    arch, arch_args = architecture_of(model)
    training: dict[str, Any] = {
        "data": short_name(plan.data),
        "fingerprint": splits.train.fingerprint,
        "epochs": plan.epochs,
        "num_train": len(splits.train),
        "num_val": len(splits.val),
    }
    if plan.select_by != TrainConfig.select_by:
        training["select_by"] = plan.select_by
    if splits.listed.val is None and plan.val_fold != ALL:
        how = "val_fraction" if plan.val_fold is None else "val_fold"
        training["split"] = {how: getattr(plan, how), "seed": plan.seed}
    return Metadata(
        arch=without_folder(arch),
        arch_args=arch_args,
        classes=splits.listed.classes,
        preprocessing=plan.preprocessing,
        training=training,
        packages=packages_of(arch),
        trained_on=pack_marks(splits.train.digests),
    )
