"""The losses: the one place that normalises class scores while a network trains."""

from softonce.losses.functional import cross_entropy as cross_entropy
from softonce.losses.functional import log_softmax as log_softmax
from softonce.losses.functional import nll_loss as nll_loss
from softonce.losses.functional import softmax as softmax
from softonce.losses.linear import linear_cross_entropy as linear_cross_entropy
from softonce.losses.modules import CrossEntropyLoss as CrossEntropyLoss
from softonce.losses.modules import LinearCrossEntropyLoss as LinearCrossEntropyLoss
from softonce.losses.modules import LogSoftmax as LogSoftmax
from softonce.losses.modules import NLLLoss as NLLLoss
from softonce.losses.modules import Softmax as Softmax
