"""The loss of rows of logits: what is asked for, checked, and by which way it is computed.

A row has logits z, and a mass `a[c] = keep[c] q[c] + spread[c]` of each class: q is the target,
`keep = (1 - smoothing) weight`, `spread = smoothing weight / C`. With `s = sum(a)` its loss is
`s logsumexp(z) - sum(a z)`, and its gradient `s softmax(z) - a`. Every option is in a, or in what
the rows are divided by.

In which order, and who decides:

1. `fast_path.py` is asked first: class indices on a CPU, few logits, no option. There the checks
   below take as long as the loss. It computes with torch's own operators and looks at the result:
   only if a row is so sure that they rounded its loss away does it compute again, more exactly.
2. `options.py` is the record of what was asked for, `checks.py` raises for what does not fit, and
   looks at class indices if that costs no wait for a device.
3. `objective.py` is both together: the target, what the mean divides by, how rows become one loss.
   It makes the mass for the kernels, once.
4. `autograd.py` takes a kernel if one can do it: plain tensors, eager mode, a device that has one.
   The kernel is one node of the graph. If one number is upstream of all rows their gradient is
   made with the loss, on a CPU; backward multiplies it, or makes it if it has been given away.
5. `readable.py` is the formula above as plain maths, for everything else: second derivatives,
   `torch.func`, forward mode, tracing. The kernels are held to it, and it to float64.

Why not `logsumexp(z) - z[target]`: of a sure row both are large and alike, and the loss is what
their rounding leaves. So the target's term is kept out of the sum: `log1p` of the others over it.

Source:
    Szegedy et al., "Rethinking the Inception Architecture", section 7, for the smoothing
    (https://arxiv.org/abs/1512.00567); Blanchard, Higham and Higham, "Accurately computing the
    log-sum-exp and softmax functions", for the term that is kept out of the sum
    (https://doi.org/10.1093/imanum/draa038).
"""
