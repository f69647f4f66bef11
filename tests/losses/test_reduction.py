"""Every check of the losses fires, and says what was expected, what was found and what to do."""

from functools import partial

import pytest
import torch

from softonce.errors import ArgumentError
from softonce.losses import cross_entropy, linear_cross_entropy, nll_loss

LOGITS = torch.zeros(4, 3)
TARGET = torch.tensor([0, 1, 2, 0])
PROBS = torch.full((4, 3), 1 / 3)


def test_an_unknown_reduction_names_the_known_ones():
    with pytest.raises(ArgumentError, match="mean, sum, none; found 'average'"):
        cross_entropy(LOGITS, TARGET, reduction="average")
    with pytest.raises(ArgumentError, match="mean, sum, none; found 'batchmean'"):
        nll_loss(LOGITS, TARGET, reduction="batchmean")


@pytest.mark.parametrize("smoothing", [-0.5, 1.01, float("nan")])
def test_label_smoothing_outside_its_range_is_refused(smoothing):
    with pytest.raises(ArgumentError, match=rf"in \[0, 1\], found {smoothing}"):
        cross_entropy(LOGITS, TARGET, label_smoothing=smoothing)


def test_integer_scores_are_refused():
    with pytest.raises(ArgumentError, match=r"floating point logits, found torch\.int64"):
        cross_entropy(LOGITS.long(), TARGET)  # noqa: SO109 - refused
    with pytest.raises(ArgumentError, match=r"floating point log_probs, found torch\.int64"):
        nll_loss(LOGITS.long(), TARGET)  # noqa: SO109 - refused


@pytest.mark.parametrize("shape", [(), (0,), (4, 0)])
def test_scores_without_classes_are_refused(shape):
    with pytest.raises(ArgumentError, match="at least one class, found"):
        cross_entropy(torch.zeros(shape), TARGET)


@pytest.mark.parametrize("loss_of", [cross_entropy, nll_loss])
def test_a_target_of_another_shape_is_refused_with_both_shapes(loss_of):
    message = r"a target of shape \(4,\) for \w+ of shape \(4, 3\), found \(5,\): pass one class"
    with pytest.raises(ArgumentError, match=message):
        loss_of(LOGITS, torch.zeros(5, dtype=torch.int64))
    with pytest.raises(ArgumentError, match=r"a target of shape \(\) for \w+ of shape \(3,\)"):
        loss_of(LOGITS[0], TARGET)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64, torch.bool])
def test_class_indices_that_are_no_integers_are_refused(dtype):
    with pytest.raises(ArgumentError, match=f"integer class indices .* found {dtype}"):
        cross_entropy(LOGITS, TARGET.to(dtype))


def test_integer_probabilities_are_refused():
    with pytest.raises(ArgumentError, match="floating point class probabilities"):
        cross_entropy(LOGITS, PROBS.long())


def test_an_ignore_index_with_probabilities_is_refused():
    with pytest.raises(
        ArgumentError, match=r"no ignore_index with a target of class prob.* found 1"
    ):
        cross_entropy(LOGITS, PROBS, ignore_index=1)


@pytest.mark.parametrize("weight", [torch.ones(4), torch.ones(3, 1), torch.ones(3).long()])
def test_a_weight_that_is_not_one_per_class_is_refused(weight):
    for target in (TARGET, PROBS):
        with pytest.raises(ArgumentError, match=r"floating point weight of shape \(3,\), found"):
            cross_entropy(LOGITS, target, weight)


@pytest.mark.parametrize("loss_of", [cross_entropy, nll_loss])
def test_a_class_out_of_range_is_named_with_its_row_and_value(loss_of):
    message = r"in \[0, 3\) or ignore_index -100, found 5 in row 1 of the target \(the first of 2"
    with pytest.raises(ArgumentError, match=message):
        loss_of(LOGITS, torch.tensor([0, 5, -100, -1]))


def test_a_class_out_of_range_at_a_position_is_named_with_it():
    target = torch.zeros(2, 4, 5, dtype=torch.int64)
    target[1, 2, 3] = -7
    with pytest.raises(ArgumentError, match=r"found -7 in row \(1, 2, 3\) of the target"):
        cross_entropy(torch.zeros(2, 3, 4, 5), target)


