"""What watching leaves alone: weights, modes, compiled code, output, exit status."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn
from torch._C import _len_torch_function_stack
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from softonce.checker.runtime import watch
from softonce.cli.app import main
from softonce.errors import ArgumentError

if TYPE_CHECKING:
    from pathlib import Path

TARGET = torch.arange(16) % 4


def trained(*, watched: bool, steps: int = 30) -> list[torch.Tensor]:
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(6, 9), nn.Dropout(0.3), nn.ReLU(), nn.Linear(9, 4), nn.Softmax(1))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    session = watch(report=False, steps=5, every=7)
    if watched:
        session.__enter__()
    for step in range(steps):
        loss = F.cross_entropy(net(torch.randn(16, 6)), TARGET)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 9:
            net.eval()
            net.train()
    if watched:
        session.__exit__(None, None, None)
        assert [finding.code for finding in session.findings] == ["SO101"]
    return [parameter.detach() for parameter in net.parameters()]


def test_final_weights_are_bit_identical_watched_and_not() -> None:
    pairs = zip(trained(watched=True), trained(watched=False), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_nothing_is_left_behind() -> None:
    before = nn.Module.train, _len_torch_function_stack()
    with watch(report=False):
        assert _len_torch_function_stack() == before[1] + 1
    assert (nn.Module.train, _len_torch_function_stack()) == before


def test_mode_is_off_the_stack_after_the_first_steps() -> None:
    net = nn.Linear(6, 4)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    sizes = []
    with watch(report=False, steps=3, every=5) as session:
        for _ in range(11):
            sizes.append(_len_torch_function_stack())
            F.cross_entropy(net(torch.randn(16, 6)), TARGET).backward()
            optimizer.step()
    assert sizes == [1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 1]
    assert session.num_looked_at == 5


def test_compiled_region_is_compiled_once_and_its_loss_is_still_seen() -> None:
    graphs = []

    def backend(module: torch.fx.GraphModule, _: object) -> torch.fx.GraphModule:
        graphs.append(module)
        return module

    net = nn.Sequential(nn.Linear(6, 4), nn.Softmax(dim=1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    compiled = torch.compile(net, backend=backend)
    with watch(report=False, steps=2, every=3) as session:
        for _ in range(8):
            F.cross_entropy(compiled(torch.randn(16, 6)), TARGET).backward()
            optimizer.step()
    compiled(torch.randn(16, 6))
    assert len(graphs) == 1
    assert [finding.code for finding in session.findings] == ["SO101"]


def test_default_device_and_modes_of_the_script_stay_in_place() -> None:
    with watch(report=False), torch.device("cpu"):
        assert torch.zeros(1).device.type == "cpu"
    assert _len_torch_function_stack() == 0


def test_closure_of_an_optimizer_is_watched() -> None:
    net = nn.Linear(6, 4)
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=2)
    images = torch.randn(16, 6)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(images).softmax(1), TARGET)
        loss.backward()
        return loss

    with watch(report=False) as session:
        optimizer.step(closure)
    assert [finding.code for finding in session.findings] == ["SO101"]


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_and_autocast_network_is_followed(reentrant: bool) -> None:
    net = nn.Linear(6, 4)
    images = torch.randn(16, 6, requires_grad=True)
    with watch(report=False) as session, torch.autocast("cpu", dtype=torch.bfloat16):
        probs = checkpoint(lambda x: net(x).softmax(1), images, use_reentrant=reentrant)
        F.cross_entropy(probs, TARGET).backward()
    assert [finding.code for finding in session.findings] == ["SO101"]


def test_other_ranks_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with watch(report=False) as session:
        assert _len_torch_function_stack() == 0
    assert session.findings == []


def test_numbers_below_one_are_refused() -> None:
    with pytest.raises(ArgumentError, match="expected steps and every of at least 1"):
        watch(steps=0)


SCRIPT = """
import sys, torch
from torch.nn import functional as F
x = torch.zeros(4, 3, requires_grad=True)
F.cross_entropy(x.softmax(1), torch.tensor([0, 1, 2, 0]))
print(sys.argv[1:])
{last}
"""


@pytest.mark.parametrize(
    ("last", "status"),
    [
        ("", 0),
        ("sys.exit(7)", 7),
        ("sys.exit('no')", 1),
        ("raise ImportError('mine')", 1),
        ("raise KeyboardInterrupt", 130),
    ],
)
def test_output_and_status_stay_the_scripts_own(tmp_path: Path, capfd, last, status) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.format(last=last))
    assert main(["watch", str(script), "--steps", "x", "-q"]) == status
    out, err = capfd.readouterr()
    assert out == "['--steps', 'x', '-q']\n"
    assert "SO101" in err
    assert "train.py:5" in err
    assert ("mine" in err) == ("mine" in last)


def test_missing_script_ends_with_status_2(tmp_path: Path, capfd) -> None:
    assert main(["watch", str(tmp_path / "none.py")]) == 2
    assert "expected a script at" in " ".join(capfd.readouterr().err.split())


def test_plugin_fails_a_test_with_a_second_softmax(tmp_path: Path) -> None:
    body = SCRIPT.format(last="").replace("print(sys.argv[1:])", "").splitlines()
    guilty = "\n".join(["import torch", "def test_it():", *(f"    {line}" for line in body)])
    (tmp_path / "test_it.py").write_text(guilty)
    plugin = ["-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *plugin, "--softonce", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "SO101" in done.stdout


def test_certain_finding_is_told_while_the_loop_runs(capsys) -> None:
    net = nn.Sequential(nn.Linear(6, 4), nn.Softmax(dim=1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    told = []
    with watch(steps=3) as session:
        for _ in range(5):
            F.cross_entropy(net(torch.randn(16, 6)), TARGET).backward()
            optimizer.step()
            told.append(capsys.readouterr().err.count("error SO101"))
    assert told == [1, 0, 0, 0, 0]
    assert capsys.readouterr().err.count("error SO101") == 1
    assert "error SO101" in repr(session)


def test_mode_leaves_a_loop_without_an_optimizer() -> None:
    net = nn.Linear(6, 4)
    sizes = []
    with watch(report=False, steps=3, every=5) as session:
        for _ in range(11):
            F.cross_entropy(net(torch.randn(16, 6)), TARGET).backward()
            sizes.append(_len_torch_function_stack())
    # It goes at the first call of a module after the step.
    assert sizes == [1, 1, 1, 1, 0, 1, 1, 0, 0, 0, 1]
    assert "looked at 4 of 10 backward calls" in session.summary()


def test_mode_leaves_a_loop_that_only_evaluates() -> None:
    net = nn.Linear(6, 4)
    with watch(report=False, steps=3) as session, torch.no_grad():
        for _ in range(9):
            F.cross_entropy(net(torch.randn(16, 6)), TARGET)
        assert _len_torch_function_stack() == 0
    assert session.ledger.num_looks == 3


def test_steps_of_an_optimizer_are_counted_over_accumulated_gradients() -> None:
    net = nn.Linear(6, 4)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with watch(report=False, steps=3, every=97) as session:
        for micro in range(40):
            F.cross_entropy(net(torch.randn(16, 6)), TARGET).backward()
            if micro % 10 == 9:
                optimizer.step()
    assert session.num_steps == 4


def test_warning_names_the_line_that_it_names_without() -> None:
    def lines() -> list[tuple[str, int]]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            F.softmax(torch.zeros(2, 3))
            nn.Softmax()(torch.zeros(2, 3))
            warnings.warn("mine", stacklevel=2)
        return [(w.filename, w.lineno) for w in caught]

    plain = lines()
    with watch(report=False):
        watched = lines()
    assert watched[:2] == plain[:2]
    assert watched[2][0] == plain[2][0]


def test_fail_makes_an_error_the_status(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.format(last=""))
    assert main(["watch", "--fail", str(script)]) == 1
    script.write_text("import torch")
    assert main(["watch", "--fail", str(script)]) == 0


def test_module_and_folder_are_run_as_python_does(
    tmp_path: Path, capfd, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "watched_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(
        "import sys; print(__name__, __package__, sys.argv[1:], sys.path[0])"
    )
    monkeypatch.chdir(tmp_path)
    assert main(["watch", "-m", "watched_package", "--steps", "-"]) == 0
    assert capfd.readouterr().out == f"__main__ watched_package ['--steps', '-'] {tmp_path}\n"
    assert main(["watch", "watched_package", "-"]) == 0
    assert capfd.readouterr().out == f"__main__  ['-'] {package}\n"
    assert main(["watch", "-m", "no_such_module"]) == 2
    assert main(["watch", str(tmp_path)]) == 2


def test_script_comes_through_a_pipe(capfd, monkeypatch: pytest.MonkeyPatch) -> None:
    text = SCRIPT.format(last="").encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert main(["watch", "-", "a"]) == 0
    out, err = capfd.readouterr()
    assert out == "['a']\n"
    assert "<stdin>:5: error SO101" in err
    assert "5 | F.cross_entropy(x.softmax(1)" in err


def test_what_is_told_early_is_what_is_reported(capsys) -> None:
    net = nn.Sequential(nn.Linear(6, 4), nn.Softmax(dim=1))
    with watch():
        for _ in range(3):
            F.nll_loss(F.log_softmax(net(torch.randn(16, 6)), 1), TARGET).backward()
    told = capsys.readouterr().err
    assert "SO202" not in told
    assert told.count("error SO101") == 2
