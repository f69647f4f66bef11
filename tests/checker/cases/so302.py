"""log_softmax before cross_entropy."""

import torch
import torch.nn as nn
import torch.nn.functional as F


# -- guilty
def redundant(net, x, target):
    return F.cross_entropy(F.log_softmax(net(x), dim=1), target)  # SO302


# -- innocent
def once(net, x, target):
    return F.cross_entropy(net(x), target) + F.nll_loss(F.log_softmax(net(x), dim=1), target)