HEAD, FEATURES = torch.zeros(3, 6), torch.zeros(4, 6)


@pytest.mark.parametrize(
    ("features", "head", "bias", "message"),
    [
        (torch.zeros(1, 4, 6), HEAD, None, r"features of shape \(D,\) or \(N, D\).* found"),
        (FEATURES, torch.zeros(6), None, r"linear_weight of shape \(C, D\)"),
        (torch.zeros(4, 5), HEAD, None, r"same number of features, found features \(4, 5\)"),
        (FEATURES[0], torch.zeros(3, 2, 6), None, r"a batch of features \(N, D\)"),
        (FEATURES, HEAD, torch.zeros(4), r"linear_bias of shape \(3,\), found \(4,\)"),
    ],
)
def test_a_head_that_does_not_fit_is_refused_with_the_shapes(features, head, bias, message):
    with pytest.raises(ArgumentError, match=message):
        linear_cross_entropy(features, head, TARGET, linear_bias=bias)


def test_a_target_that_does_not_fit_the_head_is_refused():
    with pytest.raises(ArgumentError, match=r"a target of shape \(4,\) for logits of shape"):
        linear_cross_entropy(FEATURES, HEAD, TARGET[:3])


def test_a_head_of_integers_is_refused():
    with pytest.raises(ArgumentError, match=r"floating point features, found torch\.int64: conv"):
        linear_cross_entropy(FEATURES.long(), HEAD.long(), TARGET)
    with pytest.raises(ArgumentError, match=r"floating point linear_weight, found torch\.int64"):
        linear_cross_entropy(FEATURES, HEAD.long(), TARGET)


def test_probabilities_of_another_shape_are_refused_with_both_shapes():
    message = r"shape \(4, 3\) if it is class probabilities, found torch.float32 of shape \(4, 4\)"
    for loss_of in (cross_entropy, partial(linear_cross_entropy, FEATURES)):
        with pytest.raises(ArgumentError, match=message):
            loss_of(LOGITS if loss_of is cross_entropy else HEAD, torch.zeros(4, 4))


def test_unknown_options_are_refused():
    with pytest.raises(ArgumentError, match=r"LinearCrossEntropyOptions, found \{'chunks': 2}"):
        linear_cross_entropy(FEATURES, HEAD, TARGET, options={"chunks": 2})


def test_tensors_on_two_devices_are_named():
    elsewhere = torch.zeros(3, 2, device="meta")
    with pytest.raises(
        ArgumentError, match="weight on cpu, where the scores are, found it on meta"
    ):
        cross_entropy(LOGITS, TARGET, torch.ones(3, device="meta"))
    with pytest.raises(
        ArgumentError, match="target on cpu, where the scores are, found it on meta"
    ):
        cross_entropy(LOGITS, TARGET.to("meta"))
    with pytest.raises(ArgumentError, match="linear_weight on cpu, where the scores are, found it"):
        linear_cross_entropy(torch.zeros(4, 2), elsewhere, TARGET)
    with pytest.raises(ArgumentError, match="linear_bias on cpu, where the scores are, found it"):
        linear_cross_entropy(FEATURES, HEAD, TARGET, linear_bias=torch.zeros(3, device="meta"))


def test_what_is_no_tensor_is_named():
    logits, target, head = torch.zeros(2, 3), torch.tensor([0, 1]), torch.zeros(3, 3)
    message = "expected {} to be a torch.Tensor, found list: convert it with torch.as_tensor"
    for call, name in (
        (lambda: cross_entropy(logits.tolist(), target), "logits"),
        (lambda: cross_entropy(logits, target.tolist()), "target"),
        (lambda: nll_loss(logits.tolist(), target), "log_probs"),
        (lambda: linear_cross_entropy(logits.tolist(), head, target), "features"),
        (lambda: linear_cross_entropy(logits, head.tolist(), target), "linear_weight"),
    ):
        with pytest.raises(ArgumentError, match=message.format(name)):
            call()


def test_features_and_head_of_two_dtypes_are_refused():
    with pytest.raises(ArgumentError, match=r"one dtype, found torch\.float32 and torch\.float64"):
        linear_cross_entropy(torch.zeros(4, 2), torch.zeros(3, 2).double(), TARGET)
