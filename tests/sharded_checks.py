"""What holds of the sharded loss in every process of a group; `test_sharded.py` starts them."""

import itertools

import pytest
import reference
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from softonce.errors import ArgumentError
from softonce.groups import gather_stacked
from softonce.losses import (
    ShardedLinear,
    cross_entropy,
    gather_rows,
    linear_cross_entropy,
    sharded_linear_cross_entropy,
)

NUM_ROWS, NUM_FEATURES, NUM_CLASSES = 11, 5, 13
CUTS = {  # class ranges by rank: uneven, with an empty shard, not in the order of ranks
    2: ([(0, 9), (9, 13)], [(13, 13), (0, 13)], [(4, 13), (0, 4)]),
    3: ([(0, 1), (1, 5), (5, 13)], [(0, 6), (6, 6), (6, 13)], [(9, 13), (0, 7), (7, 9)]),
}


def in_all_processes():
    """Run every check."""
    torch.manual_seed(0)
    for check in CHECKS:
        try:
            check()
        except BaseException as error:
            error.add_note(f"in {check.__name__}")
            raise


def cuts():
    return CUTS[dist.get_world_size()]


def problem(dtype=torch.float64, num_rows=NUM_ROWS):
    """Return features, weight, bias and an index target, of which row 3 is ignored."""
    shapes = (num_rows, NUM_FEATURES), (NUM_CLASSES, NUM_FEATURES), (NUM_CLASSES,)
    tensors = [reference.draw(seed, *shape).to(dtype) for seed, shape in enumerate(shapes)]
    target = reference.draw_target(9, num_rows, num_classes=NUM_CLASSES)
    if num_rows > 3:
        target[3] = -100
    return *tensors, target


def leaves(*tensors):
    return [tensor.clone().requires_grad_() for tensor in tensors]


def sharded(cut, features, head, target, *, linear_bias=None, **options):
    """Return the loss and its gradients, from this rank's part of the whole head."""
    start, stop = cut[dist.get_rank()]
    tensors = [features, head[start:stop]]
    tensors += [] if linear_bias is None else [linear_bias[start:stop]]
    tensors = leaves(*tensors)
    loss = sharded_linear_cross_entropy(
        *tensors[:2],
        target,
        class_start=start,
        class_stop=stop,
        linear_bias=None if linear_bias is None else tensors[2],
        **options,
    )
    return loss, torch.autograd.grad((loss * row_factors(loss)).sum(), tensors)


def whole(cut, features, head, target, *, linear_bias=None, **options):
    """Return the same of one process, by the textbook in float64; of the head, this rank's part."""
    start, stop = cut[dist.get_rank()]
    tensors = [features, head] + ([] if linear_bias is None else [linear_bias])
    tensors = leaves(*(tensor.double() for tensor in tensors))
    bias = None if linear_bias is None else tensors[2]
    loss = reference.linear_cross_entropy(*tensors[:2], target, linear_bias=bias, **options)
    grads = torch.autograd.grad((loss * row_factors(loss)).sum(), tensors)
    return loss, [grads[0], *(grad[start:stop] for grad in grads[1:])]


def row_factors(loss):
    """Return the gradient from above: of each row another one, and none of it 1."""
    return torch.linspace(0.7, -1.9, max(1, loss.numel())).to(loss.dtype).reshape(loss.shape)


def assert_close(ours, truth, tolerance):
    """Hold the loss and each gradient to a relative difference in norm."""
    (loss, grads), (true_loss, true_grads) = ours, truth
    for one, true in zip((loss, *grads), (true_loss, *true_grads), strict=True):
        assert one.shape == true.shape
        assert (one.double() - true).norm() <= tolerance * true.norm() + 1e-30


def assert_same_bits(tensor):
    everywhere = gather_stacked(tensor.detach())
    assert all(
        torch.equal(other.nan_to_num(7), tensor.detach().nan_to_num(7)) for other in everywhere
    )


def variants_equal_the_textbook():
    class_weight = torch.linspace(0.3, 2, NUM_CLASSES).double()
    class_weight[5] = 0
    grid = itertools.product(
        cuts(),
        [(torch.float64, 1e-12), (torch.float32, 1e-6)],
        ["index", "whole probs", "local probs"],
        [
            {},
            {"weight": class_weight},
            {"weight": class_weight, "label_smoothing": 0.1, "reduction": "none"},
            {"label_smoothing": 1.0, "reduction": "sum", "softcap": 9.0},
        ],
        [False, True],
    )
    for cut, (dtype, tolerance), kind, plain, biased in grid:
        features, weight, bias, target = problem(dtype)
        options = plain | ({"linear_bias": bias} if biased else {})
        mine = target
        if kind != "index":
            target = mine = reference.draw(5, NUM_ROWS, NUM_CLASSES).softmax(1)
        if kind == "local probs":
            mine = target[:, slice(*cut[dist.get_rank()])]
        truth = whole(cut, features, weight, target, **options)
        for rows_per_chunk in (None, 4):
            ours = sharded(cut, features, weight, mine, rows_per_chunk=rows_per_chunk, **options)
            assert ours[0].dtype == dtype
            assert_close(ours, truth, tolerance)
            assert_same_bits(ours[0])
            assert_same_bits(ours[1][0])


