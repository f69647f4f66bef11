"""Where the two meet."""

import torch.nn as nn
from engine import train_model
from models.nets import Classifier, Raw

train_model(Classifier(), nn.CrossEntropyLoss(), batches)
train_model(Raw(), nn.CrossEntropyLoss(), batches)
