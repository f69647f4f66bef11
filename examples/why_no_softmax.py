"""Where did the softmax go? The paper's network ends in one, torchvision's ends in a Linear layer.

It is in the loss: `cross_entropy` is `nll_loss` of `log_softmax`. Every equality here is asserted.
"""

import torch
import torch.nn.functional as F
from torch.testing import assert_close

from softonce import CrossEntropyLoss, cross_entropy, log_softmax, nll_loss, softmax
from softonce.floors import double_softmax_floor

torch.set_printoptions(precision=4, sci_mode=False)
torch.manual_seed(0)
z = torch.randn(3, 5)  # logits, as a Linear layer gives them: 3 images, 5 classes
y = torch.randint(5, (3,))


def gradient(loss_of):
    leaf = z.clone().requires_grad_()
    loss_of(leaf).backward()
    return leaf.grad


print(f"log(softmax(z, dim=1))\n{torch.log(softmax(z, dim=1))}")
print(f"log_softmax(z, dim=1)\n{log_softmax(z, dim=1)}")
assert_close(torch.log(softmax(z, dim=1)), log_softmax(z, dim=1))
assert_close(log_softmax(z, dim=1), F.log_softmax(z, dim=1))

composed, loss = nll_loss(log_softmax(z, dim=1), y), cross_entropy(z, y)
torchs_composed, torchs = F.nll_loss(F.log_softmax(z, dim=1), y), F.cross_entropy(z, y)
print(f"\ntargets y = {y.tolist()}              softonce   torch")
print(f"nll_loss(log_softmax(z, dim=1), y)   {composed:.4f}     {torchs_composed:.4f}")
print(f"cross_entropy(z, y)                  {loss:.4f}     {torchs:.4f}")
assert_close([composed, torchs_composed, torchs], [loss, loss, loss])

by_module = gradient(lambda leaf: CrossEntropyLoss()(leaf, y))
by_function = gradient(lambda leaf: cross_entropy(leaf, y))
print(f"\ngradient of CrossEntropyLoss()(z, y), and of cross_entropy(z, y)\n{by_function}")
assert torch.equal(by_module, by_function)
assert_close(by_function, gradient(lambda leaf: F.cross_entropy(leaf, y)))
assert_close(by_function, (softmax(z, dim=1) - F.one_hot(y, 5)) / 3)

twice = cross_entropy(softmax(z, dim=1), y)  # noqa: SO101  the mistake that is shown here
by_twice = gradient(lambda leaf: cross_entropy(softmax(leaf, dim=1), y))  # noqa: SO101  the same
best = cross_entropy(F.one_hot(y, 5).float(), y)  # the surest softmax there is, put in once more
shrunk = by_twice.norm() / by_function.norm()
print(f"\na second softmax: loss {twice:.4f} instead of {loss:.4f}, gradient {shrunk:.2f} as long,")
print(f"and the loss can never fall below ln(1 + (C-1)/e) = {double_softmax_floor(5):.4f}")
assert_close(twice, F.cross_entropy(F.softmax(z, dim=1), y))  # noqa: SO101  the same
assert_close(best.item(), double_softmax_floor(5), rtol=1e-6, atol=0)
assert shrunk < 0.5