def predictions_are_those_of_the_whole_head():
    features, head, bias, target = problem()
    head[7], bias[7] = head[2], bias[2] + 9  # the largest of every row, and
    head[11], bias[11] = head[7], bias[7]  # once more: the first of them counts
    for cut, index, rows_per_chunk in itertools.product(cuts(), (target, None), (None, 4)):
        start, stop = cut[dist.get_rank()]
        mine = reference.draw(5, NUM_ROWS, NUM_CLASSES).softmax(1) if index is None else index
        for biases in (None, bias):
            own = None if biases is None else biases[start:stop]
            loss, pred = sharded_linear_cross_entropy(
                features.requires_grad_(),
                head[start:stop],
                mine,
                class_start=start,
                class_stop=stop,
                linear_bias=own,
                rows_per_chunk=rows_per_chunk,
                return_pred=True,
            )
            logits = torch.nn.functional.linear(features, head, biases)
            expected = logits.argmax(1)
            if index is not None:
                expected[index == -100] = -1
            assert torch.equal(pred, expected)
            assert loss.requires_grad
            assert not pred.requires_grad


def predictions_see_past_a_bound_that_makes_large_logits_equal():
    features, head, _, target = problem()
    for cut, rows_per_chunk in itertools.product(cuts(), (None, 4)):
        start, stop = cut[dist.get_rank()]
        _, pred = sharded_linear_cross_entropy(
            1e6 * features,
            head[start:stop],
            target,
            class_start=start,
            class_stop=stop,
            rows_per_chunk=rows_per_chunk,
            softcap=1e-3,
            return_pred=True,
        )
        expected = (features @ head.T).argmax(1).masked_fill(target == -100, -1)
        assert torch.equal(pred, expected)


def a_common_offset_changes_nothing():
    features, weight, bias, target = problem(torch.float32)
    features, weight = features.round(), weight.round()  # exact logits
    plain = sharded(cuts()[0], features, weight, target, linear_bias=bias.round())
    offset = sharded(cuts()[0], features, weight, target, linear_bias=bias.round() + 4096)
    assert_close(offset, (plain[0].double(), [grad.double() for grad in plain[1]]), 1e-6)


def confident_rows_keep_loss_and_gradient():
    for gap, cut in itertools.product((12.0, 25.0, 60.0), cuts()):
        for kind in ("index", "probs"):
            features, weight = torch.eye(NUM_CLASSES)[:1] * gap, torch.eye(NUM_CLASSES)
            target = torch.tensor([0]) if kind == "index" else torch.eye(NUM_CLASSES)[:1]
            loss, grads = sharded(cut, features, weight, target, reduction="sum")
            true_loss, true_grad = reference.confident_row(torch.full((12,), gap))
            assert abs(loss / true_loss - 1) < 2e-6
            assert abs(grads[0][0, 0] / (0.7 * true_grad) - 1) < 2e-6


def nearly_certain_probabilities_keep_what_is_left():
    """A mass of 1e-9 beside 1 is lost in the sum of the row, and is not lost in the gradient."""
    features, weight = torch.eye(NUM_CLASSES)[:1] * 20, torch.eye(NUM_CLASSES)
    target = torch.eye(NUM_CLASSES)[:1] + 1e-9
    for cut in cuts():
        ours = sharded(cut, features, weight, target, reduction="sum")
        assert_close(ours, whole(cut, features, weight, target, reduction="sum"), 2e-6)
        true = whole(cut, features, weight, target, reduction="sum")[1][0][0, 0]
        assert abs(ours[1][0][0, 0] / true - 1) < 1e-5


def ignored_rows_may_hold_inf_and_nan():
    features, weight, bias, target = problem()
    for cut, reduction in itertools.product(cuts(), ("mean", "sum", "none")):
        options = {"linear_bias": bias, "reduction": reduction}
        truth = whole(cut, features, weight, target, **options)
        wild = features.clone()
        wild[3, 0], wild[3, 1] = torch.inf, torch.nan
        ours = sharded(cut, wild, weight, target, **options)
        assert_close(ours, truth, 1e-12)
        assert (ours[1][0][3] == 0).all()


