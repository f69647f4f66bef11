"""Training loops as they are written."""

import copy

import torch
import torch.nn as nn
import torch.nn.functional as F


class Discriminator(nn.Module):
    def __init__(self, num_devices):
        super().__init__()
        self.num_devices = num_devices
        self.main = nn.Sequential(nn.Conv2d(3, 1, 4), nn.Sigmoid())

    def forward(self, images):
        if images.is_cuda and self.num_devices > 1:
            return nn.parallel.data_parallel(self.main, images, range(self.num_devices)).view(-1)
        return self.main(images).view(-1)


def adversarial(batches, device):
    net, criterion = Discriminator(1).to(device), nn.BCEWithLogitsLoss()
    for images, target in batches:
        criterion(net(images), target).backward()  # SO104


def by_phases(model, criterion, loaders):
    best = copy.deepcopy(model.state_dict())
    for phase in ["train", "val"]:
        model.train(phase == "train")
        for x, target in loaders[phase]:
            with torch.set_grad_enabled(phase == "train"):
                outputs = model(x)
                loss = criterion(outputs, target)  # SO101
    return best, loss


by_phases(nn.Sequential(nn.Linear(3, 2), nn.Softmax(dim=1)), nn.CrossEntropyLoss(), loaders)
by_phases(nn.Linear(3, 2), nn.CrossEntropyLoss(), loaders)


class Perceptron(nn.Module):
    def __init__(self, dim_out):
        super().__init__()
        self.hidden = nn.Linear(64, dim_out)

    def forward(self, x):
        return F.softmax(self.hidden(x), dim=1)


class Convolutional(Perceptron):
    def forward(self, x):
        return self.hidden(x)


class Client:
    def __init__(self, args):
        self.args = args
        self.loss_func = nn.CrossEntropyLoss()

    def train(self, net):
        for x, target in self.batches:
            loss = self.loss_func(net(x), target)  # SO101
        return net.state_dict(), loss


def federated(args):
    if args.model == "cnn":
        net = Convolutional(args.num_classes)
    elif args.model == "mlp":
        net = Perceptron(args.num_classes).to(args.device)
    else:
        raise SystemExit
    for _ in range(args.rounds):
        Client(args).train(copy.deepcopy(net))


class Agent:
    def __init__(self):
        self.net = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
        self.head = nn.Linear(4, 2)
        self._setup()

    def _setup(self):
        self.criterion = nn.CrossEntropyLoss()

    def closure(self, optimizer, x, target):
        def evaluate():
            loss = self.criterion(torch.softmax(self.head(self.net(x)), 1), target)  # SO101
            loss.backward()
            return loss

        optimizer.step(evaluate)
        return evaluate()
