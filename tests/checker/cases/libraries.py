"""Models and losses that meet in other libraries."""

import torch
import torch.nn as nn
import torch.nn.functional as F

import fastai.vision.all as fv
import skorch
import timm
import torchvision
import transformers
from ignite.engine import create_supervised_trainer
from pytorch_lightning import LightningModule


class Probs(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(20, 2)

    def forward(self, x):
        return self.linear(x).softmax(-1)


class Raw(Probs):
    def forward(self, x):
        return self.linear(x)


class Lit(LightningModule):
    def __init__(self):
        super().__init__()
        self.model = Probs()
        self.criterion = nn.CrossEntropyLoss()

    def forward(self, x):
        return self.model(x)

    def training_step(self, batch, batch_idx):
        x, target = batch
        loss = self.criterion(self(x), target)  # SO101
        self.log("confidence", self(x).max())
        return loss


class Weighted(transformers.Trainer):
    def compute_loss(self, model, inputs, return_outputs=False):
        outputs = model(**inputs)
        right = F.cross_entropy(outputs.logits, inputs["labels"])
        probs = outputs.logits.softmax(-1)
        return right + F.cross_entropy(probs, inputs["labels"])  # SO101


skorch.NeuralNetClassifier(Probs, criterion=nn.CrossEntropyLoss, max_epochs=3)  # SO101
skorch.NeuralNetClassifier(Raw, criterion=nn.CrossEntropyLoss)
create_supervised_trainer(Probs(), optimizer, nn.CrossEntropyLoss())  # SO101
create_supervised_trainer(Raw(), optimizer, nn.CrossEntropyLoss())
fv.Learner(dls, Probs(), loss_func=fv.CrossEntropyLossFlat())  # SO101
fv.Learner(dls, Raw(), loss_func=fv.CrossEntropyLossFlat())


def replaced_heads(x, target, arch):
    model = torchvision.models.resnet50(weights=None)
    model.fc = nn.Sequential(nn.Linear(2048, 5), nn.Softmax(dim=1))
    first = F.cross_entropy(model(x), target)  # SO101
    vgg = torchvision.models.vgg16()
    vgg.classifier[6] = nn.Linear(4096, 5)
    second = F.cross_entropy(vgg(x), target)
    vgg.classifier.add_module("7", nn.Softmax(dim=1))
    third = F.cross_entropy(vgg(x), target)  # SO101
    net = timm.create_model("resnet18", num_classes=3)
    fourth = F.nll_loss(net(x), target)  # SO103
    wrapped = nn.DataParallel(nn.Sequential(net, nn.Softmax(dim=1))).cuda()
    fifth = F.cross_entropy(wrapped(x), target)  # SO101
    named = getattr(torchvision.models, arch)(pretrained=True)
    return first + second + third + fourth + fifth + F.nll_loss(named(x), target)  # SO103
