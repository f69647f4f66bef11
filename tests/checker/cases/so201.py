"""Scores that are clipped or bounded before the loss."""

import torch
import torch.nn as nn
import torch.nn.functional as F


# -- guilty
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(9, 10), nn.ReLU())

    def forward(self, x):
        return self.layers(x)


def train(x, target):
    return F.cross_entropy(Net()(x), target)  # SO201


def through_log_softmax(x, target):
    scores = F.relu(nn.Linear(3, 4)(x))
    return F.nll_loss(F.log_softmax(scores, dim=-1).transpose(1, -1), target)  # SO201


def bounded(x, target):
    return F.cross_entropy(torch.tanh(nn.Linear(3, 4)(x)), target)  # SO201


# -- innocent
def graph_attention(x, target):
    scores = F.elu(nn.Linear(3, 4)(x))
    return F.nll_loss(F.log_softmax(scores, dim=1), target)


def leaky(x, target):
    return F.cross_entropy(F.leaky_relu(nn.Linear(3, 4)(x)), target)


def linear_after_relu(x, target):
    return F.cross_entropy(nn.Linear(4, 4)(F.relu(nn.Linear(3, 4)(x))), target)


def pooled_as_in_squeezenet(x, target):
    head = nn.Sequential(nn.Conv2d(8, 10, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return F.cross_entropy(head(x), target)


def similarities(x, y, target):
    return F.cross_entropy(F.relu(x) @ F.relu(y).t(), target)