def all_ignored_has_nan_mean_and_zero_gradient():
    features, weight, bias, target = problem(torch.float32)
    for cut, value in itertools.product(cuts(), (-100, 7)):
        target = torch.full_like(target, value)
        options = {"linear_bias": bias, "ignore_index": value if value > 0 else None}
        loss, grads = sharded(cut, features, weight, target, **options)
        assert loss.isnan()
        assert all((grad == 0).all() for grad in grads)
        assert sharded(cut, features, weight, target, reduction="sum", **options)[0] == 0


def masked_classes_count_nothing():
    features, weight, bias, target = problem()
    target[target == 2] = 1
    class_weight = torch.ones(NUM_CLASSES).double()
    class_weight[2] = 0
    bias[2] = -torch.inf
    few = torch.arange(NUM_CLASSES) != 2
    for cut, smoothing in itertools.product(cuts(), (0.0, 0.26)):
        options = {"weight": class_weight, "label_smoothing": smoothing}
        loss, grads = sharded(cut, features, weight, target, linear_bias=bias, **options)
        logits = (features @ weight.T + bias)[:, few]
        packed = target - (target > 2).long()
        spread = smoothing * (NUM_CLASSES - 1) / NUM_CLASSES
        counts = target != -100
        rows = reference.cross_entropy(logits, packed, reduction="none")
        even = -reference.log_probs(logits).mean(1)[counts]
        true = ((1 - smoothing) * rows[counts] + spread * even).mean()
        torch.testing.assert_close(loss, true)
        assert all(grad.isfinite().all() for grad in grads)


def a_target_on_a_masked_class_is_an_infinite_loss():
    features, weight, bias, target = problem(torch.float32)
    bias[target[0]] = -torch.inf
    for cut in cuts():
        loss, grads = sharded(cut, features, weight, target, linear_bias=bias, reduction="none")
        assert loss[0] == torch.inf
        assert grads[0].isfinite().all()


def half_precision_is_no_worse_than_the_plain_way():
    for dtype, cut in itertools.product((torch.bfloat16, torch.float16), cuts()):
        features, weight, bias, target = problem(dtype)
        for reduction in ("mean", "none"):
            options = {"linear_bias": bias, "reduction": reduction}
            truth = whole(cut, features, weight, target, **options)
            loss, grads = sharded(cut, features, weight, target, **options)
            assert loss.dtype == torch.float32
            assert {grad.dtype for grad in grads} == {dtype}
            tensors = leaves(features, weight, bias)
            plain = cross_entropy(F.linear(*tensors).float(), target, reduction=reduction)
            plain_grads = torch.autograd.grad((plain * row_factors(plain)).sum(), tensors)
            own = slice(*cut[dist.get_rank()])
            plain_grads = plain_grads[0], *(grad[own] for grad in plain_grads[1:])
            for ours, theirs, true in zip(
                (loss, *grads), (plain, *plain_grads), (truth[0], *truth[1]), strict=True
            ):
                error = (ours.double() - true).norm()
                slack = torch.finfo(dtype).eps * true.norm()
                assert error <= (theirs.double() - true).norm() + slack


def tiny_upstream_gradients_survive_half_precision():
    features, weight, _, target = problem(torch.float16)
    start, stop = cuts()[0][dist.get_rank()]
    (own,) = leaves(weight[start:stop])
    rows = sharded_linear_cross_entropy(
        features, own, target, class_start=start, class_stop=stop, reduction="none"
    )
    (grad,) = torch.autograd.grad(rows, own, torch.full_like(rows, 2.0**-20))
    (once,) = leaves(weight[start:stop])
    loss = sharded_linear_cross_entropy(
        features, once, target, class_start=start, class_stop=stop, reduction="sum"
    )
    (full,) = torch.autograd.grad(loss, once)
    torch.testing.assert_close(grad.double(), full.double() * 2.0**-20, rtol=1e-2, atol=2e-7)


