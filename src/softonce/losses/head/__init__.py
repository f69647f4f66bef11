"""The loss of a linear head, without the N x C logits in memory.

With features X (N, D), a weight W (C, D) and a bias b the logits are `Z = X W.T + b`. Of G, the
gradient of the loss in Z, follow `dX = G W`, `dW = G.T X` and `db = G.sum(0)`. So a step is three
products of 2 N D C operations and a pass over Z between them; all that can be saved is memory, and
the traffic between the products.

In which order, and who decides:

1. `problem.py` gets a target and options that are checked (`rows/objective.py`). It writes 0 into
   the features of ignored rows, since 0 times inf would be NaN in dW, and chooses the precision of
   the products: that of the features, or single on a processor that is slow with half.
2. If the loss is one number, the gradients are made with it: what is upstream of all rows is one
   factor, which comes at the end. Otherwise (`none`, the log-sum-exp) forward keeps four numbers a
   row, and backward makes the logits again. If nobody can ask for a gradient, none is made.
3. One of two loops cuts Z. `row_chunks.py` takes some rows over all classes: the chunk's logits
   become its G in place and are multiplied while the cache has them (Hsu et al., section 3.2).
   `class_blocks.py` takes many rows over some classes: with many classes its products are fatter,
   but the sum of a row is known only after the last block, so that the logits of all but the first
   blocks are made twice. `class_blocks.is_faster` decides, by what was measured on CPUs.
4. `parameters.py` adds up the gradients, in single precision for half. What is upstream is
   multiplied in before they are rounded to the dtype of the parameters: a scale of 65536 and a
   mean over 1e5 rows meet in single precision, and neither overflows nor vanishes.
5. `predictions.py` looks at the same logits for the largest, for the accuracy.

`compiled.py` is the same as an operator that `torch.compile` need not look into. The sums of a row
are those of `kernels/parts.py`.

Source:
    Hsu et al., "Liger Kernel", section 3.2 (https://arxiv.org/abs/2410.10989); Wijmans et al., "Cut
    Your Losses in Large-Vocabulary Language Models", section 4 (https://arxiv.org/abs/2411.09009).
"""
