"""A temperature after the softmax."""

import torch
import torch.nn as nn
import torch.nn.functional as F


# -- guilty
def soften(x, temperature):
    probs = F.softmax(x, dim=1) / temperature
    return F.log_softmax(probs, dim=1)  # SO206


# -- innocent
def before_the_softmax(x, temperature):
    return F.softmax(x / temperature, dim=1)


def sharpen(x, temperature):
    p = F.softmax(x, dim=1) ** (1 / temperature)
    return torch.log(p / p.sum(dim=1, keepdim=True))
