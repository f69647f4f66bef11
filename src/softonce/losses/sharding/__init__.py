"""The loss of a head whose classes are divided among processes.

Each rank has all features, and the weight of some classes. In one call:

1. `partition.py` compares the arguments of all ranks in one small exchange: who holds which
   classes, and whether shapes, options and the bits of features and targets are alike. What one
   rank has wrong is an error on all; otherwise the others would wait for it forever.
2. `rows.py` narrows the effective target to the rank's classes, leaves ignored rows out, and goes
   through the others in chunks. The ranks' chunks are alike, as each is an exchange.
3. `row_parts.py`: of its own logits a rank says six numbers a row; gathered from all ranks, these
   say the loss and the softmax of the row, so that each rank turns its logits into their gradient.
   All ranks add up the same numbers in the same order, so that their losses have the same bits.
   The N x C logits are nowhere, and what is exchanged does not grow with C.
4. The gradients of the rank's own weight stay there. That of the features is the sum over the
   ranks, one exchange at the end. With `mean` and `sum` all this happens in forward, and backward
   exchanges nothing; with `none` backward makes the logits again (`loss.py`).

`collectives.py` has the exchanges that have a gradient, for what is around the loss: features that
are gathered from processes with rows of their own, and logits that are gathered for evaluation.
`linear.py` is the head as a module. `dtensor.py` takes apart what is placed on a device mesh, and
calls the same; logits that are given, in the place of a head, go the same way.

Source:
    An et al., "Partial FC", section 3 (https://arxiv.org/abs/2010.05222); Shoeybi et al.,
    "Megatron-LM", section 3 (https://arxiv.org/abs/1909.08053).
"""
