"""Every flag of torchvision's and timm's training scripts works, or is refused with our name.

Source: references/classification/train.py of pytorch/vision, train.py of pytorch-image-models.
"""

from __future__ import annotations

from functools import cache

import pytest
from cyclopts import App

from softonce.cli.app import main
from softonce.config import EvaluateConfig, PredictConfig, TrainConfig
from softonce.config.other_names import OTHER_NAMES, other_name

TORCHVISION = """
--data-path --model --device --batch-size -b --epochs --workers -j --opt --lr --momentum --wd
--weight-decay --norm-weight-decay --bias-weight-decay --transformer-embedding-decay
--label-smoothing --mixup-alpha --cutmix-alpha --lr-scheduler --lr-warmup-epochs
--lr-warmup-method --lr-warmup-decay --lr-step-size --lr-gamma --lr-min --print-freq --output-dir
--resume --start-epoch --cache-dataset --test-only --auto-augment --ra-magnitude
--augmix-severity --random-erase --amp --world-size --dist-url --model-ema --model-ema-steps
--model-ema-decay --use-deterministic-algorithms --interpolation --val-resize-size --val-crop-size
--train-crop-size --clip-grad-norm --ra-sampler --ra-reps --weights --backend --use-v2 --sync-bn
--pretrained
"""

# of all its versions since 2022
TIMM = """
-c --config -d -vb --dr --data --train-num-samples --val-num-samples --input-key --target-key
--fuser --fast-norm --model-kwargs --head-init-scale --head-init-bias --no-resume-opt --opt-eps
--opt-kwargs --layer-decay-min-scale --layer-decay-no-opt-scale --lr-base-size --lr-base-scale
--lr-noise --lr-noise-pct --lr-noise-std --lr-cycle-mul --lr-cycle-decay --lr-cycle-limit
--lr-k-decay --epoch-repeats --color-jitter-prob --grayscale-prob --gaussian-blur-prob
--aug-splits --bce-sum --bce-target-thresh --bce-pos-weight --resplit --bn-momentum --bn-eps
--sync-bn --split-bn --save-images --no-ddp-bb --dist-backend --synchronize-step
--device-modules --no-prefetcher --tta --use-multi-epochs-loader --wandb-project --wandb-tags
--wandb-resume-id --native-amp --apex-amp --local_rank
--data-dir --dataset --train-split --val-split --dataset-download --class-map --input-img-mode
--dataset-trust-remote-code --model -m --pretrained --pretrained-path --initial-checkpoint --resume
--num-classes --in-chans --gp --img-size --input-size --crop-pct --mean --std --interpolation -b
--batch-size --validation-batch-size --channels-last --grad-accum-steps --grad-checkpointing --opt
--opt-betas --momentum --weight-decay --clip-grad --clip-mode --layer-decay --sched
--sched-on-updates --lr --lr-base --warmup-lr --min-lr --epochs --start-epoch --decay-milestones
--decay-epochs --warmup-epochs --warmup-prefix --cooldown-epochs --patience-epochs --decay-rate
--no-aug --train-crop-mode --scale --ratio --hflip --vflip --color-jitter --aa --aug-repeats
--jsd-loss --bce-loss --reprob --remode --recount --mixup --cutmix --cutmix-minmax --mixup-prob
--mixup-switch-prob --mixup-mode --mixup-off-epoch --smoothing --train-interpolation --drop
--drop-connect --drop-path --drop-block --dist-bn --model-ema --model-ema-force-cpu
--model-ema-decay --model-ema-warmup --seed --worker-seeding --log-interval --recovery-interval
--checkpoint-hist -j --workers --amp --amp-dtype --amp-impl --model-dtype --device --pin-mem
--torchscript --torchcompile --output --experiment --eval-metric --val-interval --log-wandb
--local-rank
"""


@cache
def accepted(config_class: type) -> set[str]:
    """Return every flag of a verb."""
    app = App()
    app.default(config_class)
    return {name for argument in app.assemble_argument_collection() for name in argument.names}


@pytest.mark.parametrize("flag", sorted(set((TORCHVISION + TIMM).split())))
def test_a_known_flag_works_or_has_a_name_here(flag: str) -> None:
    assert (flag in accepted(TrainConfig)) != (other_name(flag) is not None)


@pytest.mark.parametrize("flag", OTHER_NAMES)
def test_a_flag_that_is_refused_gets_one_line_with_the_name(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "photos", flag, "1"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(lines) == 1
    assert f"{flag} is {OTHER_NAMES[flag]} here" in lines[0]


def test_what_is_named_exists() -> None:
    flags = accepted(TrainConfig) | accepted(EvaluateConfig) | accepted(PredictConfig)
    elsewhere = {"--nproc-per-node", "--sync-bn"}
    for name, hint in OTHER_NAMES.items():
        named = {word.strip(",;.") for word in hint.split() if word.startswith("--")}
        assert named <= flags | elsewhere, name
