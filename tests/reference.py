"""The losses as a textbook writes them, in float64, and small problems to judge others on."""

import torch


def log_probs(logits):
    """Return the log of `exp(logits) / sum(exp(logits))`, classes on the last dimension."""
    logits = logits.double()
    shifted = logits - logits.amax(-1, keepdim=True)
    return shifted - shifted.exp().sum(-1, keepdim=True).log()


def effective_target(target, num_classes, weight, label_smoothing):
    """Return the mass of each class: smoothed, then weighted."""
    if not target.is_floating_point():
        target = torch.nn.functional.one_hot(target.long(), num_classes)
    smooth = (1 - label_smoothing) * target.double() + label_smoothing / num_classes
    return smooth if weight is None else smooth * weight.double()


def cross_entropy(
    logits,
    target,
    weight=None,
    *,
    ignore_index=-100,
    reduction="mean",
    label_smoothing=0.0,
    softcap=None,
):
    """Return `-sum(mass * log_probs)` of each row, written 0 where ignored, then reduced."""
    if softcap is not None:
        logits = softcap * (logits.double() / softcap).tanh()
    has_probs = target.shape == logits.shape
    scores = logits.movedim(min(logits.dim() - 1, 1), -1)
    num_classes = scores.shape[-1]
    if has_probs:
        target = target.movedim(min(target.dim() - 1, 1), -1)
        ignored = torch.zeros(target.shape[:-1], dtype=torch.bool)
    else:
        ignored = target == ignore_index
        target = target.masked_fill(ignored, 0)
    mass = effective_target(target, num_classes, weight, label_smoothing)
    scores = scores.masked_fill(ignored.unsqueeze(-1), 0)
    rows = -(mass * log_probs(scores)).sum(-1).masked_fill(ignored, 0)
    if reduction == "none":
        return rows
    if reduction == "sum":
        return rows.sum()
    factors = torch.ones_like(rows)
    if weight is not None and not has_probs:
        factors = weight.double()[target.long()]
    return rows.sum() / factors.masked_fill(ignored, 0).sum()


def nll_loss(log_probs, target, weight=None, *, ignore_index=-100, reduction="mean"):
    """Return `-weight[target] * log_probs[target]` of each row, 0 where ignored, reduced."""
    scores = log_probs.double().movedim(min(log_probs.dim() - 1, 1), -1)
    ignored = target == ignore_index
    target = target.long().masked_fill(ignored, 0)
    factors = torch.ones(scores.shape[-1]).double() if weight is None else weight.double()
    factors = factors[target].masked_fill(ignored, 0)
    picked = scores.gather(-1, target.unsqueeze(-1)).squeeze(-1)
    rows = -factors * picked.masked_fill(ignored, 0)
    if reduction == "none":
        return rows
    return rows.sum() if reduction == "sum" else rows.sum() / factors.sum()


def linear_cross_entropy(features, linear_weight, target, *, linear_bias=None, **options):
    """Return the cross-entropy of `features @ linear_weight.T + linear_bias`."""
    logits = features.double() @ linear_weight.double().T
    if linear_bias is not None:
        logits = logits + linear_bias.double()
    return cross_entropy(logits, target, **options)


def row_gradient(logits, target):
    """Return `softmax(logits) - onehot(target)` of each row, which is the loss's gradient."""
    probs = log_probs(logits).exp()
    return probs - torch.nn.functional.one_hot(target.long(), logits.shape[-1])


def confident_row(gaps):
    """Return the loss and the target's gradient where the target leads by `gaps` over the others.

    They are `log1p(s)` and `-s / (1 + s)` with `s = sum(exp(-gaps))`: no cancellation anywhere.
    """
    others = torch.exp(-gaps.double()).sum(-1)
    return torch.log1p(others), -others / (1 + others)


def draw(seed, *shape, scale=1.0, dtype=torch.float64):
    """Return normal logits of the given shape."""
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator, dtype=dtype)


def draw_target(seed, *shape, num_classes):
    """Return class indices of the given shape."""
    return torch.randint(num_classes, shape, generator=torch.Generator().manual_seed(seed))


def batch(shape, kind, num_classes=6):
    """Return float64 logits and a target, class indices or probabilities, for rows of a shape."""
    scores_shape = (*shape[:1], num_classes, *shape[1:])
    logits = draw(1, *scores_shape, scale=3)
    if kind == "probs":
        return logits, draw(2, *scores_shape).softmax(min(len(shape), 1))
    target = draw_target(2, *shape, num_classes=num_classes)
    if target.numel() > 2:
        target.flatten()[1] = -100
    return logits, target


def gradient(loss_of, logits, target, **options):
    """Return the gradient of the loss, summed where it is not reduced, in the logits."""
    leaf = logits.clone().requires_grad_()
    return torch.autograd.grad(loss_of(leaf, target, **options).sum(), leaf)[0]
