"""Softmax over one class."""

import torch
import torch.nn as nn
import torch.nn.functional as F


# -- guilty
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(16, 1)

    def forward(self, x):
        return self.linear(x)


def train(x, target):
    return F.cross_entropy(Net()(x), target)  # SO110


def over_the_one_class(x):
    return F.softmax(nn.Linear(16, 1)(x), dim=-1)  # SO110


# -- innocent
class Pooling(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.scores = nn.Sequential(
            nn.Linear(hidden, 8), nn.Tanh(), nn.Linear(8, 1), nn.Softmax(dim=1)
        )

    def forward(self, tokens):
        return (self.scores(tokens) * tokens).sum(1)


def ranking(x, target):
    return F.cross_entropy(Net()(x).view(8, 12), target)


def pointers(x, target):
    return F.cross_entropy(Net()(x).squeeze(-1), target)


class BranchForOne:
    def __init__(self, loss, width=1):
        self.loss = loss
        self.head = nn.Linear(8, width)

    def forward(self, x):
        x = self.head(x)
        if isinstance(self.loss, nn.BCELoss):
            return x.sigmoid()
        return x.softmax(dim=-1)


BranchForOne(nn.BCELoss(), 1).forward(images)


class WidthByOption(nn.Module):
    def __init__(self, binary):
        super().__init__()
        if binary:
            self.width = 1
        self.head = nn.Linear(8, self.width)

    def forward(self, x):
        return self.head(x).softmax(dim=-1)
