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
from softonce.losses.sharding.collectives import gather_rows as gather_rows
from softonce.losses.sharding.linear import ShardedLinear as ShardedLinear
from softonce.losses.sharding.loss import (
    sharded_linear_cross_entropy as sharded_linear_cross_entropy,
)
