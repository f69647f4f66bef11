import pytest

from softonce.losses import everyday, linear


@pytest.fixture(autouse=True)
def _kernels_for_small_logits(monkeypatch, request):
    """Let the general way do what the everyday one would do faster, so that the tests meet it."""
    if request.path.name != "test_everyday.py":
        monkeypatch.setattr(everyday, "_SMALL", 0)
        monkeypatch.setattr(linear, "_SMALL", 0)
