"""Softmax of probabilities, away from a loss."""

import torch
import torch.nn as nn
import torch.nn.functional as F


# -- guilty
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 4)

    def forward(self, x):
        return self.linear(x).softmax(dim=1)


def predict(x):
    return F.softmax(Net()(x), dim=1)  # SO202


def sigmoid_of_sigmoid(x):
    return torch.sigmoid(torch.sigmoid(x))  # SO202


# -- innocent
def product_of_experts(x, y):
    return F.log_softmax(F.softmax(x, dim=1) * F.softmax(y, dim=1), dim=1)


def sinkhorn(x):
    for _ in range(3):
        x = F.softmax(x, dim=0)
        x = F.softmax(x, dim=1)
    return x


def routing(x):
    gates = F.softmax(x, dim=-1)
    return F.softmax(gates @ x, dim=-1)


def other_axis(x):
    return x.softmax(dim=1).softmax(dim=2)
