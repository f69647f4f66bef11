"""Softmax that serves argmax only."""

import torch
import torch.nn as nn
import torch.nn.functional as F


# -- guilty
def classify(net, x):
    return F.softmax(net(x), dim=1).argmax(dim=1)  # SO303


# -- innocent
def decide(net, x):
    return net(x).argmax(dim=1)
