"""The public door is lazy: what is not used is not imported, and a missing extra is one line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import softonce

HEAVY = ("torch", "numpy", "PIL", "matplotlib", "jinja2", "safetensors", "sklearn")
WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; import softonce.cli.app as app; "


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )


def loaded_after(code: str) -> set[str]:
    done = run(f"{code}\nimport sys; print(*(name for name in {HEAVY!r} if name in sys.modules))")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_the_door_and_the_help_load_nothing_heavy() -> None:
    assert loaded_after("import softonce; softonce.__version__; dir(softonce)") == set()
    assert loaded_after("from softonce.cli.app import main; main(['--help'])") == set()
    assert loaded_after("from softonce.cli.app import main; main(['train', '--help'])") == set()


def test_that_check_can_fail() -> None:
    assert "torch" in loaded_after("import softonce; softonce.cross_entropy")


def test_every_name_at_the_door_is_there() -> None:
    assert len(softonce.__all__) > 15
    for name in softonce.__all__:
        assert getattr(softonce, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = softonce.no_such_name


API = Path(__file__).parents[1] / "docs/reference/api.md"
SPELLED = re.findall(r"auto(?:function|class|module):: (softonce[\w.]*)", API.read_text())


@pytest.mark.parametrize("name", SPELLED)
def test_a_name_of_the_reference_is_there_as_it_is_spelled(name: str) -> None:
    found = softonce
    for part in name.split(".")[1:]:
        found = getattr(found, part)


def test_the_reference_lists_every_public_name() -> None:
    listed = {name.rsplit(".", 1)[-1] for name in SPELLED} | set(vars(softonce.errors))
    values = {name: getattr(softonce, name) for name in softonce.__all__}
    names = {name for name, value in values.items() if not isinstance(value, ModuleType)}
    assert len(names) > 30
    assert names - listed == set()


def test_the_reference_names_something() -> None:
    assert len(SPELLED) > 30
    listed = {name.split(".")[1] for name in SPELLED}
    assert {"cross_entropy", "train", "inference", "errors", "floors", "engines"} <= listed


def test_a_room_is_there_after_the_import_and_no_torch() -> None:
    rooms = ("errors", "floors", "config", "preprocessing", "artefact", "inference.probs")
    code = "import softonce; " + "; ".join(f"softonce.{room}" for room in rooms)
    assert "torch" not in loaded_after(code)


@pytest.mark.parametrize("command", [["train", "photos"], ["evaluate", "a", "b"]])
def test_without_torch_a_verb_names_the_extra(command: list[str]) -> None:
    done = run(WITHOUT_TORCH + f"sys.exit(app.main({command!r}))")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "'torch' is not installed" in done.stderr
    assert 'pip install "softonce[train]"' in done.stderr


def test_without_torch_the_help_still_answers() -> None:
    done = run(WITHOUT_TORCH + "sys.exit(app.main(['train', '--help']))")
    assert done.returncode == 0
    assert "--label-smoothing" in done.stdout


def test_a_picture_is_read_and_named_without_torch() -> None:
    loaded = loaded_after("""
from softonce.engines import open_engine
from softonce.inference import top_predictions
from softonce.prediction.predictor import Predictor
from softonce.prediction.inputs import items_of
from softonce.preprocessing import Preprocessing
import io, numpy, PIL.Image
PIL.Image.new("P", (9, 7)).save(file := io.BytesIO(), "PNG")
import types
metadata = types.SimpleNamespace(preprocessing=Preprocessing(size=4))
predictor = Predictor(types.SimpleNamespace(metadata=metadata))
for image in (file.getvalue(), numpy.zeros((4, 4)), PIL.Image.new("L", (9, 7))):
    (item,) = items_of(image)
    assert predictor.prepare(item.open).shape == (3, 4, 4)
top_predictions(numpy.array([[0.0, 1.0]]), ["a", "b"], temperature=2.0)
""")
    assert loaded == {"numpy", "PIL"}
