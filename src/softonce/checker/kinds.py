"""The lattice of score kinds, and what every operation does to a kind: data, with small readers.

A `Kind` is a set of possibilities: 0 is "nothing yet", `|` joins, and `OTHER` among the bits means
that nothing may be reported. `ROWS` says what one operation makes of each single kind, `PAIRS` what
an operation makes of two tensors, `SINKS` which rule is broken by which kind at which loss.
Operations have one canonical name, which `names` finds. The tests prove each row by running torch
on random tensors.
"""

from __future__ import annotations

from enum import Enum, IntFlag
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Kind(IntFlag):
    """What a tensor of scores holds; a value of several bits is one of them, unknown which.

    Example:
        >>> (Kind.P | Kind.LOGITS) & Kind.P
        <Kind.P: 16>
    """

    LOGITS = 1
    """Raw scores: what an affine layer puts out."""
    NONNEG = 2
    """At least 0, as after ReLU."""
    BOUNDED = 4
    """Within [-1, 1], as after tanh."""
    LOGP = 8
    """Log-probabilities over one axis: their logsumexp is 0."""
    P = 16
    """Probabilities over one axis: within [0, 1], and they sum to 1."""
    BLOGP = 32
    """Logarithms of Bernoulli probabilities: at most 0."""
    BP = 64
    """Bernoulli probabilities: each within [0, 1]."""
    ONEHOT = 128
    """A single 1 among zeros along one axis."""
    HARD = 256
    """Decisions: what a comparison or a rounding leaves."""
    INDEX = 512
    """Class indices."""
    LSE = 1024
    """The logarithm of a sum of exponentials."""
    OTHER = 2048
    """Anything else: unknown."""


NOTHING = Kind(0)
EPSILON = 1e-3
"""What is added against log(0) or division by 0 is no larger; what is larger is an offset."""


class Axis(Enum):
    """What an operation does with the axis that the classes lie on."""

    SAME = "same"
    """Elementwise: it stays where it is."""
    MAKES = "makes"
    """The operation's own `dim` is the axis from now on."""
    REDUCES = "reduces"
    """The operation's `dim` goes: `along` holds if that is the axis of the classes."""
    INDEXES = "indexes"
    """Some entries of `dim` are taken: `along` holds if that is the axis of the classes."""
    MOVES = "moves"
    """Axes are renumbered: `permute`, `view`, `unsqueeze`, ..."""


class Row(NamedTuple):
    """What one operation makes of each kind.

    `out` maps a single kind to what comes out; kinds that it does not name become `rest`. `along`
    takes the place of `out` if the operation reduces or indexes the axis of the classes.
    """

    out: Mapping[Kind, Kind]
    rest: Kind = Kind.OTHER
    axis: Axis = Axis.SAME
    along: Mapping[Kind, Kind] | None = None


def _keep(*kinds: Kind) -> dict[Kind, Kind]:
    return {kind: kind for kind in kinds}


_K = Kind
_ALL = _keep(*Kind)
_RANGES = _keep(_K.LOGITS, _K.NONNEG, _K.BOUNDED, _K.BP)
_PARTS = {**_ALL, _K.P: _K.BP, _K.LOGP: _K.BLOGP, _K.ONEHOT: _K.HARD}
_ZERO_OR_MORE = {**_keep(_K.NONNEG, _K.BP, _K.P, _K.ONEHOT, _K.HARD, _K.INDEX)}
_DECIDED = _keep(_K.ONEHOT, _K.HARD, _K.INDEX)

_AFFINE = Row({}, _K.LOGITS)
# Decisions may be below 0: whole numbers, as a cast cuts them.
_RAW = Row({**_ZERO_OR_MORE, _K.LOGITS: _K.LOGITS, _K.HARD: _K.OTHER})
_POSITIVE = Row(_ZERO_OR_MORE, _K.NONNEG)
_CENTRED = Row({}, _K.BOUNDED)
_IDENTITY = Row(_ALL)
_MOVE = Row(_ALL, axis=Axis.MOVES)
_TAKE = Row(_ALL, axis=Axis.INDEXES, along=_PARTS)
_VALUES = Row(_PARTS, axis=Axis.INDEXES, along=_PARTS)
_COMPARE = Row({}, _K.HARD)
_ARGUMENT = Row({}, _K.INDEX, Axis.REDUCES)
_SCALE = Row(_keep(_K.LOGITS))
_SMALL_POOL = Row({**_RANGES, _K.P: _K.BP})

