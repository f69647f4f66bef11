"""Many processes make the run of one: the same losses, weights and figures; they end together."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from data.pictures import SMALL, scanned, squares
from training.runs import rows, weights

from softonce import TrainConfig
from softonce.data.loader import Loader
from softonce.errors import ConfigError
from softonce.tensors import read_tensors
from softonce.training.checks import check_shares
from softonce.training.start import as_resumed

SCRIPT = Path(__file__).with_name("processes.py")
EXAMPLE = Path(__file__).parents[2] / "examples" / "two_nodes.sh"


def torchrun(num: int, *arguments: object, options: tuple[str, ...] = ()) -> Any:
    """Run the script in so many processes, or in a plain one."""
    runner = [] if num == 1 else [
        "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num}", *options,
    ]  # fmt: skip
    return subprocess.run(
        [sys.executable, *runner, str(SCRIPT), *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=False,
        text=True,
        timeout=300,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def asked(data: Path, output: Path, **options: object) -> list[str]:
    """Return a command line of five epochs of four steps, which two do not share evenly."""
    flags = {
        "model": "group_norm_net", "size": 16, "epochs": 5, "batch-size": 9, "workers": 0,
        "lr": 0.05, "output": output,
    } | options  # fmt: skip
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    return ["train", str(data), "--no-amp", *words]


def whole(run: Path) -> torch.Tensor:
    tensors, _ = read_tensors(run / "last.safetensors")
    return torch.cat([value.flatten().double() for value in tensors.values()])


def assert_same_rows(one: Path, other: Path) -> None:
    """Hold each figure to 1e-5, relative in norm over all rows of a run."""
    alone, shared = rows(one), rows(other)
    assert [(*row, row["split"]) for row in shared] == [(*row, row["split"]) for row in alone]
    for name in {name for row in alone for name in row if name != "split"}:
        first, second = (
            torch.tensor([row[name] for row in found if name in row], dtype=torch.float64)
            for found in (alone, shared)
        )
        assert (first - second).norm() <= 1e-5 * first.norm(), name


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, make_photos) -> Path:
    root = tmp_path_factory.mktemp("processes")
    make_photos(root / "train")
    make_photos(root / "val", per_class=5)
    return root


@pytest.fixture(scope="module")
def pair(data: Path) -> Path:
    """Return the run of two processes."""
    done = torchrun(2, "run", *asked(data, data / "two"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("group_norm_net at 16 px") == 1
    assert done.stdout.count("report.html") == 1
    return data / "two"


def test_two_processes_make_the_run_of_one(data: Path, pair: Path) -> None:
    assert torchrun(1, "run", *asked(data, data / "one")).returncode == 0
    one, two = whole(data / "one"), whole(pair)
    assert ((one - two).norm() / one.norm()).item() < 1e-5
    assert len(rows(pair)) == 10
    assert rows(pair)[-1]["step"] == 20
    assert_same_rows(data / "one", pair)


@pytest.mark.slow
def test_parts_weights_averages_and_frozen_layers_do_not_depend_on_the_processes(
    data: Path,
) -> None:
    options = {
        "epochs": 2, "grad-accum-steps": 3, "class-weights": "ants=3", "head-epochs": 1,
        "layer-decay": 0.5, "model-ema-steps": 2, "sampler": "balanced", "auto-augment": "ta_wide",
        "random-erase": 0.5, "label-smoothing": 0.1,
    }  # fmt: skip
    found = []
    for num in (1, 2):
        done = torchrun(num, "run", *asked(data, data / f"all-{num}", **options))
        assert done.returncode == 0, done.stderr
        found.append(whole(data / f"all-{num}"))
    assert ((found[0] - found[1]).norm() / found[0].norm()).item() < 1e-5


@pytest.mark.slow
def test_many_logits_do_not_depend_on_the_processes_or_on_the_blocks(data: Path) -> None:
    options = {
        "epochs": 2, "grad-accum-steps": 2, "class-weights": "ants=3", "head-epochs": 1,
        "model-ema-steps": 2, "label-smoothing": 0.1, "clip-grad-norm": 1,
    }  # fmt: skip
    found = []
    for num, how in ((1, "run"), (2, "run_in_blocks")):
        done = torchrun(num, how, *asked(data, data / f"many-{num}", **options))
        assert done.returncode == 0, done.stderr
        assert ("head and loss in blocks" in done.stderr) == (how == "run_in_blocks")
        found.append(whole(data / f"many-{num}"))
    assert ((found[0] - found[1]).norm() / found[0].norm()).item() < 1e-5
    top1 = [[row["top1"] for row in rows(data / f"many-{num}")] for num in (1, 2)]
    assert top1[0] == top1[1]


OWN = """
from torch import nn

