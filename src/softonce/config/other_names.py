"""What the scripts and packages of others call an option or a verb -> what to write here."""

from __future__ import annotations

_NOTHING = "nothing: "
_DATA = "DATA, as the first argument"
_WEIGHTS = "--weights FILE"
_MIX = _NOTHING + "a step mixes its whole batch, by mixup or cutmix with even chances"
_POLICY = "--auto-augment ta_wide"
_PROCESSES = "torchrun --nproc-per-node N -m softonce train"
_SCHEDULE = "--lr-scheduler with --lr-step-size and --lr-gamma"
_LOSS = (
    _NOTHING + "the loss is cross-entropy, softmax inside; softonce.train(loss=...) takes another"
)
_ALWAYS = _NOTHING + "it is always on"
_CONSTANT = _NOTHING + "torch's own constants are used"
_EACH_ONCE = _NOTHING + "each image is seen once an epoch"
_TRACK = "--track tensorboard; softonce.train(sinks=...) takes your own"

OTHER_NAMES = {
    # data
    "-c": "--config FILE, a TOML file",
    "--data-dir": _DATA,
    "--train_dir": _DATA,
    "--validation_dir": "DATA with val/ in it",
    "--dataset": _DATA,
    "-d": _DATA,
    "--train-num-samples": _NOTHING + "the images are counted",
    "--val-num-samples": _NOTHING + "the images are counted",
    "--input-key": _NOTHING + "a manifest's columns are path and label",
    "--target-key": _NOTHING + "a manifest's columns are path and label",
    "--dataset-download": _NOTHING + "the images are yours",
    "--dataset-trust-remote-code": _NOTHING + "no foreign code is run",
    "--train-split": "DATA with train/ in it",
    "--val-split": "DATA with val/ in it, or --val-fraction",
    "--train_val_split": "--val-fraction",
    "--class-map": _NOTHING + "classes are the folders' names, sorted",
    "--num-classes": _NOTHING + "the folders are counted",
    "--in-chans": "--mode RGB, L, or a number of channels",
    "--input-img-mode": "--mode",
    "--input-size": "--size",
    "--img-size": "--size",
    "--imgsz": "--size",
    "--crop-pct": "--resize, in pixels",
    "--crop-mode": "--fit",
    "--train-crop-mode": "--augment",
    "--train-interpolation": "--interpolation",
    "--cache-dataset": _NOTHING + "small images are kept in memory",
    # model
    "--pretrained": "--weights DEFAULT",
    "--pretrained-path": _WEIGHTS,
    "--initial-checkpoint": _WEIGHTS,
    "--model_name_or_path": "--model with --weights",
    "--drop": _NOTHING + "these networks have no dropout; --stochastic-depth drops residuals",
    "--drop-path": "--stochastic-depth",
    "--drop-connect": "--stochastic-depth",
    "--drop-block": "--stochastic-depth",
    "--gp": _NOTHING + "the networks average",
    "--model-kwargs": "the registered function in Python, which takes any option",
    "--head-init-scale": _CONSTANT,
    "--head-init-bias": _CONSTANT,
    "--bn-momentum": _CONSTANT,
    "--bn-eps": _CONSTANT,
    "--fast-norm": "--amp",
    # optimisation
    "--validation-batch-size": _NOTHING + "--batch-size is for both",
    "-vb": _NOTHING + "--batch-size is for both",
    "--sched": _SCHEDULE,
    "--decay-epochs": "--lr-step-size",
    "--decay-rate": "--lr-gamma",
    "--dr": "--lr-gamma",
    "--decay-milestones": "--lr-step-size",
    "--sched-on-updates": _ALWAYS,
    "--warmup-epochs": "--lr-warmup-epochs",
    "--warmup_ratio": "--lr-warmup-epochs",
    "--warmup-lr": "--lr-warmup-decay",
    "--warmup-prefix": _ALWAYS,
    "--cooldown-epochs": _NOTHING + "the schedule ends with the last epoch",
    "--patience-epochs": "--patience, which stops the run",
    "--metric_for_best_model": "--select-by top1, nll, macro_f1 or balanced",
    "--min-lr": "--lr-min",
    "--lr-base": "--lr; a recipe's own rate is in proportion to the batch",
    "--lr-base-size": "--lr; a recipe's own rate is in proportion to the batch",
    "--lr-base-scale": "--lr; a recipe's own rate is in proportion to the batch",
    "--lr-noise": _SCHEDULE,
    "--lr-noise-pct": _SCHEDULE,
    "--lr-noise-std": _SCHEDULE,
    "--lr-cycle-mul": _SCHEDULE,
    "--lr-cycle-decay": _SCHEDULE,
    "--lr-cycle-limit": _SCHEDULE,
    "--lr-k-decay": _SCHEDULE,
    "--learning_rate": "--lr",
    "--lr_scheduler_type": "--lr-scheduler",
    "--num_train_epochs": "--epochs",
    "--per_device_train_batch_size": "--batch-size, over all devices",
    "--optim": "--opt",
    "--opt-betas": "--momentum, the first beta",
    "--opt-eps": _CONSTANT,
    "--opt-kwargs": "--opt with --momentum and --weight-decay",
    "--layer-decay-min-scale": "--layer-decay",
    "--layer-decay-no-opt-scale": "--freeze",
    "--smoothing": "--label-smoothing",
    "--clip-grad": "--clip-grad-norm",
    "--clip-mode": "--clip-grad-norm",
    "--bce-loss": _LOSS,
    "--jsd-loss": _LOSS,
    "--bce-sum": _LOSS,
    "--bce-target-thresh": _LOSS,
    "--bce-pos-weight": "--class-weights; " + _LOSS,
    "--start-epoch": "--resume RUN, which knows where it was",
    "--no-resume-opt": _WEIGHTS + ", which starts a new run from them",
    "--epoch-repeats": "--epochs",
    "--transformer-embedding-decay": _NOTHING + "no network here has embeddings",
    "--model-ema-force-cpu": _NOTHING + "the average lies beside the network",
    # augmentation
    "--no-aug": "--augment none",
    "--fliplr": "--hflip",
    "--vflip": _NOTHING + "images are only flipped left to right",
    "--color-jitter": _POLICY,
    "--color-jitter-prob": _POLICY,
    "--grayscale-prob": _POLICY,
    "--gaussian-blur-prob": _POLICY,
    "--aa": _POLICY,
    "--ra-magnitude": _POLICY,
    "--augmix-severity": _POLICY,
    "--ra-sampler": _EACH_ONCE,
    "--ra-reps": _EACH_ONCE,
    "--aug-repeats": _EACH_ONCE,
    "--aug-splits": _EACH_ONCE,
    "--split-bn": _EACH_ONCE,
    "--reprob": "--random-erase",
    "--erasing": "--random-erase",
    "--remode": "--random-erase-fill noise or mean",
    "--recount": _NOTHING + "one box a picture",
    "--resplit": _NOTHING + "every image is erased alike",
    "--mixup": "--mixup-alpha",
    "--cutmix": "--cutmix-alpha",
    "--cutmix-minmax": "--cutmix-alpha",
    "--mixup-prob": _MIX,
    "--mixup-switch-prob": _MIX,
    "--mixup-mode": _MIX,
    "--mixup-off-epoch": _MIX,
    "--backend": _NOTHING + "Pillow reads, tensors are augmented",
    "--use-v2": _NOTHING + "the transforms are our own",
    # hardware
    "--torchcompile": "--compile",
    "--torch_compile": "--compile",
    "--torchscript": "--compile",
    "--fuser": "--compile",
    "--amp-dtype": "--amp, which is bfloat16",
    "--amp-impl": "--amp, which is bfloat16",
    "--model-dtype": "--amp, which keeps the weights in float32",
    "--native-amp": "--amp",
    "--apex-amp": "--amp",
    "--bf16": "--amp",
    "--pin-mem": _NOTHING + "it is done if it helps",
    "--no-prefetcher": "--workers 0",
    "--use-multi-epochs-loader": _ALWAYS,
    "--dataloader_num_workers": "--workers",
    "--world-size": _PROCESSES,
    "--dist-url": _PROCESSES,
    "--local-rank": _PROCESSES,
    "--dist-bn": "--sync-bn",
    "--no-ddp-bb": _NOTHING + "batch statistics stay per process, and the first one's are kept",
    "--dist-backend": _NOTHING + "nccl between GPUs, else gloo",
    "--device-modules": "--device",
    "--synchronize-step": "--profile, which times the parts of a step",
    "--gpu": "--device cuda",
    # run
    "--project": "--output",
    "--experiment": "--output",
    "--exist_ok": "--overwrite",
    "--resume_from_checkpoint": "--resume RUN",
    "--print-freq": _NOTHING + "progress is shown, and --quiet hides it",
    "--log-interval": _NOTHING + "progress is shown, and --quiet hides it",
    "--val-interval": _NOTHING + "every epoch is validated",
    "--recovery-interval": "--checkpoint-seconds",
    "--checkpoint-hist": _NOTHING + "the last two states and the best epoch are kept",
    "--eval-metric": "--select-by top1, nll, macro_f1 or balanced",
    "--log-wandb": _TRACK,
    "--wandb-project": _TRACK,
    "--wandb-tags": _TRACK,
    "--wandb-resume-id": _TRACK,
    "--worker-seeding": _ALWAYS,
    "--save-images": _NOTHING + "the batch of a NaN loss is saved automatically",
    "--tta": "--tta flip of evaluate and predict",
    "--test-only": "the verb evaluate",
    # predict, evaluate
    "--topk": "--top-k",
    "--results-format": "--format",
    "--output-type": "--emit",
}

_BY_KEY = {name.replace("_", "-"): hint for name, hint in OTHER_NAMES.items()}

OTHER_VERBS = {
    "fit": "train",
    "finetune": "train",
    "fine-tune": "train",
    "val": "evaluate",
    "validate": "evaluate",
    "eval": "evaluate",
    "test": "evaluate",
    "infer": "predict",
    "inference": "predict",
    "classify": "predict",
    "convert": "export",
    "deploy": "serve",
    "lint": "check",
    "run": "watch",
    "info": "inspect",
    "summary": "inspect",
}


def other_name(flag: str) -> str | None:
    """Return what to write here for an option of another script, with hyphens or underscores.

    Example:
        >>> other_name("--imgsz"), other_name("--learning-rate"), other_name("--learning_rate")
        ('--size', '--lr', '--lr')
        >>> other_name("--epochs")
    """
    return _BY_KEY.get(flag.replace("_", "-"))
