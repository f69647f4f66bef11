"""Probabilities that reach nll_loss."""

import torch
import torch.nn as nn
import torch.nn.functional as F


# -- guilty
def train(net, x, target):
    probs = F.softmax(net(x), dim=1)
    return F.nll_loss(probs, target)  # SO102


def inline(x, target):
    return F.nll_loss(F.softmax(x, dim=1), target)  # SO102


class Sigmoid(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Sequential(nn.Linear(3, 5), nn.Sigmoid())

    def forward(self, x):
        return self.last(x)


def sigmoid(x, target):
    criterion = nn.NLLLoss()
    return criterion(Sigmoid()(x), target)  # SO102


# -- innocent
def logarithm_before(net, x, target):
    probs = F.softmax(net(x), dim=1)
    return F.nll_loss((probs + 1e-8).log(), target)


def one_minus_p(x, target):
    return 1 + F.nll_loss(F.softmax(x, dim=1), target, reduction="none")


def misleading_name(x, target):
    probs = F.log_softmax(x, dim=1)
    return F.nll_loss(probs, target)


def with_skorch(Net):
    import skorch

    class Probs(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(20, 2)

        def forward(self, x):
            return self.linear(x).softmax(-1)

    return skorch.NeuralNetClassifier(Probs), skorch.NeuralNetClassifier(
        Probs, criterion=nn.NLLLoss
    )