ROWS: Mapping[str, Row] = {
    # What makes raw scores of anything.
    **dict.fromkeys(("linear", "bilinear", "conv1d", "conv2d", "conv3d"), _AFFINE),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _AFFINE),
    **dict.fromkeys(("batch_norm", "layer_norm", "group_norm", "instance_norm"), _AFFINE),
    # What normalises.
    "softmax": Row({}, _K.P, Axis.MAKES),
    "softmin": Row({}, _K.P, Axis.MAKES),
    "log_softmax": Row({}, _K.LOGP, Axis.MAKES),
    "gumbel_softmax": Row({}, _K.P, Axis.MAKES),
    "sigmoid": Row({}, _K.BP),
    "hardsigmoid": Row({}, _K.BP),
    "logsigmoid": Row({}, _K.BLOGP),
    "logsumexp": Row({}, _K.LSE, Axis.REDUCES),
    "one_hot": Row({}, _K.ONEHOT),
    # Activations.
    **dict.fromkeys(("relu", "relu6", "abs"), _POSITIVE),
    **dict.fromkeys(("softplus", "square"), Row({}, _K.NONNEG)),
    **dict.fromkeys(("tanh", "softsign", "hardtanh"), _CENTRED),
    **dict.fromkeys(("elu", "celu", "leaky_relu", "prelu", "rrelu"), _RAW),
    **dict.fromkeys(("selu", "gelu", "silu", "mish", "hardswish"), _SCALE),
    # What changes no value.
    **dict.fromkeys(("detach", "clone", "contiguous", "to", "cpu", "cuda", "data"), _IDENTITY),
    **dict.fromkeys(("float", "half", "double", "bfloat16", "type", "type_as"), _IDENTITY),
    **dict.fromkeys(("requires_grad_", "identity", "nan_to_num"), _IDENTITY),
    **dict.fromkeys(("numpy", "tensor", "as_tensor", "from_numpy"), _IDENTITY),
    "dropout": Row({**_keep(_K.LOGITS, _K.NONNEG), _K.P: _K.NONNEG, _K.BP: _K.NONNEG}),
    "masked_fill": Row(_keep(_K.LOGITS)),
    "clamp": Row({**_keep(_K.P, _K.BP)}),
    "clamp_min": Row({**_keep(_K.P, _K.BP)}, _K.OTHER),
    # Shapes.
    **dict.fromkeys(("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze"), _MOVE),
    **dict.fromkeys(("transpose", "permute", "t", "T", "mT", "movedim"), _MOVE),
    **dict.fromkeys(("expand", "expand_as", "view_as", "reshape_as", "flip", "roll"), _MOVE),
    "stack": _MOVE,
    # Parts.
    **dict.fromkeys(("select", "narrow", "index_select", "getitem", "split", "chunk"), _TAKE),
    **dict.fromkeys(("unbind", "cat"), _TAKE),
    **dict.fromkeys(("gather", "take_along_dim", "masked_select", "topk", "sort"), _VALUES),
    **dict.fromkeys(("max", "min", "amax", "amin"), _VALUES),
    # Averages and pools.
    "mean": Row(
        {**_RANGES, _K.P: _K.P, _K.ONEHOT: _K.P},
        axis=Axis.REDUCES,
        along={**_RANGES, _K.P: _K.BP},
    ),
    "sum": Row(_keep(_K.LOGITS, _K.NONNEG), axis=Axis.REDUCES),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d"), _SMALL_POOL),
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d"), _SMALL_POOL),
    "interpolate": Row({**_RANGES, _K.P: _K.P}),
    # Arithmetic with a number.
    "log": Row({_K.P: _K.LOGP, _K.BP: _K.BLOGP}),
    "exp": Row({_K.LOGP: _K.P, _K.BLOGP: _K.BP}),
    "logit": Row({_K.P: _K.LOGITS, _K.BP: _K.LOGITS}),
    "neg": _SCALE,
    **dict.fromkeys(("add_number", "mul_number", "div_number"), _SCALE),
    "add_epsilon": Row(_keep(_K.LOGITS, _K.P, _K.BP)),
    "one_minus": Row({_K.BP: _K.BP, _K.P: _K.BP, _K.HARD: _K.HARD, _K.ONEHOT: _K.HARD}),
    # Decisions.
    **dict.fromkeys(("gt", "ge", "lt", "le", "eq", "ne", "round"), _COMPARE),
    **dict.fromkeys(("argmax", "argmin"), _ARGUMENT),
    **dict.fromkeys(("long", "int"), Row(_DECIDED, _K.HARD)),
}

