r"""What a classifier's numbers mean, told from the numbers: scores -> findings, figures, a repair.

The algebra. A second softmax is `p = softmax(q)` of probabilities q, so that `log p_i = q_i - L`
with one unknown L for the row. The C values of q sum to 1, which is what is known of them, and so
`1 = sum(log p) + C L`:

    q_i = log p_i + (1 - sum_j log p_j) / C

No label and no model is needed (`undoing`). For three softmaxes it is done twice.

How a second softmax is recognised. Of any answer the formula makes a row that sums to 1; of a
second softmax it makes one without a negative value. The condition is

    D = sum_j (log p_j - min log p) <= 1

and the ratio of the largest probability to the least is at most e. A network at the temperature it
was trained at breaks that with every answer. A flat one (untrained, or divided by a large
temperature) may keep it in all; then q is as arbitrary as the temperature. What it does not do is
crowd at the bound: behind a second softmax D comes as near to 1 as the inner network is sure, by
orders of magnitude, and never passes it (`crowding`). Both are asked of all answers together, and
where they do not decide, the verdict is that it cannot be told.

The limits. It takes the whole vector: of a top-5 list only the ratio is known. Rounding moves q by
C times half a unit, since a probability is about 1 / C: four decimals hide a second softmax over a
thousand classes, and most of the third over ten. With two classes D is the difference of the two
logarithms, and a softmax of two sigmoids keeps the same bound, so that the two cannot be told
apart. With more classes the sigmoids do not sum to 1: they break the bound of D, and keep that of
the ratio. A second softmax behind an unsure network, which never comes near 0 or 1, looks like a
flat network, and is none the less recoverable if one knows of it.

`reading` and `shapes` make a matrix of files and of JSON, `recognition` says what it means,
`labelled` what labels say of it, `run` puts the audit together.
"""

from softonce.auditing.answers import Answers as Answers
from softonce.auditing.findings import Finding as Finding
from softonce.auditing.recognition import recognize as recognize
from softonce.auditing.result import Audit as Audit
from softonce.auditing.run import audit as audit
from softonce.auditing.undoing import undo_softmax as undo_softmax
