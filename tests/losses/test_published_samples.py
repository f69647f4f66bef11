"""The sample inputs that PyTorch tests its own losses on, and the ONNX operators' node tests."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from loss_ways import HEAD_LOSS

from softonce import losses

NAMES = ("cross_entropy", "nll_loss", HEAD_LOSS, "log_softmax", "softmax")


def pytorch_samples(name):
    """Return PyTorch's samples of a function as (tensor, args, kwargs), in float64 on the CPU."""
    pytest.importorskip("expecttest")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's test helpers warn while they are imported
        from torch.testing._internal.common_methods_invocations import op_db

        op = next(op for op in op_db if op.name.removeprefix("nn.functional.") == name)
        samples = list(op.sample_inputs("cpu", torch.float64, requires_grad=True))
    for sample in samples:
        options = {k: v for k, v in sample.kwargs.items() if k not in ("options", "_stacklevel")}
        yield sample.input, sample.args, options


@pytest.mark.parametrize("name", NAMES)
def test_pytorchs_samples_agree_in_value_and_gradient(name):
    num_samples = 0
    for scores, args, options in pytorch_samples(name):
        ours = getattr(losses, name)(scores, *args, **options)
        torchs = getattr(F, name)(scores, *args, **options)
        torch.testing.assert_close(ours, torchs, equal_nan=True)
        grads = (torch.autograd.grad(loss.sum(), scores)[0] for loss in (ours, torchs))
        torch.testing.assert_close(*grads, equal_nan=True)
        num_samples += 1
    assert num_samples > 5


@pytest.fixture(scope="module")
def node_cases():
    """Every ONNX node test; ONNX collects them once in a process, so not one operator at a time."""
    testing = pytest.importorskip("onnx.backend.test.case.node")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # unrelated operators divide by zero on purpose
        return testing.collect_testcases(None)


@pytest.mark.parametrize(
    ("operator", "loss_of"),
    [
        ("SoftmaxCrossEntropyLoss", losses.cross_entropy),
        ("NegativeLogLikelihoodLoss", losses.nll_loss),
    ],
)
def test_onnx_node_tests_agree(node_cases, operator, loss_of):
    helper = pytest.importorskip("onnx.helper")
    num_cases = 0
    for case in node_cases:
        node, *more = case.model.graph.node
        if more or node.op_type != operator:
            continue
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        options = {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}
        for arrays, (expected, *_) in case.data_sets:
            tensors = [torch.tensor(array) for array in arrays]
            torch.testing.assert_close(loss_of(*tensors, **options), torch.tensor(expected))
        num_cases += 1
    assert num_cases > 10