METHODS = frozenset(
    {
        "softmax", "log_softmax", "sigmoid", "logsumexp", "relu", "tanh", "abs", "square", "round",
        "gt", "ge", "lt", "le", "eq", "ne", "argmax", "argmin", "long", "int",
    }
)  # fmt: skip
"""The methods of tensors that make something known of anything, whatever `x` is in `x.square()`.

Source has to be told which these are, as it reads no torch: a row such as `linear` or `softplus`
is a function only, and `self.linear(x)` is whatever somebody has called so.
"""

SPOILT = frozenset({"softmax", "softmin", "log_softmax", "log", "cross_entropy"})
"""What reads probabilities that were divided by a temperature as if they still were some."""

# (operation, left, right) -> what comes out; other pairs make OTHER.
PAIRS: Mapping[tuple[str, Kind, Kind], Kind] = {
    ("add", _K.LOGITS, _K.LOGITS): _K.LOGITS,
    ("add", _K.NONNEG, _K.NONNEG): _K.NONNEG,
    ("add", _K.BLOGP, _K.BLOGP): _K.BLOGP,
    ("sub", _K.LOGITS, _K.LOGITS): _K.LOGITS,
    ("sub", _K.LOGITS, _K.LSE): _K.LOGP,
    ("mul", _K.NONNEG, _K.NONNEG): _K.NONNEG,
    ("mul", _K.BP, _K.BP): _K.BP,
    ("matmul", _K.P, _K.ONEHOT): _K.P,
}
# Operations whose result is one of their arguments, entry by entry.
JOINS = frozenset({"where", "cat", "stack", "maximum", "minimum"})


class Sink(NamedTuple):
    """An argument of a loss: the rule that each kind breaks there; a kind without a rule is right.

    `position` counts the arguments of the function; the module's call has the same order.
    """

    argument: str
    position: int
    broken_by: Mapping[Kind, str]


_NO_GRADIENT = dict.fromkeys((_K.HARD, _K.ONEHOT, _K.INDEX), "SO109")
_RAW_SCORES = (_K.LOGITS, _K.NONNEG, _K.BOUNDED)
_CROSS_ENTROPY = {
    **_NO_GRADIENT,
    _K.P: "SO101",
    _K.BP: "SO106",
    _K.NONNEG: "SO201",
    _K.BOUNDED: "SO201",
    _K.LOGP: "SO302",
}
_NLL = {**_NO_GRADIENT, _K.P: "SO102", _K.BP: "SO102", **dict.fromkeys(_RAW_SCORES, "SO103")}
_BCE = {**_NO_GRADIENT, **dict.fromkeys((*_RAW_SCORES, _K.LOGP, _K.BLOGP), "SO105")}
_BCE_LOGITS = {**_NO_GRADIENT, _K.BP: "SO104", _K.P: "SO104"}
_KL = {**_NO_GRADIENT, **dict.fromkeys((_K.P, _K.BP, *_RAW_SCORES), "SO107")}

