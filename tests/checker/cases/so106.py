"""The output of a sigmoid that reaches cross_entropy."""

import torch
import torch.nn as nn
import torch.nn.functional as F


# -- guilty
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(16, 10)
        self.activation = nn.Sigmoid()

    def forward(self, x):
        return self.activation(self.last(x))


def train(x, target):
    return nn.CrossEntropyLoss()(Net()(x), target)  # SO106


def inline(x, target):
    return F.cross_entropy(torch.sigmoid(x), target)  # SO106


# -- innocent
class Hidden(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(784, 128), nn.Sigmoid(), nn.Linear(128, 10))

    def forward(self, x):
        return self.net(x)


def hidden_activation(x, target):
    return F.cross_entropy(Hidden()(x), target)


def sigmoid_target(x, teacher):
    return F.cross_entropy(x, torch.sigmoid(teacher))
