"""Raw scores that reach nll_loss."""

import torch
import torch.nn as nn
import torch.nn.functional as F


# -- guilty
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten())
        self.classifier = nn.Linear(128, 10)

    def forward(self, x):
        return self.classifier(self.features(x))


def train(x, target):
    return F.nll_loss(Net()(x), target)  # SO103


def backbone(x, target):
    import torchvision

    model = torchvision.models.resnet18(num_classes=7)
    return nn.NLLLoss()(model(x), target)  # SO103


# -- innocent
class LogNet(Net):
    def forward(self, x):
        return F.log_softmax(super().forward(x), dim=1)


def log_softmax_in_the_network(x, target):
    logits = LogNet()(x)
    return F.nll_loss(logits, target)


def unknown(net, x, target):
    return F.nll_loss(net(x), target)


def replaced_head(x, target):
    import torchvision

    model = torchvision.models.resnet18()
    model.fc = nn.Sequential(nn.Linear(model.fc.in_features, 2), nn.LogSoftmax(dim=1))
    return nn.NLLLoss()(model(x), target)


def by_hand(x, target):
    scores = nn.Linear(3, 4)(x)
    return F.nll_loss(scores - scores.logsumexp(1, keepdim=True), target)
