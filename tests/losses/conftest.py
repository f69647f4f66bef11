import pytest

from softonce.losses import linear
from softonce.losses.rows import fast_path


@pytest.fixture(autouse=True)
def _kernels_for_small_logits(monkeypatch, request):
    """Let the general way do what the everyday one would do faster, so that the tests meet it."""
    if request.path.name != "test_fast_path.py":
        monkeypatch.setattr(fast_path, "_SMALL", 0)
        monkeypatch.setattr(linear, "_SMALL", 0)
        monkeypatch.setattr(linear, "_SMALL_COMPILED", 0)
