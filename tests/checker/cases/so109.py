"""Decisions instead of scores."""

import torch
import torch.nn as nn
import torch.nn.functional as F


# -- guilty
def trained_on_decisions(net, x, target):
    pred = net(x).argmax(dim=1)
    return F.cross_entropy(pred, target)  # SO109


def thresholded(net, x, target):
    p = torch.sigmoid(net(x))
    return F.binary_cross_entropy((p > 0.5).float(), target)  # SO109


def indices_of_max(net, x, target):
    _, pred = torch.max(net(x), 1)
    return nn.NLLLoss()(pred.float(), target)  # SO109


# -- innocent
def decided_target(net, x, teacher):
    return F.cross_entropy(net(x), teacher(x).argmax(dim=1))


def accuracy(net, x, target):
    out = net(x)
    return F.cross_entropy(out, target), (out.argmax(1) == target).float().mean()
