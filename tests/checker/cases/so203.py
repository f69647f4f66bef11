"""Softmax over the batch."""

import torch
import torch.nn as nn
import torch.nn.functional as F


# -- guilty
def probabilities(x):
    import torchvision

    model = torchvision.models.resnet18()
    return F.softmax(model(x), dim=0)  # SO203


def rows_reach_a_decision(x):
    scores = nn.Linear(12, 4)(x.view(x.size(0), -1))
    probs = F.softmax(scores, dim=0)  # SO203
    return probs.argmax(dim=1)


# -- innocent
def one_image(x):
    import torchvision

    model = torchvision.models.resnet18()
    return F.softmax(model(x)[0], dim=0), F.softmax(model(x).squeeze(), dim=0)


def flattened(x):
    return F.softmax(nn.Linear(3, 4)(x).flatten(), dim=0)


def both_ways(x):
    pairs = nn.Linear(6, 1)(x.reshape(12, -1)).view(3, 4)
    return (F.softmax(pairs, dim=1) + F.softmax(pairs, dim=0)) / 2


def slots(x):
    return F.softmax(nn.Linear(3, 4)(x), dim=1) / 2, F.softmax(nn.Linear(3, 4)(x), dim=0)


def instances_of_a_bag(bag):
    features = bag.view(-1, 800)
    weights = F.softmax(nn.Linear(800, 1)(features), dim=0)
    return weights.t() @ features