def autocast_returns_single_precision():
    features, weight, _, target = problem(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, grads = sharded(cuts()[0], features, weight, target)
    truth = whole(cuts()[0], features, weight, target)
    assert loss.dtype == torch.float32
    assert {grad.dtype for grad in grads} == {torch.float32}
    assert_close((loss, grads), truth, 2e-2)


def a_single_row_and_no_row_are_batches_too():
    features, weight, _, target = problem()
    for cut in cuts():
        assert_close(
            sharded(cut, features[0], weight, target[0]),
            whole(cut, features[0], weight, target[0]),
            1e-12,
        )
        loss, grads = sharded(cut, features[:0], weight, target[:0], reduction="sum")
        assert loss == 0
        assert (grads[1] == 0).all()


def frozen_sides_are_left_out():
    features, weight, _, target = problem()
    start, stop = cuts()[0][dist.get_rank()]
    own = {"class_start": start, "class_stop": stop}
    local = weight[start:stop]
    for frozen in ("features", "weight"):
        pair = [features.clone(), local.clone()]
        pair[frozen == "features"].requires_grad_()
        sharded_linear_cross_entropy(*pair, target, **own).backward()
        truth = whole(cuts()[0], features, weight, target)[1][frozen == "features"] / 0.7
        torch.testing.assert_close(pair[frozen == "features"].grad, truth)
    assert not sharded_linear_cross_entropy(features, local, target, **own).requires_grad


def backward_may_be_called_twice():
    features, weight, _, target = problem()
    start, stop = cuts()[0][dist.get_rank()]
    for reduction in ("mean", "none"):
        (leaf,) = leaves(features)
        loss = sharded_linear_cross_entropy(
            leaf, weight[start:stop], target,
            class_start=start, class_stop=stop, reduction=reduction,
        ).sum()  # fmt: skip
        loss.backward(retain_graph=True)
        once = leaf.grad.clone()
        loss.backward()
        assert torch.equal(leaf.grad, 2 * once)


def what_cannot_be_differentiated_says_so():
    features, weight, _, target = problem()
    start, stop = cuts()[0][dist.get_rank()]

    def loss_of(leaf):
        return sharded_linear_cross_entropy(
            leaf, weight[start:stop], target, class_start=start, class_stop=stop
        )

    (leaf,) = leaves(features)
    grad = torch.autograd.grad(loss_of(leaf), leaf, create_graph=True)[0]
    assert grad.requires_grad
    with pytest.raises(ArgumentError, match=r"once.*found a second derivative: use cross_entropy"):
        grad.sum().backward()
    for transform in (torch.func.grad, torch.func.jacfwd, torch.func.hessian):
        with pytest.raises(ArgumentError, match=r"found a torch.func transform: use cross_ent"):
            transform(loss_of)(features)
    with (
        torch.autograd.forward_ad.dual_level(),
        pytest.raises(ArgumentError, match="found forward-mode differentiation"),
    ):
        loss_of(torch.autograd.forward_ad.make_dual(features, torch.ones_like(features)))


def the_gathered_logits_differentiate_twice():
    features, weight, bias, target = problem(num_rows=3)
    linear = nn.Linear(NUM_FEATURES, NUM_CLASSES).double()
    linear.weight, linear.bias = nn.Parameter(weight), nn.Parameter(bias)
    head = ShardedLinear.from_linear(linear)
    own = slice(head.class_start, head.class_stop)

    def second(head, leaf):
        loss = cross_entropy(head(leaf), target)
        grads = torch.autograd.grad(loss, (leaf, *head.parameters()), create_graph=True)
        penalty = grads[0].square().sum()
        return loss, torch.autograd.grad(penalty, (leaf, *head.parameters()))

    (ours,) = leaves(features)
    (true,) = leaves(features)
    loss, grads = second(head, ours)
    true_loss, (true_grad, *true_grads) = second(linear, true)
    assert_close((loss, grads), (true_loss, [true_grad, *(g[own] for g in true_grads)]), 1e-12)


def backbone():
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(7, NUM_FEATURES), nn.Tanh()).double()


def images():
    return reference.draw(6, NUM_ROWS, 7)


def one_process_step():
    """Return loss and gradients of backbone and head in one process."""
    _, weight, _, target = problem()
    model, (head,) = backbone(), leaves(weight)
    loss = reference.linear_cross_entropy(model(images()), head, target)
    return loss, torch.autograd.grad(loss, (*model.parameters(), head))


def a_replicated_backbone_gets_the_gradient_of_one_process():
    _, weight, _, target = problem()
    true_loss, true_grads = one_process_step()
    for cut in cuts():
        start, stop = cut[dist.get_rank()]
        model, (head,) = nn.parallel.DistributedDataParallel(backbone()), leaves(weight[start:stop])
        loss = sharded_linear_cross_entropy(
            model(images()), head, target, class_start=start, class_stop=stop
        )
        loss.backward()
        grads = [*(parameter.grad for parameter in model.parameters()), head.grad]
        assert_close(
            (loss, grads), (true_loss, [*true_grads[:-1], true_grads[-1][start:stop]]), 1e-12
        )