SINKS: Mapping[str, Sink] = {
    "cross_entropy": Sink("input", 0, _CROSS_ENTROPY),
    "linear_cross_entropy": Sink("input", 0, {}),
    "sharded_linear_cross_entropy": Sink("features", 0, {}),
    "nll_loss": Sink("input", 0, _NLL),
    "ctc_loss": Sink("log_probs", 0, _NLL),
    "binary_cross_entropy": Sink("input", 0, _BCE),
    "binary_cross_entropy_with_logits": Sink("input", 0, _BCE_LOGITS),
    "sigmoid_focal_loss": Sink("inputs", 0, _BCE_LOGITS),
    "multilabel_soft_margin_loss": Sink("input", 0, _BCE_LOGITS),
    "kl_div": Sink("input", 0, _KL),
}
# The target of kl_div: (log_target, kind) -> rule.
KL_TARGET_RULES: Mapping[tuple[bool, Kind], str] = {
    (False, _K.LOGP): "SO108",
    (False, _K.BLOGP): "SO108",
    (True, _K.P): "SO108",
    (True, _K.BP): "SO108",
}


def bits(kind: Kind) -> Iterator[Kind]:
    """Yield the single kinds of a mask.

    Example:
        >>> list(bits(Kind.LOGITS | Kind.P))
        [<Kind.LOGITS: 1>, <Kind.P: 16>]
    """
    return iter(kind)


def transfer(name: str, kind: Kind, *, along: bool = False) -> Kind:
    """Return what the operation makes of the kind; an operation without a row makes OTHER.

    Args:
        name: the canonical name.
        kind: any mask; the result is the join over its bits.
        along: whether the operation reduces or indexes the axis of the classes.

    Example:
        >>> transfer("log", Kind.P), transfer("gather", Kind.P, along=True)
        (<Kind.LOGP: 8>, <Kind.BP: 64>)
    """
    row = ROWS.get(name)
    if row is None:
        return Kind.OTHER
    reads = row.along if along and row.along is not None else row.out
    result = NOTHING
    for bit in kind:
        result |= reads.get(bit, row.rest)
    return result


def transfer_pair(name: str, left: Kind, right: Kind) -> Kind:
    """Return what an operation makes of two tensors.

    Example:
        >>> transfer_pair("sub", Kind.LOGITS, Kind.LSE)
        <Kind.LOGP: 8>
    """
    result = NOTHING
    for a in left:
        for b in right:
            result |= PAIRS.get((name, a, b), Kind.OTHER)
    return result


def overwritten(whole: Kind, part: Kind) -> Kind:
    """Return what a tensor holds once some entries are of another one: a range that holds both.

    Example:
        >>> overwritten(Kind.P, Kind.BP), overwritten(Kind.P, Kind.LOGITS)
        (<Kind.BP: 64>, <Kind.OTHER: 2048>)
    """
    both = whole | part
    if both == Kind.LOGITS:
        return Kind.LOGITS
    return Kind.OTHER if both & ~(Kind.P | Kind.BP) else Kind.BP


def keeps_values(op: str) -> bool:
    """Return whether every value that comes out went in.

    Example:
        >>> keeps_values("view"), keeps_values("where"), keeps_values("mean"), keeps_values("add")
        (True, True, False, False)
    """
    row = ROWS.get(op)
    if row is None:
        return op in JOINS
    copies = row.axis is Axis.SAME and row.out == ROWS["detach"].out
    return copies or row.axis in (Axis.MOVES, Axis.INDEXES)


def keeps_direct(op: str) -> bool:
    """Return whether scores of a kind that stays are still what their maker put out.

    A second ReLU and dropout leave what a loss is told about the first as true as it was. An
    average does not: published networks end in one. Bounds and epsilons are put there on purpose.

    Example:
        >>> keeps_direct("view"), keeps_direct("relu"), keeps_direct("avg_pool2d")
        (True, True, False)
    """
    return keeps_values(op) or op in _SAME_AGAIN


_SAME_AGAIN = frozenset({"relu", "relu6", "abs", "dropout"})


def broken_rules(loss: str, kind: Kind) -> dict[str, Kind]:
    """Return rule -> the bits of `kind` that break it at the loss's input; {} if OTHER is in.

    Example:
        >>> broken_rules("cross_entropy", Kind.P | Kind.LOGITS)
        {'SO101': <Kind.P: 16>}
    """
    sink = SINKS.get(loss)
    if sink is None or Kind.OTHER in kind:
        return {}
    broken: dict[str, Kind] = {}
    for bit in kind:
        code = sink.broken_by.get(bit)
        if code is not None:
            broken[code] = broken.get(code, NOTHING) | bit
    return broken
