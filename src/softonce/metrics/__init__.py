"""Figures of a classifier: one mergeable row per sample, and what is computed from all of them.

`score_rows` turns a batch of logits into `Rows`; rows of batches, processes or files are put
together with `Rows.cat`; `figures` computes every number of a report from the whole.
"""

from softonce.metrics.label_errors import LabelErrors as LabelErrors
from softonce.metrics.label_errors import find_label_errors as find_label_errors
from softonce.metrics.ranking import one_vs_rest_auc as one_vs_rest_auc
from softonce.metrics.reliability import ReliabilityBin as ReliabilityBin
from softonce.metrics.rows import Rows as Rows
from softonce.metrics.rows import check_target as check_target
from softonce.metrics.rows import score_rows as score_rows
from softonce.metrics.summary import ClassFigures as ClassFigures
from softonce.metrics.summary import ConfusedPair as ConfusedPair
from softonce.metrics.summary import Figures as Figures
from softonce.metrics.summary import figures as figures