def data_parallel_rows_meet_at_the_sharded_head():
    """Uneven batches: the average of DDP, or the sum, is the gradient of one process."""
    _, weight, _, target = problem()
    true_loss, true_grads = one_process_step()
    bounds = [0, 7, NUM_ROWS] if dist.get_world_size() == 2 else [0, 6, 6, NUM_ROWS]
    rows = slice(*bounds[dist.get_rank() :][:2])
    start, stop = cuts()[0][dist.get_rank()]
    for averaged in (True, False):
        model, (head,) = backbone(), leaves(weight[start:stop])
        net = nn.parallel.DistributedDataParallel(model) if averaged else model
        features, all_targets = gather_rows(net(images()[rows]), target[rows], averaged=averaged)
        assert torch.equal(all_targets, target)
        loss = sharded_linear_cross_entropy(
            features, head, all_targets, class_start=start, class_stop=stop
        )
        loss.backward()
        grads = [parameter.grad for parameter in model.parameters()]
        if not averaged:
            for grad in grads:
                dist.all_reduce(grad)
        truth = (true_loss, [*true_grads[:-1], true_grads[-1][start:stop]])
        assert_close((loss, [*grads, head.grad]), truth, 1e-12)


def sharded_linear_starts_as_slices_of_linear():
    for num_classes, dtype in ((NUM_CLASSES, None), (1, None), (70_001, torch.bfloat16)):
        torch.manual_seed(3)
        linear = nn.Linear(17, num_classes, dtype=dtype)
        after = torch.rand(1)
        torch.manual_seed(3)
        head = ShardedLinear(17, num_classes, dtype=dtype)
        assert torch.equal(torch.rand(1), after)
        own = slice(head.class_start, head.class_stop)
        assert torch.equal(head.weight, linear.weight[own])
        assert torch.equal(head.bias, linear.bias[own])
        whole_again = head.gather()
        assert list(whole_again.state_dict()) == list(linear.state_dict())
        assert all(map(torch.equal, whole_again.parameters(), linear.parameters()))
        back = ShardedLinear.from_linear(whole_again)
        assert all(map(torch.equal, back.parameters(), head.parameters()))
        assert back.extra_repr() == head.extra_repr()


def sharded_linear_trains_and_evaluates_as_linear():
    features, weight, bias, target = problem()
    linear = nn.Linear(NUM_FEATURES, NUM_CLASSES).double()
    linear.weight, linear.bias = nn.Parameter(weight), nn.Parameter(bias)
    head = ShardedLinear.from_linear(linear)
    torch.testing.assert_close(head(features), linear(features))
    torch.testing.assert_close(head(features[0]), linear(features[0]))
    head.loss(features, target, label_smoothing=0.1).backward()
    reference.cross_entropy(linear(features), target, label_smoothing=0.1).backward()
    own = slice(head.class_start, head.class_stop)
    torch.testing.assert_close(head.weight.grad, linear.weight.grad[own])
    torch.testing.assert_close(head.bias.grad, linear.bias.grad[own])


def a_distributed_weight_goes_through_the_ordinary_function():
    from torch.distributed.tensor import (
        DTensor,
        Replicate,
        Shard,
        distribute_tensor,
        init_device_mesh,
    )

    features, weight, bias, target = problem()
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    class_weight = torch.linspace(0.3, 2, NUM_CLASSES).double()
    for placement in (None, Replicate(), Shard(0)):
        for num_classes in (NUM_CLASSES, 4):  # chunks of 2, so that the third rank has none
            wanted = target.where(target < num_classes, 1)
            options = {"weight": class_weight[:num_classes], "label_smoothing": 0.1}
            head = [distribute_tensor(t[:num_classes], mesh, [Shard(0)]) for t in (weight, bias)]
            rows = features if placement is None else distribute_tensor(features, mesh, [placement])
            rows, *head = (t.detach().requires_grad_() for t in (rows, *head))
            loss = linear_cross_entropy(rows, head[0], wanted, linear_bias=head[1], **options)
            loss.backward()
            true = leaves(features, weight[:num_classes], bias[:num_classes])
            true_loss = reference.linear_cross_entropy(
                *true[:2], wanted, linear_bias=true[2], **options
            )
            true_loss.backward()
            torch.testing.assert_close(loss, true_loss)
            assert_same_bits(loss)
            for ours, theirs in zip((rows, *head), true, strict=True):
                grad = ours.grad
                if isinstance(grad, DTensor):
                    assert grad.placements == ours.placements
                    grad = grad.full_tensor()
                torch.testing.assert_close(grad, theirs.grad)


