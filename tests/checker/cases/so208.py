"""A network trained with softmax and read through a sigmoid."""

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
    return F.cross_entropy(net(x), target)


def predict(net, x):
    return torch.sigmoid(net(x))  # SO208


net = Net()
train(net, x, target)
predict(net, x)


# -- innocent
class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.classes = nn.Linear(16, 3)
        self.labels = nn.Linear(16, 5)

    def forward(self, x):
        return self.classes(x), self.labels(x)


def both(x, target, many):
    classes, labels = TwoHeads()(x)
    loss = F.cross_entropy(classes, target) + F.binary_cross_entropy_with_logits(labels, many)
    return loss, torch.sigmoid(labels)


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(16, 16)
        self.last = nn.Linear(16, 3)

    def forward(self, x):
        return self.last(x * torch.sigmoid(self.gate(x)))


def gated(x, target):
    return F.cross_entropy(Gated()(x), target)


class OneOfTwoTasks:
    def __init__(self, criterion):
        self.net = nn.Linear(8, 3)
        self.criterion = criterion

    def step(self, x, target):
        scores = self.net(x)
        return F.cross_entropy(scores, target), self.criterion(scores, target)

    def probs(self, x):
        return self.read(self.net(x))

    def read(self, scores):
        return torch.sigmoid(scores)


class ReadByKind:
    def __init__(self):
        self.net = nn.Linear(8, 3)

    def step(self, x, target):
        return F.cross_entropy(self.net(x), target)

    def probs(self, x, kind):
        return self.read(self.net(x), kind)

    def read(self, scores, kind):
        return scores.softmax(1) if kind == "one" else torch.sigmoid(scores)
