"""How values travel."""

import torch
import torch.nn as nn
import torch.nn.functional as F

from collections import OrderedDict
from functools import partial
from typing import NamedTuple

import torch.nn.functional as nn_f
from torch import sigmoid
from torch.nn import *


class Net(nn.Module):
    def __init__(self, final=None):
        super(Net, self).__init__()
        self.fc = nn.Linear(4, 3)
        if final is not None:
            self.add_module("final", final)

    def forward(self, x):
        return self.final(self.fc(x))


def module_as_argument(x, target):
    return F.cross_entropy(Net(nn.Softmax(dim=1))(x), target)  # SO101


def star_import(x, target):
    return CrossEntropyLoss()(Softmax(dim=1)(x), target)  # SO101


def other_alias(x, target):
    return nn_f.cross_entropy(sigmoid(x), target)  # SO106


def by_name(x, target):
    net = nn.Sequential(OrderedDict([("fc", nn.Linear(3, 4)), ("out", nn.Softmax(dim=1))]))
    return F.cross_entropy(net(x), target)  # SO101


def bound_early(x, target):
    squash = partial(F.softmax, dim=1)
    loss = lambda scores: F.cross_entropy(scores, target)  # SO101
    return loss(squash(x))


class Output(NamedTuple):
    logits: torch.Tensor
    probs: torch.Tensor


def named_fields(x, target):
    raw = nn.Linear(3, 4)(x)
    out = Output(logits=raw, probs=raw.softmax(1))
    return F.cross_entropy(out.logits, target) + F.cross_entropy(out.probs, target)  # SO101


def in_place(x, target):
    scores = nn.Linear(3, 4)(x)
    scores.sigmoid_()
    return F.binary_cross_entropy_with_logits(scores, target)  # SO104


def gathered(nets, x, target):
    outputs = []
    for net in nets:
        outputs.append(torch.softmax(net(x), dim=1))
    return F.cross_entropy(torch.cat(outputs, dim=0), target)  # SO101


def loaded_or_new(x, target, path):
    net = torch.load(path) if path else nn.Sequential(nn.Linear(3, 4), nn.Softmax(dim=1))
    return F.cross_entropy(net(x), target)  # SO101


def one_of_several_losses(x, target, name):
    losses = {"ce": nn.CrossEntropyLoss(), "nll": nn.NLLLoss(), "mse": nn.MSELoss()}
    return losses[name](nn.Linear(3, 4)(x), target)


def deleted_layer(x, target):
    layers = list(nn.Sequential(nn.Linear(3, 4), nn.Softmax(dim=1)).children())[:-1]
    return F.cross_entropy(nn.Sequential(*layers)(x), target)


def overwritten_entries(x, target):
    scores = x.softmax(1)
    scores[:, 0] = 5
    return F.cross_entropy(scores, target)


def which_of_several(nets, x, target, index):
    outputs = [nn.Linear(3, 4)(x), nn.Linear(3, 4)(x).log_softmax(1)]
    named = {"raw": outputs[0], "logs": outputs[1]}
    loss = F.nll_loss(outputs[index], target) + F.nll_loss(named[index], target)
    for scores in outputs[:index]:
        loss = loss + F.nll_loss(scores, target)
    return loss