def a_replicated_weight_is_divided_among_the_ranks():
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor, init_device_mesh

    features, weight, bias, target = problem()
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for rows_placed in (None, [Replicate()], [Shard(0)]):
        head = [distribute_tensor(t, mesh, [Replicate()]) for t in (weight, bias)]
        rows = features if rows_placed is None else distribute_tensor(features, mesh, rows_placed)
        rows, *head = (t.detach().requires_grad_() for t in (rows, *head))
        loss, pred = linear_cross_entropy(
            rows, head[0], target, linear_bias=head[1], return_pred=True
        )
        loss.backward()
        true = leaves(features, weight, bias)
        logits = F.linear(*true)
        true_loss = reference.cross_entropy(logits, target)
        true_loss.backward()
        torch.testing.assert_close(loss, true_loss)
        assert torch.equal(pred, logits.argmax(1).masked_fill(target == -100, -1))
        for ours, theirs in zip((rows, *head), true, strict=True):
            torch.testing.assert_close(full(ours.grad), theirs.grad)


def full(tensor):
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def distributed_logits_have_the_loss_of_the_whole():
    from contextlib import nullcontext

    from torch.distributed.tensor import Replicate, Shard, distribute_tensor, init_device_mesh
    from torch.distributed.tensor.parallel import loss_parallel

    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    class_weight = torch.linspace(0.3, 2, NUM_CLASSES).double()
    shapes = {"rows": (NUM_ROWS,), "one row": (), "positions": (3, 2)}
    grid = itertools.product(
        shapes.values(),
        ["index", "probs"],
        [{}, {"weight": class_weight, "label_smoothing": 0.1, "reduction": "none"},
         {"reduction": "sum"}],
        [nullcontext, loss_parallel],
        ["classes", "rows", "everywhere"],
    )  # fmt: skip
    for shape, kind, options, context, placed in grid:
        scores_shape = (*shape[:1], NUM_CLASSES, *shape[1:])
        whole = reference.draw(3, *scores_shape)
        target = reference.draw_target(4, *shape, num_classes=NUM_CLASSES)
        if target.numel() > 3:
            target.view(-1)[3] = -100
        if kind == "probs":
            target = reference.draw(4, *scores_shape).softmax(min(1, len(shape)))
        classes = min(1, len(shape))
        placement = {"classes": Shard(classes), "rows": Shard(0), "everywhere": Replicate()}[placed]
        leaf = distribute_tensor(whole, mesh, [placement]).detach().requires_grad_()
        (true,) = leaves(whole)
        truth = reference.cross_entropy(true, target, **options)
        (truth * row_factors(truth)).sum().backward()
        with context():
            loss = cross_entropy(leaf, target, **options)
            (grad,) = torch.autograd.grad((loss * row_factors(loss)).sum(), leaf)
        torch.testing.assert_close(loss.detach(), truth.detach())
        assert_same_bits(loss)
        assert grad.placements == leaf.placements  # torch 2.6 replicates what it puts into .grad
        torch.testing.assert_close(grad.full_tensor(), true.grad)
    with pytest.raises(ArgumentError, match=r"no return_lse.*sharded"):
        cross_entropy(leaf, target, return_lse=True)
    with pytest.raises(ArgumentError, match=r"expected a target of shape"):
        cross_entropy(leaf, torch.zeros(5, dtype=torch.int64))


def a_tensor_of_the_mesh_beside_a_plain_weight_is_refused():
    from torch.distributed.tensor import Replicate, distribute_tensor, init_device_mesh

    features, weight, _, target = problem()
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for name in ("features", "target", "weight"):
        arguments = {"features": features, "linear_weight": weight, "target": target}
        arguments["weight"] = torch.ones(NUM_CLASSES).double()
        arguments[name] = distribute_tensor(arguments[name], mesh, [Replicate()])
        with pytest.raises(ArgumentError, match=rf"linear_weight that is a DTensor.*{name}"):
            linear_cross_entropy(**arguments)
    on_mesh = distribute_tensor(target, mesh, [Replicate()])
    with pytest.raises(ArgumentError, match=r"logits that is a DTensor.*target"):
        cross_entropy(features @ weight.T, on_mesh)


def ranks_with_other_features_are_told_so():
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor, init_device_mesh

    features, weight, _, target = problem()
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    start, stop = cuts()[0][dist.get_rank()]
    for changed in (features + dist.get_rank(), features.roll(dist.get_rank(), 0)):
        options = {"class_start": start, "class_stop": stop}
        message = r"same on every rank, found sum of the features .*gather_rows makes them so"
        with pytest.raises(ArgumentError, match=message):
            sharded_linear_cross_entropy(changed, weight[start:stop], target, **options)
        for placement in (Replicate(), Shard(0)):
            head = distribute_tensor(weight, mesh, [placement])
            with pytest.raises(ArgumentError, match=message):
                linear_cross_entropy(changed, head, target)


