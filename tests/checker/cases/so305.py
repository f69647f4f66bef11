"""A name that says logits and holds something else."""

import torch
import torch.nn as nn
import torch.nn.functional as F


# -- guilty
def names(x):
    logits = F.softmax(x, dim=1)  # SO305
    probs = nn.Linear(3, 4)(x)  # SO305
    return logits, probs


# -- innocent
def honest(x):
    logits = nn.Linear(3, 4)(x)
    log_probs = F.log_softmax(logits, dim=1)
    return log_probs, logits.softmax(1)
