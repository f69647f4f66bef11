"""Probabilities in eval mode that reach a validation loss."""

import torch
import torch.nn as nn
import torch.nn.functional as F


# -- guilty
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(16, 3)

    def forward(self, x):
        x = self.linear(x)
        if self.training:
            return x
        return F.softmax(x, dim=1)


def validate(net, batches):
    net.eval()
    with torch.no_grad():
        for x, target in batches:
            loss = F.cross_entropy(net(x), target)  # SO207
    return loss


validate(Net(), batches)


# -- innocent
def train(net, batches):
    net.train()
    for x, target in batches:
        F.cross_entropy(net(x), target).backward()


def predict(net, x):
    net.eval()
    return net(x)


network = Net()
train(network, batches)
predict(network, x)


class OneLine(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(16, 3)

    def forward(self, x):
        x = self.linear(x)
        return x if self.training else F.softmax(x, dim=1)[:, 1]


train(OneLine(), batches)
