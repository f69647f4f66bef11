import pytest

from softonce.losses import fused, linear


@pytest.fixture(autouse=True)
def _kernels_for_small_logits(monkeypatch, request):
    """Let the kernels do what torch's operators would do faster, so that the tests meet them."""
    if request.path.name != "test_small.py":
        monkeypatch.setattr(fused, "_SMALL", 0)
        monkeypatch.setattr(linear, "_SMALL", 0)
