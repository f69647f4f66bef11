"""A model file becomes something that answers uint8 pixels with logits, with or without torch.

`networks` makes torch networks of artefacts and weights; `open_engine` makes an engine of any file.
"""

from softonce.engines.engine import Engine as Engine
from softonce.engines.engine import Flipped as Flipped
from softonce.engines.opening import open_as_asked as open_as_asked
from softonce.engines.opening import open_engine as open_engine
