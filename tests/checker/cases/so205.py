"""A threshold for probabilities on raw scores."""

import torch
import torch.nn as nn
import torch.nn.functional as F


# -- guilty
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(16, 3)

    def forward(self, x):
        return self.linear(x)


def train(net, x, target):
    out = net(x)
    loss = F.binary_cross_entropy_with_logits(out, target)
    return loss, out > 0.5  # SO205


def count(scores):
    return scores.ge(0.5).sum()  # SO205


train(Net(), x, target)
count(Net()(x))


# -- innocent
def after_sigmoid(x, target):
    out = Net()(x)
    loss = F.binary_cross_entropy_with_logits(out, target)
    return loss, torch.sigmoid(out) > 0.5


def at_zero(x, target):
    out = Net()(x)
    return F.binary_cross_entropy_with_logits(out, target), out > 0


def thresholded_target(x, target):
    return F.binary_cross_entropy_with_logits(Net()(x), (target > 0.5).float())


def trained_with_bce(x, target):
    out = nn.Sequential(nn.Linear(3, 1), nn.Sigmoid())(x)
    return F.binary_cross_entropy(out, target), out > 0.5


def regression(x, target):
    out = nn.Linear(3, 1)(x)
    return F.mse_loss(out, target), out > 0.5
