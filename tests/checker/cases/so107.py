"""The first argument of kl_div that is not in log space."""

import torch
import torch.nn as nn
import torch.nn.functional as F


# -- guilty
def distil(student, teacher):
    probs = F.softmax(teacher, dim=1)
    return F.kl_div(F.softmax(student, dim=1), probs, reduction="sum")  # SO107


def raw(x, teacher):
    scores = nn.Linear(3, 4)(x)
    criterion = nn.KLDivLoss(reduction="batchmean")
    return criterion(scores, teacher.softmax(1))  # SO107


# -- innocent
def log_softmax_first(student, teacher):
    return F.kl_div(F.log_softmax(student, 1), F.softmax(teacher, 1), reduction="batchmean")


def logarithm(modes, posterior):
    return nn.KLDivLoss(reduction="batchmean")(torch.log(modes), posterior)


def logarithm_with_epsilon(x, teacher):
    probs = F.softmax(x, dim=1) + 1e-8
    return F.kl_div(probs.log(), teacher, reduction="sum")
