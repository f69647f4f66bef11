"""A network that is found under its name."""

import torch.nn as nn
import torch.nn.functional as F

NETWORKS = {}


def register(name):
    def decorate(made):
        NETWORKS[name] = made
        return made

    return decorate


def build(name, **options):
    return NETWORKS[name](**options)


@register("probs")
class Probs(nn.Module):
    def __init__(self, num_classes=3):
        super().__init__()
        self.linear = nn.Linear(8, num_classes)

    def forward(self, x):
        return F.softmax(self.linear(x), dim=1)


@register("raw")
def raw(num_classes=3):
    return nn.Linear(8, num_classes)


def by_any_name(x, target, name):
    import importlib

    module = importlib.import_module(f".{'nets'}", "cross_file.models")
    networks = importlib.import_module("cross_file.models.nets")
    loss = F.cross_entropy(getattr(module, name)()(x), target)  # SO101
    return loss + F.cross_entropy(getattr(networks, name)()(x), target)  # SO101


def train(x, target):
    wrong = F.cross_entropy(build("probs", num_classes=5)(x), target)  # SO101
    return wrong + F.cross_entropy(build("raw")(x), target)
