"""Image classifiers whose softmax happens exactly once.

A network ends in a Linear layer and gives logits; the softmax happens once: inside the loss during
training, and on the logits at prediction time. Every name is imported when it is first used, so
`import softonce` loads no torch.
"""

import lazy_loader

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