def own(num_classes):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.GroupNorm(2, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(8, num_classes),
    )
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [["--shard-head"], ["--freeze", "backbone", "--augment", "none"], ["--probe"]],
    ids=" ".join,
)
def test_an_own_network_does_not_depend_on_the_processes(
    data: Path, tmp_path: Path, flags: list[str]
) -> None:
    (tmp_path / "nets.py").write_text(OWN)
    model, found = f"{tmp_path / 'nets.py'}:own", []
    common = ["train", str(data), "--model", model, "--size", "16", "--workers", "0", "--no-amp"]
    if flags != ["--probe"]:
        common += ["--epochs", "2", "--batch-size", "9", "--lr", "0.05"]
    for num in (1, 2):
        own = [flag for flag in flags if num == 2 or flag != "--shard-head"]
        done = torchrun(num, "run", *common, *own, "--output", tmp_path / str(num))
        assert done.returncode == 0, done.stderr
        found.append(whole(tmp_path / str(num)))
    assert ((found[0] - found[1]).norm() / found[0].norm()).item() < 1e-4


# Two epochs: the weights differ by 6e-9 then. In a third a rounding may turn a ReLU's sign, and the
# same difference is 1e-8 or 4e-5, by luck and not by what is tested.
SHARDED = {
    "epochs": 2, "class-weights": "ants=3", "head-epochs": 1, "model-ema-steps": 2,
    "label-smoothing": 0.1, "clip-grad-norm": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def sharded(data: Path) -> Path:
    """Return the run of two processes that share a head."""
    done = torchrun(2, "run", *asked(data, data / "sharded", **SHARDED), "--shard-head")
    assert done.returncode == 0, done.stderr
    assert "head shared by 2 processes" in done.stderr
    return data / "sharded"


@pytest.mark.slow
def test_a_shared_head_makes_the_run_of_a_whole_one(data: Path, sharded: Path) -> None:
    done = torchrun(1, "run", *asked(data, data / "unsharded", **SHARDED))
    assert done.returncode == 0, done.stderr
    one, two = whole(data / "unsharded"), whole(sharded)
    assert ((one - two).norm() / one.norm()).item() < 1e-5
    assert_same_rows(data / "unsharded", sharded)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{"mixup-alpha": 0.4}, {"freeze": "backbone"}],
    ids=str,
)
def test_it_does_so_in_parts_whatever_learns_and_of_what(data: Path, options: Any) -> None:
    options = {"epochs": 2, "grad-accum-steps": 2, "opt": "adamw", "lr": 1e-3} | options
    name, found = "-".join(map(str, options)), []
    for flags in ([], ["--shard-head"]):  # what is mixed depends on the number of processes
        output = data / f"{name}-{len(flags)}"
        done = torchrun(2, "run", *asked(data, output, **options), *flags)
        assert done.returncode == 0, done.stderr
        found.append(whole(output))
    assert ((found[0] - found[1]).norm() / found[0].norm()).item() < 1e-4


