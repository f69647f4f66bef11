"""Other libraries: their classifiers put out raw scores, their trainers pair model and loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from softonce.checker.kinds import Kind
from softonce.checker.static import attributes, jax, keras
from softonce.checker.static.lattice import int_of, options_of
from softonce.checker.static.objects import Class, Instance
from softonce.checker.static.operations import apply, maker_of
from softonce.checker.static.values import (
    UNKNOWN,
    Backbone,
    Chain,
    Const,
    External,
    Layer,
    Mapping,
    Scores,
    Sequence,
    Value,
)

if TYPE_CHECKING:
    import ast

    from softonce.checker.static.context import Run
    from softonce.checker.static.frame import Frame

Args = list[Value]
Kwargs = dict[str, Value]

# Losses of other libraries that behave like one of torch's.
LOSSES = {
    "timm.loss.LabelSmoothingCrossEntropy": "cross_entropy",
    "timm.loss.SoftTargetCrossEntropy": "cross_entropy",
    "timm.loss.BinaryCrossEntropy": "binary_cross_entropy_with_logits",
    "CrossEntropyLossFlat": "cross_entropy",
    "LabelSmoothingCrossEntropyFlat": "cross_entropy",
    "BCEWithLogitsLossFlat": "binary_cross_entropy_with_logits",
    "BCELossFlat": "binary_cross_entropy",
}
# Callable -> (position and name of the model, position and name of the loss, loss by default).
TRAINERS: dict[str, tuple[int, str, int, str, str]] = {
    "ignite.engine.create_supervised_trainer": (0, "model", 2, "loss_fn", ""),
    "Learner": (1, "model", 2, "loss_func", ""),
    "skorch.NeuralNet": (0, "module", 1, "criterion", ""),
    "skorch.NeuralNetClassifier": (0, "module", 1, "criterion", "skorch_nll"),
    "skorch.NeuralNetBinaryClassifier": (
        0, "module", 1, "criterion", "binary_cross_entropy_with_logits",
    ),
    "poutyne.Model": (0, "network", 2, "loss_function", ""),
    "torchbearer.Trial": (0, "model", 2, "criterion", ""),
}  # fmt: skip
# What a class derived from a trainer defines if it does not pair model and loss as its base does.
_OWN_STEPS = ("__init__", "get_loss", "train_step", "train_step_single")
_NAMED_LOSSES = {
    "cross_entropy": "cross_entropy",
    "nll_loss": "nll_loss",
    "nll": "nll_loss",
    "bce": "binary_cross_entropy",
    "bce_with_logits": "binary_cross_entropy_with_logits",
}
# Calls that give back what they take, wrapped: `accelerator.prepare(model, optimizer, loader)`.
PREPARERS = frozenset({"prepare", "initialize", "setup"})
_NO_CLASSIFIERS = ("detection", "video", "optical_flow", "feature_extraction")


def call_library(
    run: Run, frame: Frame, name: str, args: Args, kwargs: Kwargs, node: ast.expr
) -> Value:
    """Return what a call of another library than torch gives; unknown for most."""
    home, _, last = name.rpartition(".")
    known = classifier(frame, name, args, kwargs, node)
    if known is not None:
        return known
    loss = LOSSES.get(name) or LOSSES.get(last) if home else None
    if loss:
        return Layer(loss, dict(kwargs), maker_of(frame, node, loss))
    trainer = trainer_of(name)
    if trainer is not None:
        _pair_trainer(run, frame, trainer, args, kwargs, node)
        return UNKNOWN
    if jax.is_jax(name):
        return jax.call_jax(run, frame, name, args, kwargs, node)
    if keras.is_keras(name):
        return keras.call_keras(run, frame, name, args, kwargs, node)
    holds_scores = any(isinstance(v, Scores) and v.kind != Kind.OTHER for v in kwargs.values())
    if last.endswith("Output") and holds_scores:
        return Mapping(dict(kwargs), exact=False)
    return UNKNOWN


def classifier(frame: Frame, name: str, args: Args, kwargs: Kwargs, node: ast.expr) -> Value | None:
    """Return a classifier that puts out raw scores, if the name is one's constructor."""
    if name.startswith("segmentation_models_pytorch.") and name.rpartition(".")[2][:1].isupper():
        return _segmenter(frame, kwargs, node)
    output = _output_of(name, args, kwargs)
    classes = int_of(kwargs.get("num_classes"))
    return (
        Backbone(maker_of(frame, node, "backbone"), Chain([]), output, classes) if output else None
    )


def _output_of(name: str, args: Args, kwargs: Kwargs) -> str:
    """Return in what a classifier hands out its scores; "" if the name makes no classifier."""
    home, _, last = name.rpartition(".")
    if home.startswith("torchvision.models") and last[:1].islower():
        if any(part in name for part in _NO_CLASSIFIERS):
            return ""
        return "segmentation" if "segmentation" in home else "tensor"
    if last in ("from_pretrained", "from_config") and home.startswith("transformers."):
        return "mapping" if "Classification" in home else ""
    if name == "torch.hub.load":
        source = args[0].value if args and isinstance(args[0], Const) else ""
        return "tensor" if str(source).startswith("pytorch/vision") else ""
    if name == "timm.create_model":
        is_headless = int_of(kwargs.get("num_classes")) == 0 or "features_only" in kwargs
        return "" if is_headless else "tensor"
    is_efficient = home.endswith("EfficientNet") and last in ("from_pretrained", "from_name")
    return "tensor" if is_efficient else ""


