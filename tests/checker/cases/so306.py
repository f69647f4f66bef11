"""Class scores normalised outside of the configured files."""

import torch
import torch.nn as nn
import torch.nn.functional as F


# -- guilty
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.Linear(8, 8)
        self.classifier = nn.Linear(8, 3)

    def forward(self, x):
        x = x * torch.sigmoid(self.attention(x))
        return self.classifier(x * F.softmax(self.attention(x), dim=1))


def predict(x, target):
    scores = Net()(x)
    loss = F.cross_entropy(scores, target)
    return loss, scores.softmax(dim=1)  # SO306


# -- innocent
def unknown(scores):
    return scores.softmax(dim=1)
