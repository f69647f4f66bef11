"""A sigmoid before a loss that applies sigmoid itself."""

import torch
import torch.nn as nn
import torch.nn.functional as F


# -- guilty
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(16, 1)

    def forward(self, x):
        return torch.sigmoid(self.linear(x))


def train(x, target):
    criterion = nn.BCEWithLogitsLoss()
    return criterion(Net()(x).squeeze(1), target)  # SO104


def inline(x, target):
    return F.binary_cross_entropy_with_logits(torch.sigmoid(x), target)  # SO104


def twice(x, target):
    return F.binary_cross_entropy(torch.sigmoid(Net()(x)), target)  # SO104


# -- innocent
def parts_of_one_tensor(ps, target):
    box = ps[:, :2].sigmoid() * 2 - 0.5
    return box.sum() + F.binary_cross_entropy_with_logits(ps[:, 5:], target)


class Confidence(nn.Module):
    def __init__(self):
        super().__init__()
        self.token = nn.Sequential(nn.Linear(8, 1), nn.Sigmoid())
        self.loss = nn.BCEWithLogitsLoss(reduction="none")

    def forward(self, x):
        return self.token(x)

    def step(self, x, target):
        return self.loss(self.token[0](x).squeeze(-1), target)


def focal(x, target):
    p = torch.sigmoid(x)
    weight = (1 - p).pow(2)
    return (weight * F.binary_cross_entropy_with_logits(x, target, reduction="none")).mean()


class Reward(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))

    def update(self, x, target):
        return F.binary_cross_entropy_with_logits(self.trunk(x), target)

    def reward(self, x):
        s = torch.sigmoid(self.trunk(x))
        return s.log() - (1 - s).log()


def hidden(x, target):
    net = nn.Sequential(nn.Linear(3, 3), nn.Sigmoid(), nn.Linear(3, 1))
    return F.binary_cross_entropy_with_logits(net(x), target)


def after_the_loss(net, x, target):
    out = net(x)
    loss = F.binary_cross_entropy_with_logits(out, target)
    out = out.sigmoid()
    return loss, out


def with_monai(x, target):
    from monai.losses import DiceCELoss

    return DiceCELoss(sigmoid=True)(nn.Linear(3, 1)(x), target), torch.sigmoid(x) > 0.5