@pytest.mark.slow
def test_it_does_so_compiled(data: Path, sharded: Path) -> None:
    arguments = asked(data, data / "compiled", **SHARDED)
    done = torchrun(2, "run", *arguments, "--shard-head", "--compile")
    assert done.returncode == 0, done.stderr
    assert "float32, compiled, head shared by 2 processes" in done.stderr
    one, two = whole(sharded), whole(data / "compiled")
    # Rounding turns an activation across zero now and then, which is 1e-2 of a step's gradient.
    assert ((one - two).norm() / one.norm()).item() < 1e-3


@pytest.mark.slow
def test_a_run_that_shares_a_head_goes_on_where_it_was_and_in_one_process_too(
    data: Path, tmp_path: Path, sharded: Path
) -> None:
    arguments = asked(data, tmp_path / "run", **SHARDED, **{"checkpoint-seconds": 0})
    assert torchrun(2, "killed_once", *arguments, "--shard-head").returncode != 0
    shutil.copytree(tmp_path / "run", tmp_path / "alone")
    for num, name in ((2, "run"), (1, "alone")):
        done = torchrun(num, "run", "train", "--resume", tmp_path / name)
        assert done.returncode == 0, done.stderr
    assert weights(tmp_path / "run") == weights(sharded)
    assert rows(tmp_path / "run") == rows(sharded)
    one, two = whole(tmp_path / "alone"), whole(sharded)
    assert ((one - two).norm() / two.norm()).item() < 1e-5


def test_a_shared_head_wants_an_image_for_each_part_of_each_process(data: Path) -> None:
    loader = Loader(scanned(data, split="train"), SMALL, 9, world_size=2)
    check_shares(loader, 4)
    with pytest.raises(ConfigError, match="of at least 16, one image for each part .* batch of 9"):
        check_shares(loader, 8)


@pytest.mark.slow
def test_a_process_may_have_no_image_of_val(data: Path, tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.mkdir()
    (one / "train").symlink_to(data / "train")
    some = next((data / "val").glob("*/*"))
    copy = one / "val" / some.parent.name / some.name
    copy.parent.mkdir(parents=True)
    copy.write_bytes(some.read_bytes())
    done = torchrun(2, "run", *asked(one, tmp_path / "run", epochs=1))
    assert done.returncode == 0, done.stderr
    assert len(rows(tmp_path / "run")) == 2


def test_every_sample_is_evaluated_once(pair: Path) -> None:
    metrics = read_tensors(pair / "model.safetensors")[1]["training"]["metrics"]
    assert metrics["n"] == 15  # eight in one process, seven in the other


def test_processes_share_what_was_scanned_before_and_what_is_left(
    make_photos, tmp_path: Path
) -> None:
    """The first one's file counts; the others get its rows, and all get the same pixels."""
    photos = make_photos(tmp_path / "photos")
    (photos / "bees" / "03.jpg").write_bytes(b"no picture")
    for path in photos.rglob("*.jpg"):
        os.utime(path, ns=(1, 1))
    done = torchrun(2, "scan_twice", photos, tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = json.loads((tmp_path / "found.json").read_text())
    assert [len(turn["read"]) for turn in first + second] == [18, 1, 18, 1]
    assert [first[turn]["digest"] for turn in (0, 1)] == [second[turn]["digest"] for turn in (0, 1)]
    assert first[0]["digest"] == first[1]["digest"]
    expected = scanned(photos, SMALL, max_bad_fraction=0.1)
    own = expected.digests.tobytes() + squares(expected).tobytes()
    assert first[0]["digest"] == hashlib.sha256(own).hexdigest()
    assert first[1]["bad"] == [file.to_dict() for file in expected.bad_files]


def test_the_mean_over_class_weights_is_global_and_an_error_is_raised_in_all(
    tmp_path: Path,
) -> None:
    found = []
    for num in (1, 2):
        done = torchrun(num, "step_and_agree", tmp_path / f"{num}.json")
        assert done.returncode == 0, done.stderr
        found.append(json.loads((tmp_path / f"{num}.json").read_text()))
    assert found[1]["sums"] == pytest.approx(found[0]["sums"], rel=1e-6)
    assert found[1]["weight"] == pytest.approx(found[0]["weight"], rel=1e-6)
    message = "expected a whole disk, found smoke"
    assert found[1]["seen"] == [[0, message], [1, message]]
    assert not [name for name in found[1]["threads"] if "gloo" in name]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        pytest.param("run", "expected a folder of images at", marks=pytest.mark.slow),
        ("unreadable", "gone; it was readable before"),
    ],
)
def test_a_users_error_is_said_once_and_ends_all(
    data: Path, tmp_path: Path, how: str, message: str
) -> None:
    place = tmp_path / "nothing" if how == "run" else data
    done = torchrun(2, how, *asked(place, tmp_path / "run", size=80))
    assert done.returncode != 0
    assert done.stderr.count(message) == 1, done.stderr
    assert done.stderr.count("exitcode  : 2") == 2, done.stderr


