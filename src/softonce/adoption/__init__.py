"""A model file of another program becomes a classifier of ours: logits, one softmax, its own words.

`head` finds where the graph normalises, `entrance` how pictures go in, `scaling` how their pixels
are scaled; `onnx_model` and `openvino_model` run the graph and write it anew; `run` is the verb.
The graph is data: `bounds` looks at what it declares before anything is allocated.
"""

from softonce.adoption.run import Adopted as Adopted
from softonce.adoption.run import adopt as adopt
