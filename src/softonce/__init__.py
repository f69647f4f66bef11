"""Image classifiers whose softmax happens exactly once.

A network ends in a Linear layer and gives logits; the softmax happens once: inside the loss while
it trains, and at the door when it predicts. Every name below is imported when it is first used, so
`import softonce` loads no torch.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
