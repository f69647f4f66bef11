"""Whole programs, run by Python and run watched: the same output, weights and exit status."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """\
import hashlib, os, sys
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
images = torch.randn(64, 8)
target = images[:, :4].argmax(1)
onehot = F.one_hot(target, 4).float()


def say(net):
    weights = torch.cat([p.detach().flatten() for p in net.parameters()])
    bits = weights.numpy().tobytes() + torch.get_rng_state().numpy().tobytes()
    print(hashlib.sha256(bits).hexdigest(), flush=True)


def network(*last):
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 4), *last)


def train(net, loss_of=F.cross_entropy, steps=30, kind=torch.optim.SGD):
    optimizer = kind(net.parameters(), lr=0.05)
    for step in range(steps):
        rows = torch.randperm(64)[:16]
        loss = loss_of(net(images[rows]), target[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss)


"""
# Name -> (the program, the rules that are found in it).
PROGRAMS: dict[str, tuple[str, set[str]]] = {
    "right": ("net = network(); print(train(net)); say(net)", set()),
    "softmax": ("net = network(nn.Softmax(1)); print(train(net)); say(net)", {"SO101"}),
    "adam": ("net = network(); train(net, kind=torch.optim.AdamW); say(net)", set()),
    "moves away": (
        ("here = os.path.dirname(__file__); os.chdir('/')\n"
        "print(len(open(os.path.join(here, 'beside.txt')).read())); say(network(nn.Softmax(1)))"),
        set(),
    ),
    "own hook": (
        ("sys.excepthook = lambda *error: print('mine', error[0].__name__)\n"
        "net = network(nn.Softmax(1)); train(net); say(net); raise KeyError('x')"),
        {"SO101"},
    ),
    "pickles at exit": (
        ("import atexit, io, pickle\n"
        "class Net(nn.Linear): pass\n"
        "net = Net(8, 4); train(net)\n"
        "atexit.register(lambda: print(type(pickle.loads(pickle.dumps(net))).__name__))"),
        set(),
    ),
    "status": ("say(network()); sys.exit(7)", set()),
    "message": ("say(network()); sys.exit('no more')", set()),
    "error": ("train(network(nn.Softmax(1))); raise ValueError('mine')", {"SO101"}),
    "skips the end": ("net = network(nn.Softmax(1)); train(net); say(net); os._exit(5)", {"SO101"}),
    "becomes another": (
        ("net = network(nn.Softmax(1)); train(net); say(net)\n"
        "os.execv(sys.executable, [sys.executable, '-c', 'print(42)'])"),
        {"SO101"},
    ),
    "no optimizer": (
        ("net = network(nn.Softmax(1))\n"
        "for step in range(60):\n"
        "    loss = F.cross_entropy(net(images), target); net.zero_grad(); loss.backward()\n"
        "    with torch.no_grad():\n"
        "        for p in net.parameters(): p -= 0.1 * p.grad\n"
        "say(net)"),
        {"SO101"},
    ),
    "evaluation only": (
        ("net = network(nn.Softmax(1)).eval()\n"
        "with torch.no_grad():\n"
        "    print(sum(float(F.cross_entropy(net(images), target)) for _ in range(40)))"),
        {"SO101"},
    ),
    "accumulation": (
        ("net = network(); optimizer = torch.optim.SGD(net.parameters(), lr=0.1)\n"
        "for step in range(80):\n"
        "    (F.cross_entropy(net(images), target) / 4).backward()\n"
        "    if step % 4 == 3: optimizer.step(); optimizer.zero_grad()\n"
        "say(net)"),
        set(),
    ),
    "written by hand": (
        ("net = network(nn.Softmax(1))\n"
        "def loss_of(p, y): return -F.log_softmax(p, 1).gather(1, y[:, None]).mean()\n"
        "print(train(net, loss_of)); say(net)"),
        {"SO202"},
    ),
    "log of softmax again": (
        ("net = network(nn.Softmax(1))\n"
        "print(train(net, lambda p, y: F.nll_loss(F.log_softmax(p, 1), y))); say(net)"),
        {"SO101"},
    ),
    "closure": (
        ("net = network(); optimizer = torch.optim.LBFGS(net.parameters(), max_iter=3)\n"
        "def closure():\n"
        "    optimizer.zero_grad(); loss = F.cross_entropy(net(images), target); loss.backward()\n"
        "    return loss\n"
        "for _ in range(4): optimizer.step(closure)\n"
        "say(net)"),
        set(),
    ),
    "warns": (
        ("import warnings\n"
        "warnings.showwarning = lambda text, kind, file, line, *_: print(file, line)\n"
        "F.softmax(images); nn.Softmax()(images); warnings.warn('mine'); say(network())"),
        set(),
    ),
    "loader": (
        ("from torch.utils.data import DataLoader, TensorDataset\n"
        "net = network(nn.Softmax(1))\n"
        "for x, y in DataLoader(TensorDataset(images, target), 16, num_workers=2): \n"
        "    F.cross_entropy(net(x), y).backward()\n"
        "say(net)"),
        {"SO101"},
    ),
    "gan": (
        ("g, d = nn.Linear(4, 8), network(); kind = torch.optim.Adam\n"
        "both = kind(g.parameters()), kind(d.parameters())\n"
        "for step in range(30):\n"
        "    fake = d(g(torch.randn(16, 4)))[:, 0]; real = d(images[:16])[:, 0]\n"
        "    bce = F.binary_cross_entropy_with_logits\n"
        "    loss = bce(real, torch.ones(16)) + bce(fake, torch.zeros(16))\n"
        "    for o in both: o.zero_grad()\n"
        "    loss.backward()\n"
        "    for o in both: o.step()\n"
        "say(d)"),
        set(),
    ),
    "policy gradient": (
        ("net = network(); optimizer = torch.optim.Adam(net.parameters())\n"
        "for step in range(25):\n"
        "    d = torch.distributions.Categorical(net(images).softmax(-1)); a = d.sample()\n"
        "    loss = -(d.log_prob(a) * (a == target)).mean()\n"
        "    optimizer.zero_grad(); loss.backward(); optimizer.step()\n"
        "say(net)"),
        set(),
    ),
}  # fmt: skip


def run(*command: str, folder: Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, input=text,
        check=False,
    )  # fmt: skip


SOFTONCE = ("-c", "from softonce.cli.app import run; run()")


def is_same(name: str, folder: Path) -> None:
    text, codes = PROGRAMS[name]
    (folder / "beside.txt").write_text("three")
    script = folder / "train.py"
    script.write_text(HEAD + text + "\n")
    plain = run("train.py", "--lr", "-", folder=folder)
    watched = run(*SOFTONCE, "watch", "train.py", "--lr", "-", folder=folder)
    assert (watched.stdout, watched.returncode) == (plain.stdout, plain.returncode), watched.stderr
    assert {code for code in ("SO101", "SO202", "SO204") if code in watched.stderr} == codes
    traceback = plain.stderr.strip().splitlines()
    assert set(traceback) <= set(watched.stderr.splitlines())


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_is_the_same_watched(name: str, tmp_path: Path) -> None:
    is_same(name, tmp_path)


CHILDREN = """
import sys
import torch.multiprocessing as mp


def work(*_):
    print("trained", train(network(nn.Softmax(1)), steps=25) > 0, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "fork":
        started = [mp.Process(target=work) for _ in range(2)]
        for process in started: process.start()
        for process in started: process.join()
    else:
        mp.spawn(work, nprocs=2)
"""
LAUNCHES = {
    "fork": ("train.py", "fork"),
    "spawn": ("train.py", "spawn"),
}  # fmt: skip


def check_children(name: str, folder: Path) -> None:
    (folder / "train.py").write_text(HEAD + CHILDREN)
    done = run(*SOFTONCE, "watch", "--fail", *LAUNCHES[name], folder=folder)
    assert done.stdout.count("trained True") == 2
    assert done.returncode == 1
    # One line when it became certain, one in the report, however many processes saw it.
    assert done.stderr.count("error SO101") == 2, done.stderr
    assert "no loss was seen" not in done.stderr


def test_forked_children_are_reported_once(tmp_path: Path) -> None:
    check_children("fork", tmp_path)


@pytest.mark.slow
def test_spawned_children_are_reported_once(tmp_path: Path) -> None:
    check_children("spawn", tmp_path)


def test_finding_is_on_standard_error_before_the_script_is_ended(tmp_path: Path) -> None:
    text = (
        "net = network(nn.Softmax(1)); optimizer = torch.optim.SGD(net.parameters(), lr=0.1)\n"
        "for step in range(200):\n"
        "    loss = F.cross_entropy(net(images), target)\n"
        "    optimizer.zero_grad(); loss.backward(); optimizer.step()\n"
        "    if step == 100: print('at 100', flush=True); sys.stdin.readline()\n"
    )
    (tmp_path / "train.py").write_text(HEAD + text)
    with (tmp_path / "err").open("w") as err:
        process = subprocess.Popen(
            [sys.executable, *SOFTONCE, "watch", "train.py"], cwd=tmp_path, text=True, stderr=err,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "at 100\n"
        before = (tmp_path / "err").read_text()
        process.terminate()
        process.communicate(timeout=60)
    assert before.count("error SO101") == 1
    assert process.returncode == -signal.SIGTERM
    assert "looked at 21 of 101 steps" in (tmp_path / "err").read_text()