@pytest.mark.slow
def test_torchrun_restarts_a_run_where_it_was(data: Path, tmp_path: Path, pair: Path) -> None:
    arguments = asked(data, tmp_path / "run", **{"checkpoint-seconds": 0})
    done = torchrun(2, "killed_once", *arguments, options=("--max-restarts=1",))
    assert done.returncode == 0, done.stderr
    assert weights(tmp_path / "run") == weights(pair)
    assert rows(tmp_path / "run") == rows(pair)


@pytest.mark.slow
def test_torchrun_restarts_no_earlier_run_that_is_to_be_replaced(
    data: Path, tmp_path: Path, pair: Path
) -> None:
    run = tmp_path / "run"
    assert torchrun(1, "run", *asked(data, run, epochs=1, seed=1)).returncode == 0
    arguments = [*asked(data, run), "--overwrite"]
    done = torchrun(2, "killed_early", *arguments, options=("--max-restarts=1",))
    assert done.returncode == 0, done.stderr
    assert weights(run) == weights(pair)


@pytest.mark.slow
def test_without_an_output_all_processes_and_restarts_write_to_one_folder(
    data: Path, tmp_path: Path, pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = asked(data, tmp_path / "unused")[:-2]
    for how, number in (("killed_early", 1), ("killed_once", 2)):
        done = torchrun(2, how, *arguments, options=("--max-restarts=1",))
        assert done.returncode == 0, done.stderr
        run = tmp_path / "runs" / f"{data.name}-{number}"
        assert f"writing to runs/{run.name}; --output RUN names another folder" in done.stderr
        assert weights(run) == weights(pair)
        assert len(list((tmp_path / "runs").iterdir())) == number


def test_a_restart_keeps_what_changes_no_weight(tmp_path: Path) -> None:
    config = TrainConfig(tmp_path, output=tmp_path / "run", track="tensorboard", workers=3)
    assert as_resumed(config) == TrainConfig(
        resume=tmp_path / "run", track="tensorboard", workers=3
    )


@pytest.mark.slow
def test_the_example_of_two_machines_trains_as_one(data: Path, tmp_path: Path) -> None:
    env = os.environ | {
        "PYTHON": sys.executable, "HEAD": f"127.0.0.1:{free_port()}", "PROCESSES": "1",
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    words = asked(data, tmp_path / "run", model="cifar_resnet20", epochs=1)[1:]
    machines = [
        subprocess.Popen(
            ["sh", str(EXAMPLE), *words], env=env, text=True, stdout=-1, stderr=subprocess.STDOUT
        )
        for _ in range(2)
    ]
    said = [machine.communicate(timeout=120)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], said
    assert sum(text.count("report.html") for text in said) == 1
    assert rows(tmp_path / "run")[-1]["step"] == 4
