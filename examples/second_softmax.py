"""What a second softmax costs: one small network, trained on handwritten digits with each.

The two runs share their weights at the start, the order of the batches and every setting. They are
float64, so that they print the same on every machine. `python second_softmax.py curves.png` draws
them, `--dark` for a dark page.
"""

import sys

import torch
from sklearn.datasets import load_digits
from torch import nn

from softonce import cross_entropy, softmax
from softonce.floors import double_softmax_floor

EPOCHS, BATCH, LR = 40, 64, 0.1
SHOWN = (1, 2, 5, 10, 20, 40)


def digits():
    """Return images and targets of train, then of test: every fifth image is for test."""
    data = load_digits()
    images = torch.tensor(data.images.reshape(-1, 64) / 16)
    target = torch.tensor(data.target)
    test = torch.arange(len(target)) % 5 == 0
    return images[~test], target[~test], images[test], target[test]


def once(logits, target):
    return cross_entropy(logits, target)


def twice(logits, target):
    return cross_entropy(softmax(logits, dim=1), target)  # noqa: SO101  the mistake that is shown


def train(loss_of):
    """Return one row an epoch: training loss, test accuracy, mean length of the gradient."""
    images, target, test_images, test_target = digits()
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).double()
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=0.9)
    rows = []
    for _ in range(EPOCHS):
        lengths = []
        for batch in torch.randperm(len(images)).split(BATCH):
            optimizer.zero_grad()
            loss_of(net(images[batch]), target[batch]).backward()
            lengths.append(torch.cat([p.grad.flatten() for p in net.parameters()]).norm().item())
            optimizer.step()
        with torch.no_grad():
            loss = loss_of(net(images), target).item()
            accuracy = (net(test_images).argmax(dim=1) == test_target).double().mean().item()
        rows.append((loss, accuracy, sum(lengths) / len(lengths)))
    return rows


def draw(curves, path, *, dark=False):
    from matplotlib.figure import Figure

    ink, colours = (
        ("#e8e8e8", ("#8cc4f5", "#ff9d8a")) if dark else ("#222222", ("#1f5f99", "#b3341f"))
    )
    figure = Figure(figsize=(8, 3.4), layout="constrained", facecolor="none")
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    epochs = range(1, EPOCHS + 1)
    for (name, rows), colour in zip(curves.items(), colours, strict=True):
        losses, accuracies, _ = zip(*rows, strict=True)
        loss_axes.plot(epochs, losses, color=colour, linewidth=2, label=name)
        accuracy_axes.plot(epochs, [100 * value for value in accuracies], color=colour, linewidth=2)
    floor = double_softmax_floor(10)
    loss_axes.axhline(floor, color=ink, linestyle="--", linewidth=1, label=f"floor {floor:.3f}")
    loss_axes.set(ylabel="training loss (nats)", ylim=(0, None))
    accuracy_axes.set(ylabel="test accuracy (%)", ylim=(60, 100))
    loss_axes.legend(frameon=False, labelcolor=ink)
    for axes in (loss_axes, accuracy_axes):
        axes.set_xlabel("epoch")
        axes.set_facecolor("none")
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(ink)
        axes.tick_params(colors=ink)
        axes.xaxis.label.set_color(ink)
        axes.yaxis.label.set_color(ink)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    curves = {"one softmax": train(once), "two softmaxes": train(twice)}
    print("        one softmax                 two softmaxes")
    print("epoch   loss   accuracy  gradient   loss   accuracy  gradient")
    for epoch in SHOWN:
        cells = (curves[name][epoch - 1] for name in curves)
        print(
            f"{epoch:5}", *(f"  {loss:.3f}  {acc:7.1%}  {grad:8.3f}" for loss, acc, grad in cells)
        )
    print(f"with two, no network gets below ln(1 + 9/e) = {double_softmax_floor(10):.3f}")
    for path in sys.argv[1:]:
        draw(curves, path, dark="dark" in path)
