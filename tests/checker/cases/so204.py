"""The logarithm of softmax."""

import torch
import torch.nn as nn
import torch.nn.functional as F


# -- guilty
def inline(x):
    return torch.log(F.softmax(x, dim=1))  # SO204


def by_method(x):
    return x.softmax(dim=1).log()  # SO204


def under_a_name(x):
    probs = F.softmax(x, dim=1)
    return torch.log(probs)  # SO204


# -- innocent
def entropy_of_probabilities(x):
    probs = F.softmax(x, dim=1)
    return -(probs * torch.log(probs)).sum(dim=1)


def with_epsilon(x):
    return torch.log(F.softmax(x, dim=1) + 1e-8)


def clamped(x):
    return F.softmax(x, dim=1).clamp(min=1e-7).log()


def averaged(models, x):
    members = torch.stack([model(x).softmax(-1) for model in models])
    return members.mean(0).log()


def log_softmax(x):
    return F.log_softmax(x, dim=1)
