"""The target of kl_div and log_target."""

import torch
import torch.nn as nn
import torch.nn.functional as F


# -- guilty
def both_in_log_space(student, teacher):
    target = F.log_softmax(teacher, dim=1)
    return F.kl_div(F.log_softmax(student, dim=1), target, reduction="batchmean")  # SO108


def told_log_given_probs(student, teacher):
    criterion = nn.KLDivLoss(reduction="batchmean", log_target=True)
    return criterion(F.log_softmax(student, dim=1), teacher.softmax(1))  # SO108


# -- innocent
def log_target(student, teacher):
    target = F.log_softmax(teacher, dim=1)
    return F.kl_div(F.log_softmax(student, dim=1), target, reduction="batchmean", log_target=True)


def flag_unknown(student, teacher, flag):
    target = F.log_softmax(teacher, dim=1)
    return F.kl_div(F.log_softmax(student, dim=1), target, reduction="sum", log_target=flag)
