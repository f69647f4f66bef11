"""Probabilities that reach cross_entropy."""

import torch
import torch.nn as nn
import torch.nn.functional as F


# -- guilty
class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.body = nn.Linear(64, num_classes)

    def forward(self, x):
        return F.softmax(self.body(x), dim=1)


def train(net, batches):
    criterion = nn.CrossEntropyLoss()
    for x, target in batches:
        criterion(net(x), target).backward()  # SO101


train(Net(), batches)


# -- guilty
def inline(x, target):
    return F.cross_entropy(F.softmax(x, dim=1), target)  # SO101


def through_a_name(x, target):
    scores = x.softmax(dim=-1)
    scores = scores.float().contiguous()
    return F.cross_entropy(scores, target)  # SO101


def by_keyword(x, target):
    return F.cross_entropy(target=target, input=torch.softmax(x, 1))  # SO101


class LastLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3), nn.Softmax(dim=1))

    def forward(self, x):
        return self.layers(x)

    def training_step(self, batch, index):
        x, target = batch
        return F.cross_entropy(self(x), target)  # SO101


class Tuple(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        logits = self.head(x)
        return logits, logits.softmax(1)


def second_of_a_tuple(x, target):
    net = Tuple()
    logits, probs = net(x)
    right = F.cross_entropy(logits, target)
    return right + F.cross_entropy(probs, target)  # SO101


def through_a_dict(x, target):
    outputs = {"scores": Tuple()(x)[1]}
    return F.cross_entropy(outputs["scores"], target)  # SO101


class Trainer:
    def __init__(self, model, loss_fn=nn.CrossEntropyLoss()):
        self.model = model
        self.set_loss(loss_fn)

    def set_loss(self, loss_fn):
        self.loss_fn = loss_fn

    def step(self, x, target):
        output = self.model(x)
        return self.loss_fn(output, target)  # SO101


Trainer(LastLayer()).step(x, target)


def my_loss(scores, target):
    return F.cross_entropy(scores, target)  # SO101


def through_a_helper(x, target):
    return my_loss(torch.softmax(x, dim=1), target)


def log_softmax_of_probs(x, target):
    return F.nll_loss(F.log_softmax(F.softmax(x, dim=1), dim=1), target)  # SO101


def on_one_branch(x, target):
    scores = nn.Linear(3, 4)(x)
    if target.dim() == 1:
        scores = scores.softmax(1)
    return F.cross_entropy(scores, target)  # SO101


def appended_layers(x, target):
    layers = [nn.Linear(3, 4)]
    layers.append(nn.Softmax(dim=1))
    return F.cross_entropy(nn.Sequential(*layers)(x), target)  # SO101


def loop(x, target, net):
    for _ in range(3):
        probs = net(x).softmax(1)
        loss = F.cross_entropy(probs, target)  # SO101
    return loss


class ByHand(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        powers = torch.exp(self.head(x))
        return powers / powers.sum(dim=1, keepdim=True)


def written_by_hand(x, target):
    scores = torch.exp(x - x.max(1, keepdim=True)[0])
    probs = scores / torch.sum(scores, dim=1, keepdim=True)
    return F.cross_entropy(ByHand()(x), target) + F.cross_entropy(probs, target)  # SO101


# -- innocent
def softmax_for_reading_only(net, x, target):
    logits = net(x)
    loss = F.cross_entropy(logits, target)
    confidence = logits.softmax(dim=1).max(dim=1).values
    return loss, confidence


def soft_labels(x, teacher):
    return F.cross_entropy(x, F.softmax(teacher, dim=1))


def rebound_after_the_loss(net, x, target):
    out = net(x)
    loss = F.cross_entropy(out, target)
    out = F.softmax(out, dim=1)
    return loss, out


class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 3)

    def forward(self, x):
        return self.linear(x).softmax(1)

    def step(self, x, target):
        return F.cross_entropy(self.linear(x), target)


class Optional(nn.Module):
    def __init__(self, apply_softmax=False):
        super().__init__()
        self.linear = nn.Linear(8, 3)
        self.apply_softmax = apply_softmax

    def forward(self, x):
        x = self.linear(x)
        return F.softmax(x, dim=1) if self.apply_softmax else x


def optional_softmax(x, target):
    return F.cross_entropy(Optional()(x), target)


def made_on_purpose(net, x, target, double_softmax):
    scores = net(x)
    if double_softmax:
        return F.cross_entropy(F.softmax(scores, dim=1), target)
    return F.cross_entropy(scores, target)


class Unsaid(nn.Module):
    def __init__(self, activation):
        super().__init__()
        self.linear = nn.Linear(8, 3)
        self.last = nn.Softmax(dim=1) if activation == "softmax" else nn.Identity()

    def forward(self, x):
        return self.last(self.linear(x))


def option_that_nobody_is_seen_to_set(config, x, target):
    return F.cross_entropy(Unsaid(config.activation)(x), target)


def attention(q, k, v, target):
    weights = F.softmax(q @ k.transpose(-1, -2), dim=-1)
    return F.cross_entropy(nn.Linear(8, 3)(weights @ v), target)


def first_of_a_slice(x, target):
    net = nn.Sequential(nn.Linear(3, 4), nn.Softmax(dim=1))
    return F.cross_entropy(net[:-1](x), target)


def cross_entropy(probs, target):
    return -(probs.clamp_min(1e-9).log() * target).sum(1).mean()


class CrossEntropyLoss(nn.Module):
    def forward(self, probs, target):
        return cross_entropy(probs, target)


def own_names(x, target):
    return cross_entropy(x.softmax(1), target) + CrossEntropyLoss()(x.softmax(1), target)


def commented(x, target):
    # x = F.softmax(x, dim=1)
    return F.cross_entropy(x, target)


def dice_and_cross_entropy(net, x, target, double_softmax=False):
    logits = net(x)
    probs = torch.softmax(logits, dim=1)
    dice = 1 - 2 * (probs * target).sum() / (probs + target).sum()
    return dice + F.cross_entropy(logits, target)


def pseudo_labels(net, x, strong):
    probs = net(x).softmax(dim=-1)
    best, label = probs.max(dim=-1)
    mask = best.ge(0.95).float()
    return (F.cross_entropy(net(strong), label, reduction="none") * mask).mean()


def silenced(x, target):
    return F.cross_entropy(F.softmax(x, dim=1), target)  # noqa: SO101


def weights_by_hand(x, target, weight):
    powers = x.exp()
    probs = powers / powers.sum(1, keepdim=True)
    weighted = weight * powers / (weight * powers).sum(1, keepdim=True)
    gate = torch.exp(x) / torch.exp(weight).sum(1, keepdim=True)
    logs = torch.log(probs) + torch.log(weighted)
    return F.nll_loss(logs, target) + F.cross_entropy(gate, target) + F.cross_entropy(powers, target)
