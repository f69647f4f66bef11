"""Raw scores that reach binary_cross_entropy."""

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
    return nn.BCELoss()(Net()(x), target)  # SO105


def rectified(x, target):
    return F.binary_cross_entropy(F.relu(Net()(x)), target)  # SO105


# -- innocent
def misleading_name(x, target):
    logits = torch.sigmoid(Net()(x))
    return F.binary_cross_entropy(logits, target)


def unknown(net, x, target):
    return F.binary_cross_entropy(net(x), target)


def product_of_probabilities(x, y, target):
    return F.binary_cross_entropy(x.sigmoid() * y.sigmoid(), target)
