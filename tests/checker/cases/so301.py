"""Softmax without dim."""

import torch
import torch.nn as nn
import torch.nn.functional as F


# -- guilty
def implicit(x):
    return F.softmax(x), F.log_softmax(x)  # SO301


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Softmax()  # SO301


def two_axes(x):
    return F.softmax(nn.Linear(4, 3)(x.view(x.size(0), -1)))  # SO301


# -- innocent
def explicit(x, dim):
    return F.softmax(x, 1), F.log_softmax(x, dim=dim), nn.Softmax(dim=-1), nn.Softmax2d()


def own_function(x):
    def softmax(x):
        return x / x.sum()

    return softmax(x)