def a_head_that_is_a_unit_of_fsdp_takes_gathered_rows():
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import init_device_mesh

    if not hasattr(torch.cpu.Stream, "record_event"):
        return  # FSDP2 of torch 2.6 needs a GPU
    _, weight, _, target = problem()
    true_loss, true_grads = one_process_step()
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    bounds = [0, 7, NUM_ROWS] if dist.get_world_size() == 2 else [0, 4, 8, NUM_ROWS]
    rows = slice(*bounds[dist.get_rank() :][:2])
    net, head = backbone(), nn.Linear(NUM_FEATURES, NUM_CLASSES, bias=False).double()
    head.weight.data.copy_(weight)
    for module in (net, head):
        fully_shard(module, mesh=mesh)
    features = net(images()[rows])
    with pytest.raises(ArgumentError, match="gather_rows"):
        linear_cross_entropy(features, head.weight, target[rows])
    loss = linear_cross_entropy(
        *swap(gather_rows(features, target[rows], averaged=True), head.weight)
    )
    loss.backward()
    grads = [full(parameter.grad) for parameter in (*net.parameters(), head.weight)]
    assert_close((loss, grads), (true_loss, true_grads), 1e-12)


def swap(gathered, weight):
    """Return features, weight and target, in the order of the loss."""
    features, target = gathered
    return features, weight, target


def a_weight_distributed_otherwise_is_refused():
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor, init_device_mesh

    features, weight, bias, target = problem()
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    other = distribute_tensor(weight, mesh, [Shard(1)])
    with pytest.raises(ArgumentError, match=r"expected a linear_weight.*found.*redistribute"):
        linear_cross_entropy(features, other, target)
    head = distribute_tensor(weight, mesh, [Shard(0)])
    with pytest.raises(ArgumentError, match=r"placed as linear_weight.*found a plain tensor"):
        linear_cross_entropy(features, head, target, linear_bias=bias)
    with pytest.raises(ArgumentError, match=r"expected options to be None or .*found 3"):
        linear_cross_entropy(features, head, target, options=3)
    wrong = distribute_tensor(bias, mesh, [Replicate()])
    with pytest.raises(ArgumentError, match=r"a linear_bias placed as.*found.*redistribute"):
        linear_cross_entropy(features, head, target, linear_bias=wrong)


def a_mistake_of_one_rank_is_an_error_on_every_rank():
    features, weight, bias, target = problem()
    last = dist.get_rank() == dist.get_world_size() - 1
    start, stop = cuts()[0][dist.get_rank()]
    good = {
        "features": features,
        "local_weight": weight[start:stop],
        "target": target,
        "class_start": start,
        "class_stop": stop,
    }
    probs = torch.full((NUM_ROWS, 2), 0.5).double()
    mistakes = {
        r"every class once, found classes \[12, 13\) nowhere|hold every class once, found": {
            "class_start": start + 1, "local_weight": weight[start + 1 : stop]
        },
        r"every class once, found classes .* twice.*class_stop of one rank": {
            "class_start": start - 1, "local_weight": weight[start - 1 : stop]
        },
        r"on rank \d of \d: expected a local_weight of shape .* found .*: pass": {
            "local_weight": weight
        },
        r"on rank \d of \d: expected 0 <= class_start <= class_stop, found 5 and 4: pass": {
            "class_start": 5, "class_stop": 4
        },
        r"same on every rank, found features to be 5, .*: pass features of one width": {
            "features": features[:, :4], "local_weight": weight[start:stop, :4]
        },
        r"same on every rank, found rows of features to be 11, .*: pass the same rows": {
            "features": features[:9], "target": target[:9]
        },
        r"found sum of the target to be .*gather_rows makes them so": {"target": target.flip(0)},
        r"found dtype to be 8, .*4 in the order of ranks: use one dtype": {
            "features": features.float(), "local_weight": weight[start:stop].float()
        },
        r"on rank \d of \d: expected features and head of one dtype, found .*: convert": {
            "features": features.float()
        },
        r"found bias to be 0, .*1 in the order of ranks: pass": {"linear_bias": bias[start:stop]},
        r"on rank \d of \d: expected a linear_bias of shape .*, found \(13,\): pass": {
            "linear_bias": bias
        },
        r"found reduction to be .*: pass one reduction": {"reduction": "sum"},
        r"on rank \d of \d: expected reduction to be one of": {"reduction": "avg"},
        r"found label_smoothing to be 0, .*: pass one": {"label_smoothing": 0.1},
        r"found class weights to be -1, .*: pass the weights": {"weight": torch.ones(NUM_CLASSES)},
        r"found probability targets to be 0, .*: pass": {"target": probs},
        r"on rank \d of \d: expected integer class indices of shape .*: pass one": {
            "target": target.double()
        },
        r"on rank \d of \d: expected no ignore_index with .*: leave it out": {
            "target": probs, "ignore_index": 3
        },
        r"on rank \d of \d: expected floating point weight, found torch.float8_e4m3fn: convert": {
            "weight": torch.ones(NUM_CLASSES).to(torch.float8_e4m3fn)
        },
        r"on rank \d of \d: expected floating point target, found torch.float8_e4m3fn: convert": {
            "target": probs.to(torch.float8_e4m3fn)
        },
        r"on rank \d of \d: expected rows_per_chunk of at least 1, found 0: leave": {
            "rows_per_chunk": 0
        },
        r"found rows_per_chunk to be 0, .*5 in the order of ranks: pass": {"rows_per_chunk": 5},
        r"found features with a gradient to be 0, .*: let": {
            "features": features.clone().requires_grad_()
        },
        r"on rank \d of \d: expected a target and class weights without a gradient, found": {
            "target": probs.clone().requires_grad_()
        },
    }  # fmt: skip
    for match, mistake in mistakes.items():
        arguments = good | (mistake if last else {})
        with pytest.raises(ArgumentError, match=match):
            call(arguments)
    everybodys = {
        r"expected a weight of shape \(13,\), found \(12,\): pass": {"weight": torch.ones(12)},
        r"expected .* columns of class probabilities.* found 2 on rank \d: pass": {"target": probs},
        r"expected class indices in \[0, 13\).* found 13 in row 0 .*: check": {
            "target": torch.cat([torch.tensor([13]), target[1:]])
        },
        r"expected label_smoothing in \[0, 1\], found 1.5: pass": {"label_smoothing": 1.5},
        r"expected at least one class on one rank, found .*: pass class_start": {
            "class_start": 0, "class_stop": 0, "local_weight": weight[:0]
        },
    }  # fmt: skip
    for match, mistake in everybodys.items():
        with pytest.raises(ArgumentError, match=match):
            call(good | mistake)
    assert call(good).isfinite()  # the group is still in step


