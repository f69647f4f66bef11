"""kl_div with the mean over entries."""

import torch
import torch.nn as nn
import torch.nn.functional as F


# -- guilty
def distil(student, teacher):
    return F.kl_div(F.log_softmax(student, 1), F.softmax(teacher, 1))  # SO304


# -- innocent
def by_rows(student, teacher):
    return F.kl_div(F.log_softmax(student, 1), F.softmax(teacher, 1), reduction="batchmean")
