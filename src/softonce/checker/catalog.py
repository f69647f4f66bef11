"""The rules, as data: adding one is an entry here and a case file beside the tests."""

from __future__ import annotations

from softonce.checker.rule import Rule, Severity
from softonce.errors import UnknownNameError
from softonce.floors import double_softmax_floor

_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE

_ALL = (
    Rule(
        "SO000",
        "unread-file",
        _N,
        "a file could not be read or parsed",
        "not checked: {reason}",
        "A file that is not valid Python 3, or cannot be read, hides whatever is wrong in it.",
        "Fix the file, or exclude it.",
    ),
    Rule(
        "SO101",
        "double-softmax",
        _E,
        "probabilities reach cross_entropy, which applies softmax itself",
        "{loss} already applies softmax; its input went through {op} at {made}.{floor}",
        "A row of probabilities lies in [0, 1], so the softmax inside the loss sees gaps of at most"
        " 1: the loss cannot go below ln(1 + (C - 1) / e) (0.313 for 2 classes, 1.461 for 10, 5.909"
        " for 1000), varies by at most 1 nat, and its gradient at a uniform output is C times"
        " smaller. Accuracy hides it: argmax is the same.",
        "Return the raw scores from the network; apply softmax once, where probabilities are read.",
    ),
    Rule(
        "SO102",
        "probs-to-nll",
        _E,
        "probabilities reach nll_loss, which expects their logarithms",
        "{loss} expects log-probabilities; its input went through {op} at {made}, so the loss lies"
        " in [-1, 0] and hardly punishes a confident mistake.",
        "nll_loss only picks one entry and negates it. On probabilities that is -p, in [-1, 0],"
        " with a gradient of -1/N on that entry, however wrong the row is.",
        "Use log_softmax instead of softmax, or cross_entropy on the raw scores.",
    ),
    Rule(
        "SO103",
        "logits-to-nll",
        _E,
        "raw scores reach nll_loss, which expects log-probabilities",
        "{loss} expects log-probabilities, but its input is the raw output of {op} at {made}:"
        " it is not normalised, so the loss can fall without bound.",
        "nll_loss only picks one entry and negates it: raising one raw score lowers the loss"
        " without bound.",
        "Use cross_entropy, or put log_softmax before the loss.",
    ),
    Rule(
        "SO104",
        "double-sigmoid",
        _E,
        "the output of a sigmoid reaches a loss that applies sigmoid itself",
        "{loss} already applies sigmoid; its input went through {op} at {made}, so the result lies"
        " in [0.5, 0.731].",
        "sigmoid maps [0, 1] to [0.5, 0.731]: the loss cannot go below 0.313 for a positive and"
        " 0.693 for a negative.",
        "Drop the sigmoid, or use binary_cross_entropy on its output.",
    ),
    Rule(
        "SO105",
        "logits-to-bce",
        _E,
        "raw scores reach binary_cross_entropy, which expects probabilities",
        "{loss} expects probabilities, but its input is the output of {op} at {made}.",
        "binary_cross_entropy takes the logarithms of x and 1 - x. Outside [0, 1] torch raises an"
        " error, which a clamp would only hide.",
        "Use binary_cross_entropy_with_logits.",
    ),
    Rule(
        "SO106",
        "sigmoid-to-ce",
        _E,
        "the output of a sigmoid reaches cross_entropy",
        "{loss} expects raw scores; {op} at {made} squeezes them into [0, 1].{floor}",
        "With scores in [0, 1] the softmax of the loss cannot give a class more than"
        " e / (e + C - 1): 0.232 for 10 classes.",
        "Return the raw scores from the network.",
    ),
    Rule(
        "SO107",
        "kl-input",
        _E,
        "the first argument of kl_div is not in log space",
        "{loss} expects log-probabilities as its first argument, but gets the output of {op} at"
        " {made}.",
        "kl_div computes target * (log target - input): if the input is not log-probabilities,"
        " that is not a divergence and can be negative.",
        "Pass log_softmax of the scores.",
    ),
    Rule(
        "SO108",
        "kl-target",
        _E,
        "the target of kl_div contradicts log_target",
        "the target of {loss} is the output of {op} at {made}, which contradicts"
        " log_target={log_target}.",
        "kl_div takes the target's logarithm itself unless log_target=True.",
        "Pass log_target=True for log-probabilities; leave it out for probabilities.",
    ),
    Rule(
        "SO109",
        "hard-preds-to-loss",
        _E,
        "decisions instead of scores reach a loss",
        "{loss} gets hard decisions: {op} at {made} has no gradient.",
        "argmax, comparisons and rounding are constant almost everywhere, so no gradient flows.",
        "Pass the scores; decide after the loss.",
    ),
    Rule(
        "SO110",
        "one-class-softmax",
        _E,
        "softmax over one class",
        "{loss} gets one score per row (from {made}): the softmax of a single class is 1, whatever"
        " its score.{floor}",
        "exp(x) / exp(x) = 1, whatever x is.",
        "Use binary_cross_entropy_with_logits on the one score, or two outputs.",
    ),
    Rule(
        "SO201",
        "relu-before-loss",
        _W,
        "the scores are clipped or bounded before the loss",
        "{loss} gets the output of {op} at {made}, which clips or bounds the scores.",
        "ReLU passes no gradient to scores below 0; tanh keeps the scores within [-1, 1], so no"
        " class gets more than e^2 / (e^2 + C - 1).",
        "Pass the output of the last linear layer as it is.",
    ),
    Rule(
        "SO202",
        "softmax-of-probs",
        _W,
        "softmax or sigmoid is applied to probabilities",
        "{loss} is applied to the output of {op} at {made}: the second flattens the first.",
        "The softmax of a one-hot row of 10 classes gives the best class only 0.232.",
        "Apply it once.",
    ),
    Rule(
        "SO203",
        "wrong-dim",
        _W,
        "softmax over the batch instead of the classes",
        "{op} over dim={dim} normalises over the batch: the classes are on dim 1.",
        "Each column then sums to 1 over the batch, so that a row depends on its neighbours, and a"
        " batch of one is 1 everywhere.",
        "Use dim=1 or dim=-1.",
    ),
    Rule(
        "SO204",
        "log-of-softmax",
        _W,
        "log of softmax instead of log_softmax",
        "the logarithm of {op} at {made} becomes -inf for scores that log_softmax can handle.",
        "In float32 softmax is exactly 0 for scores 104 below the largest; its logarithm is -inf"
        " and its gradient NaN.",
        "Use log_softmax, which is the same value, computed stably.",
    ),
    Rule(
        "SO205",
        "threshold-on-logits",
        _W,
        "a threshold for probabilities is applied to raw scores",
        "raw scores (from {op} at {made}) are compared with {threshold}, which for a logit"
        " means p > {probability}.",
        "sigmoid(0.5) = 0.622; a probability of 0.5 is a score of 0.",
        "Compare with 0, or apply sigmoid first.",
    ),
    Rule(
        "SO206",
        "temperature-after-softmax",
        _W,
        "probabilities are divided by a temperature",
        "probabilities (from {op} at {made}) are divided by a temperature; it belongs before the"
        " softmax.",
        "softmax(x / T) is a distribution; softmax(x) / T sums to 1 / T.",
        "Divide the raw scores.",
    ),
    Rule(
        "SO207",
        "eval-double-softmax",
        _E,
        "in eval mode the network returns probabilities, and the validation loss applies softmax",
        "{loss} already applies softmax; in eval mode its input went through {op} at"
        " {made}.{floor}",
        "The training loss is right and the validation loss is not: it cannot go below"
        " ln(1 + (C - 1) / e), and the two cannot be compared.",
        "Return raw scores in both modes; apply softmax where predictions are read.",
    ),
    Rule(
        "SO208",
        "inference-activation",
        _W,
        "a network trained with softmax is read through a sigmoid",
        "the network is trained with cross_entropy (at {trained}), but its output goes through"
        " {loss} here.",
        "A sigmoid treats each score on its own, so the rows do not sum to 1.",
        "Use softmax over the classes.",
    ),
    Rule(
        "SO301",
        "implicit-dim",
        _W,
        "softmax without dim",
        "{op} without dim: torch guesses (0 for one or three axes, 1 for others), which is"
        " deprecated.",
        "The guess depends on the number of axes: the same line normalises over the classes of an"
        " (N, C) tensor and over the batch of an (N, C, L) one.",
        "Write dim=1 or dim=-1.",
    ),
    Rule(
        "SO302",
        "redundant-log-softmax",
        _N,
        "log-probabilities reach cross_entropy",
        "{loss} applies log_softmax itself; {op} at {made} is harmless and redundant.",
        "log_softmax of log-probabilities is the identity: the loss is right, computed twice.",
        "Use nll_loss, or drop the log_softmax.",
    ),
    Rule(
        "SO303",
        "softmax-before-argmax",
        _N,
        "softmax is computed only for argmax",
        "argmax of {op} at {made} equals argmax of the scores.",
        "softmax preserves the order of the scores.",
        "Take argmax of the scores.",
        default=False,
    ),
    Rule(
        "SO304",
        "kl-reduction",
        _N,
        "kl_div with reduction='mean'",
        "{loss} with its default reduction divides by the number of entries, not of rows.",
        "The divergence of a row is a sum over classes; the mean over entries is C times smaller.",
        "Pass reduction='batchmean'.",
    ),
    Rule(
        "SO305",
        "misleading-name",
        _N,
        "a name says logits or probs and holds the other",
        "{name!r} holds the output of {op} at {made}.",
        "About half of the variables called logits that reach nll_loss in public code hold"
        " log-probabilities or probabilities.",
        "Rename it.",
        default=False,
    ),
    Rule(
        "SO306",
        "softmax-outside-address",
        _E,
        "class scores are normalised outside the configured files",
        "{op} on class scores belongs in {addresses}.",
        "A code base that keeps the softmax in one place does not apply it twice.",
        "Call the function that lives there.",
        default=False,
    ),
    Rule(
        "SO401",
        "keras-softmax-from-logits",
        _E,
        "keras: a softmax or sigmoid output reaches a loss that expects logits",
        "{loss} applies the activation itself; the last layer has {op} at {made}.{floor}",
        "The loss applies softmax to probabilities; Keras repairs this silently on the TensorFlow"
        " backend only, and only if the two stand side by side.",
        "Drop the activation, or from_logits=True.",
    ),
    Rule(
        "SO402",
        "keras-logits-as-probs",
        _E,
        "keras: a linear output with from_logits=False",
        "{loss} expects probabilities (from_logits is False); the last layer at {made} is linear.",
        "Keras clips the scores to [1e-7, 1 - 1e-7] before the logarithm: most gradients are 0.",
        "Pass from_logits=True, or give the last layer its activation.",
    ),
    Rule(
        "SO403",
        "keras-one-class-softmax",
        _E,
        "keras: softmax over one unit",
        "a softmax layer with one unit always outputs 1.",
        "exp(x) / exp(x) = 1, whatever x is.",
        "Use activation='sigmoid', or two units.",
    ),
    Rule(
        "SO404",
        "keras-double-sigmoid",
        _E,
        "keras: a custom loss applies sigmoid to a sigmoid output",
        "{loss} applies sigmoid again; the last layer has {op} at {made}.",
        "sigmoid maps [0, 1] to [0.5, 0.731].",
        "Apply it once.",
    ),
    Rule(
        "SO601",
        "nan-loss",
        _E,
        "the loss is NaN or infinite",
        "{loss} gave {value} at step {step}; {cause}.",
        "One NaN in the loss makes every gradient NaN and, one step later, every weight.",
        "Check what the message names; lower the learning rate, or clip the gradient's norm.",
        watched=True,
    ),
    Rule(
        "SO602",
        "target-out-of-range",
        _E,
        "a target is outside the range of the classes",
        "{loss} got the target {value} for scores of {classes} classes.",
        "A target outside [0, C) raises an error on a CPU, triggers a device-side assertion that"
        " names no line on a GPU, and is skipped in silence if it equals ignore_index.",
        "Count the classes from 0; give the last layer as many outputs as there are classes.",
        watched=True,
    ),
    Rule(
        "SO603",
        "absent-class",
        _W,
        "a class never appears among the targets",
        "{loss} never saw {absent} of {classes} among the {seen} targets that were examined.",
        "The score of a class without samples is only ever pushed down. The cause is a wrong class"
        " map, a filter that drops the class, or a last layer that is too wide.",
        "Check the class map and the folder of that class; give the last layer C outputs.",
        watched=True,
    ),
    Rule(
        "SO604",
        "loss-at-floor",
        _W,
        "the loss stays at the floor of two softmaxes",
        "{loss} stays at {value}: with two softmaxes and C={classes} it cannot fall below {floor}.",
        "A loss that stops within a hundredth of ln(1 + (C - 1) / e) while its scores lie within"
        " [0, 1] has learned all that a second softmax lets through.",
        "Look for a softmax or sigmoid between the last layer and the loss.",
        watched=True,
    ),
)

RULES = {rule.code: rule for rule in _ALL}


def rule_of(code: str) -> Rule:
    """Return the rule of a code or of a name.

    Raises:
        UnknownNameError: if there is none.

    Example:
        >>> rule_of("double-softmax").code
        'SO101'
    """
    for rule in _ALL:
        if code.lower() in (rule.code.lower(), rule.name):
            return rule
    raise UnknownNameError.of("rule", code.upper(), RULES)


def floor_sentence(num_classes: int | None) -> str:
    """Say what the loss cannot go below, or nothing if the number of classes is unknown.

    Example:
        >>> floor_sentence(10)
        ' With C=10 the loss cannot go below 1.461.'
    """
    if num_classes is None or num_classes < 2:
        return ""
    floor = double_softmax_floor(num_classes)
    return f" With C={num_classes} the loss cannot go below {floor:.3f}."