def call(arguments):
    return sharded_linear_cross_entropy(
        arguments["features"],
        arguments["local_weight"],
        arguments["target"],
        **{k: v for k, v in arguments.items() if k not in ("features", "local_weight", "target")},
    )


def rows_that_do_not_fit_are_refused_on_every_rank():
    features, _, _, target = problem()
    last = dist.get_rank() == dist.get_world_size() - 1
    with pytest.raises(
        ArgumentError, match=r"on rank \d of \d: expected features .* found .*: pass"
    ):
        gather_rows(features, target[:4] if last else target, averaged=True)
    for rows, classes in ((features[:, :2], target), (features, target.int())):
        with pytest.raises(ArgumentError, match=r"rows of one kind on every rank, found .*: use"):
            gather_rows(rows if last else features, classes if last else target, averaged=True)


CHECKS = (
    variants_equal_the_textbook,
    predictions_are_those_of_the_whole_head,
    predictions_see_past_a_bound_that_makes_large_logits_equal,
    a_common_offset_changes_nothing,
    confident_rows_keep_loss_and_gradient,
    nearly_certain_probabilities_keep_what_is_left,
    ignored_rows_may_hold_inf_and_nan,
    all_ignored_has_nan_mean_and_zero_gradient,
    masked_classes_count_nothing,
    a_target_on_a_masked_class_is_an_infinite_loss,
    half_precision_is_no_worse_than_the_plain_way,
    tiny_upstream_gradients_survive_half_precision,
    autocast_returns_single_precision,
    a_single_row_and_no_row_are_batches_too,
    frozen_sides_are_left_out,
    backward_may_be_called_twice,
    what_cannot_be_differentiated_says_so,
    the_gathered_logits_differentiate_twice,
    a_replicated_backbone_gets_the_gradient_of_one_process,
    data_parallel_rows_meet_at_the_sharded_head,
    sharded_linear_starts_as_slices_of_linear,
    sharded_linear_trains_and_evaluates_as_linear,
    a_distributed_weight_goes_through_the_ordinary_function,
    a_replicated_weight_is_divided_among_the_ranks,
    distributed_logits_have_the_loss_of_the_whole,
    a_tensor_of_the_mesh_beside_a_plain_weight_is_refused,
    ranks_with_other_features_are_told_so,
    a_head_that_is_a_unit_of_fsdp_takes_gathered_rows,
    a_weight_distributed_otherwise_is_refused,
    a_mistake_of_one_rank_is_an_error_on_every_rank,
    rows_that_do_not_fit_are_refused_on_every_rank,
)
