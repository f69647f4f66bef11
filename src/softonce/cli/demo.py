"""`softonce demo`: the main job on digits and on photographs, and the cost of a second softmax."""

from __future__ import annotations

import shlex
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softonce.config import DemoConfig
from softonce.errors import SoftonceError
from softonce.run_folder import RunFolder

if TYPE_CHECKING:
    from torch import Tensor

TEST_EVERY = 5
"""Every fifth picture is a test picture."""
NUM_SHOWN = 5
"""Predictions that the demo prints: one of each of the first digits."""
TILE = 32  # pixels: 13 x 20 tiles of a photograph, as large as the pictures of CIFAR
PHOTOGRAPHS = {"temple": "china.jpg", "flower": "flower.jpg"}
_TRAIN_OPTIONS = (
    "--model cifar_resnet20 --mode L --size 16 --batch-size 64 --hflip 0"
    " --model-ema --model-ema-decay 0.99"
)


def demo(config: DemoConfig = DemoConfig()) -> None:  # noqa: B008 - frozen
    """Train, evaluate and predict on handwritten digits and on tiles of two photographs.

    The data ship with scikit-learn. Prints each command line that it runs, and then trains the
    network of the digits once more through two softmaxes, to show how its loss gets stuck.
    """
    run = RunFolder(config.output / "run")
    _show_digits(run, config)
    _show_photographs(config)
    _show_second_softmax(run, RunFolder(config.output / "double"))


def _show_digits(run: RunFolder, config: DemoConfig) -> None:
    data = config.output / "digits"
    write_digits(data)
    options = f"{_TRAIN_OPTIONS} --epochs {config.epochs}"
    _run(f"train {_quote(data)} {options} --output {_quote(run.path)} --overwrite", config)
    artefact = run.artefact
    _run(f"evaluate {_quote(artefact)} {_quote(data)}", config)
    shown = [min((data / "test" / str(digit)).iterdir()) for digit in range(NUM_SHOWN)]
    images = " ".join(map(_quote, shown))
    _run(f"predict {_quote(artefact)} {images} --top-k 3", config)
    _run(f"inspect {_quote(artefact)}", config)


def _show_photographs(config: DemoConfig) -> None:
    data, run = config.output / "photographs", config.output / "photographs-run"
    write_photographs(data)
    print(  # noqa: T201 - the result
        "\nscikit-learn ships no set of photographs to classify, but two photographs, of a temple "
        "and\nof a flower (CC BY 2.0). Which of them is a tile cut from?"
    )
    epochs = max(1, config.epochs // 2)  # enough for two classes
    options = f"--model cifar_resnet20 --epochs {epochs}"
    _run(f"train {_quote(data)} {options} --output {_quote(run)} --overwrite", config)
    tiles = [sorted((data / "test" / name).iterdir())[n] for name in PHOTOGRAPHS for n in (2, 9)]
    _run(f"predict {_quote(run)} {' '.join(map(_quote, tiles))}", config)


def write_digits(data: Path) -> None:
    """Write the 1,797 digits as 8 x 8 PNG files: every fifth of a digit is for `test/`.

    Source:
        Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, UCI Machine Learning
        Repository; the copy that ships in scikit-learn.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    pictures = (digits.images * (255 / 16)).round().astype("uint8")
    seen = [0] * 10
    for number, (picture, digit) in enumerate(zip(pictures, digits.target.tolist(), strict=True)):
        split = "train" if seen[digit] % TEST_EVERY else "test"
        seen[digit] += 1
        _write(data / split / str(digit) / f"{number:04d}.png", picture)


def write_photographs(data: Path) -> None:
    """Write the tiles of two photographs as JPEG files: every fifth of each is for `test/`.

    Source:
        china.jpg by danielbuechele and flower.jpg by vultilion, flickr.com, CC BY 2.0; the copies
        that ship in scikit-learn.
    """
    from sklearn.datasets import load_sample_image

    for name, file in PHOTOGRAPHS.items():
        photograph = load_sample_image(file)
        rows, columns = (side // TILE for side in photograph.shape[:2])
        for number, (row, column) in enumerate(product(range(rows), range(columns))):
            split = "train" if number % TEST_EVERY else "test"
            top, left = row * TILE, column * TILE
            tile = photograph[top : top + TILE, left : left + TILE]
            _write(data / split / name / f"{number:03d}.jpg", tile)


def _write(path: Path, picture: Any) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, quality=95)  # of JPEG; a PNG has none


def _run(command: str, config: DemoConfig) -> None:
    """Print a command line as it would be typed, and run it."""
    from softonce.cli.app import main

    print(f"\n$ softonce {command}", flush=True)  # noqa: T201 - the result
    status = main(shlex.split(command) + (["--quiet"] if config.quiet else []))
    if status:
        raise SoftonceError(f"expected status 0 of softonce {command}, found {status}")


def _quote(path: Path) -> str:
    return shlex.quote(str(path))


def _show_second_softmax(run: RunFolder, double: RunFolder) -> None:
    """Train the same network through two softmaxes, and draw both losses beside the floor."""
    import dataclasses

    from softonce.cli.tables import print_paths
    from softonce.config import TrainConfig
    from softonce.config.toml import from_toml
    from softonce.floors import double_softmax_floor
    from softonce.training.metrics_file import MetricsFile
    from softonce.training.run import train

    print("\nThe same network once more, through a second softmax:")  # noqa: T201 - the result
    config = from_toml(run.config, TrainConfig)
    train(dataclasses.replace(config, output=double.path, overwrite=True), loss=double_softmax_loss)
    curves = {
        name: [row["loss"] for row in MetricsFile(folder.metrics).rows() if row["split"] == "train"]
        for name, folder in (("one softmax", run), ("two softmaxes", double))
    }
    floor = double_softmax_floor(10)
    picture = run.path.parent / "double_softmax.png"
    draw_losses(curves, floor, picture)
    print(  # noqa: T201 - the result
        f"final training loss, in nats: {curves['one softmax'][-1]:.3f} with one softmax, "
        f"{curves['two softmaxes'][-1]:.3f} with two; "
        f"no network gets below ln(1 + 9/e) = {floor:.3f} with two"
    )
    print_paths({"picture": picture, "artefact": run.artefact, "report": run.report})


def double_softmax_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the mistake that the product is about: a softmax before `cross_entropy`'s own."""
    from softonce.losses import cross_entropy, softmax

    return cross_entropy(softmax(logits, dim=1), target)  # noqa: SO101 - the demonstration


def draw_losses(curves: dict[str, list[float]], floor: float, path: Path) -> None:
    """Draw the loss of each epoch, and the floor, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    from softonce.files import replacing

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for (name, losses), colour in zip(curves.items(), ("#2066a8", "#c0392b"), strict=True):
        epochs = range(1, len(losses) + 1)
        axes.plot(epochs, losses, color=colour, linewidth=2, label=name)
        axes.annotate(
            f"{losses[-1]:.3f}",
            (epochs[-1], losses[-1]),
            xytext=(5, 4),
            textcoords="offset points",
            color=colour,
        )
    label = f"floor of two softmaxes: ln(1 + 9/e) = {floor:.3f}"
    axes.axhline(floor, color="#444444", linestyle="--", linewidth=1, label=label)
    axes.set(xlabel="epoch", ylabel="training loss (nats)", ylim=(0, None))
    axes.set_title("The softmax happens once: inside the loss", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.06)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
