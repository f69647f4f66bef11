from contextlib import ExitStack

import pytest

from softonce.losses import tuning


@pytest.fixture
def tuned():
    """Return what lets other sizes count until the test ends."""
    with ExitStack() as stack:
        yield lambda **changes: stack.enter_context(tuning.tuned(**changes))


@pytest.fixture(autouse=True)
def _kernels_for_small_logits(tuned, request):
    """Let the general way do what the everyday one would do faster, so that the tests meet it."""
    if request.path.name != "test_fast_path.py":
        tuned(small_logits=0, small_head=0, small_compiled=0)