def prepared(args: Args, kwargs: Kwargs) -> Value | None:
    """Return what a call that wraps networks for training gives; None if it is given none."""
    given = [arg for arg in args if not isinstance(arg, Const)]
    if not args and "model" in kwargs:  # deepspeed: engine, optimizer, loader, scheduler
        given = [kwargs["model"], UNKNOWN, UNKNOWN, UNKNOWN]
    if not any(isinstance(each, (Instance, Chain, Backbone)) for each in given):
        return None
    return given[0] if len(given) == 1 else Sequence(given)


def _segmenter(frame: Frame, kwargs: Kwargs, node: ast.expr) -> Value:
    """Return a network of segmentation_models_pytorch, which ends in the activation it is given."""
    given = kwargs.get("activation", Const(None))
    if not isinstance(given, Const):
        return UNKNOWN
    ops = {None: "identity", "identity": "identity", "sigmoid": "sigmoid"}
    op = ops.get(given.value, "softmax" if str(given.value).startswith("softmax") else "")
    if not op:
        return UNKNOWN
    last = Layer(op, {"dim": Const(1)}, maker_of(frame, node, op))
    return Backbone(
        maker_of(frame, node, "backbone"), Chain([last]), "image", int_of(kwargs.get("classes"))
    )


def _pair_trainer(
    run: Run,
    frame: Frame,
    trainer: tuple[int, str, int, str, str],
    args: Args,
    kwargs: Kwargs,
    node: ast.expr,
) -> None:
    model_at, model_name, loss_at, loss_name, default = trainer
    model = kwargs.get(model_name, args[model_at] if len(args) > model_at else UNKNOWN)
    loss = kwargs.get(loss_name, args[loss_at] if len(args) > loss_at else None)
    is_nll = isinstance(loss, External) and loss.name.endswith(".NLLLoss")
    if default == "skorch_nll" and (loss is None or is_nll):
        # skorch takes the logarithm itself for NLLLoss, so probabilities are right there.
        return
    pair(run, frame, model, loss if loss is not None else default, node)


def pair_subclass(
    run: Run,
    frame: Frame,
    cls: Class,
    trainer: Value,
    args: Args,
    kwargs: Kwargs,
    node: ast.expr,
) -> None:
    """Pair model and loss as a trainer does whose class the project has derived from a library's.

    One with a constructor of its own passes both on to `super().__init__`, where they are paired.
    """
    for base in cls.external_bases():
        known = trainer_of(base)
        if known is not None and not any(map(cls.find, _OWN_STEPS)):
            _pair_trainer(run, frame, known, args, {**cls.scope, **kwargs}, node)
        is_hf = base.startswith("transformers.") and base.endswith("Trainer")
        if is_hf and cls.find("compute_loss") is not None:
            model = kwargs.get("model", args[0] if args else UNKNOWN)
            method = attributes.attribute(run, frame, trainer, "compute_loss", node)
            run.call(frame, method, [model, UNKNOWN], {}, node)


def trainer_of(name: str) -> tuple[int, str, int, str, str] | None:
    """Return where a trainer takes its model and its loss, by its dotted name."""
    last = name.rpartition(".")[2]
    if name.startswith("skorch."):
        return TRAINERS.get(f"skorch.{last}")
    return TRAINERS.get(name) or (TRAINERS.get(last) if "fastai" in name else None)


def pair(run: Run, frame: Frame, model: Value, loss: Value | str, node: ast.expr) -> None:
    """Feed the output of a model to a loss, as a trainer of a library does."""
    anything: Kwargs = {"**": UNKNOWN}
    if isinstance(loss, Const):
        loss = _NAMED_LOSSES.get(str(loss.value), "")
    for each in options_of(model):
        built = run.call(frame, each, [], anything, node) if isinstance(each, Class) else each
        output = run.call(frame, built, [UNKNOWN], {}, node)
        if isinstance(loss, str):
            if loss:
                apply(run, frame, loss, [output, UNKNOWN], {}, node)
            continue
        made = loss
        if isinstance(loss, (External, Class)) and _is_class(loss):
            made = run.call(frame, loss, [], {}, node)
        run.call(frame, made, [output, UNKNOWN], {}, node)


def _is_class(loss: External | Class) -> bool:
    name = loss.name.rpartition(".")[2]
    return isinstance(loss, Class) or name[:1].isupper()


def call_fit(
    run: Run, frame: Frame, model: Value, args: Args, kwargs: Kwargs, node: ast.expr
) -> Value:
    """Run `model.compile(...)` of Keras; torch's own `compile` takes no loss."""
    loss = kwargs.get("loss", args[1] if len(args) > 1 else None)
    if loss is not None:
        keras.compile_model(run, frame, model, loss, node)
    return UNKNOWN
