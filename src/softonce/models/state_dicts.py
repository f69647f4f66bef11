"""State dicts that fit a model, or can be made to: other names, other heads, other stems."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from torch import Size, Tensor, nn

from softonce.errors import WeightsError
from softonce.models.alignment import align
from softonce.plurals import format_count

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from softonce.preprocessing import Preprocessing

Shapes: TypeAlias = Mapping[str, Size]

HEAD = ("fc.weight", "fc.bias")

# head.fc and last_linear are timm's, linear is that of public CIFAR repositories, and fc.1 is what
# a head becomes beside a dropout in a Sequential.
_OTHER_HEAD = re.compile(
    r"(?:fc|linear|classifier|head|head\.fc|last_linear)(?:\.\d+)?\.(weight|bias)"
)
_NUM_BATCHES = "num_batches_tracked"  # of a batch normalisation; old files lack it
_NUM_MODELS = "n_averaged"  # of torch.optim.swa_utils.AveragedModel


@dataclass(frozen=True)
class StateDict:
    """Tensors by name, where they come from, and what is known of them."""

    source: str
    tensors: Mapping[str, Tensor]
    classes: tuple[str, ...] | None = None
    preprocessing: Preprocessing | None = None


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What was loaded, and what was done to make it fit.

    Attributes:
        source: the record's name or the file's path.
        head_reinitialised: whether the head starts afresh, its classes being others or unknown.
        stem_fitted: whether the filters of three colours were made to fit others.
        classes: the names of the logits; None if the weights do not say, or the head is fresh.
        preprocessing: what the weights expect; None if they do not say.
        notes: a sentence on each thing that was not simply copied.
    """

    source: str
    head_reinitialised: bool
    stem_fitted: bool
    classes: tuple[str, ...] | None
    preprocessing: Preprocessing | None
    notes: tuple[str, ...]


def shapes_of(model: nn.Module) -> Shapes:
    """Return the shape of everything in the model's state dict."""
    return {key: tensor.shape for key, tensor in model.state_dict().items()}


def num_classes_of(tensors: Mapping[str, Tensor]) -> int | None:
    """Return the number of classes of the head in a state dict; None if it has no head."""
    head = _rename(tensors, own=()).get(HEAD[0])
    return None if head is None or head.ndim != 2 else head.shape[0]


def fit_(
    model: nn.Module, found: StateDict, candidates: Iterable[tuple[str, Shapes]]
) -> LoadReport:
    """Copy a state dict into a model, in place, once everything is known to fit.

    Args:
        model: keeps its dtypes; weights stored in half precision are converted.
        found: its keys may be those of related packages.
        candidates: names and shapes of architectures, asked for only to make an error helpful.

    Raises:
        WeightsError: if tensors are missing, left over, or of other shapes.
    """
    own = shapes_of(model)
    heads: tuple[str, ...] = getattr(model, "heads", ("fc",))
    aligned, aligned_note = align(found.tensors, own, found.source)
    tensors = _rename(aligned, own, heads)
    stem_note = _fit_stem_(tensors, own, found.source)
    notes = [stem_note, *(_drop_head_(tensors, own, head, found.source) for head in heads)]
    stem_fitted = stem_note is not None
    head_dropped = any(note is not None for note in notes[1:])
    ignored = [f"{head}.{kind}" for head in heads for kind in ("weight", "bias")]
    if problems := _problems(own, tensors, ignored=ignored if head_dropped else ()):
        raise _misfit(model, found, problems, candidates)
    model.load_state_dict(tensors, strict=False)
    if head_dropped:
        _reset_heads_(model, heads)
    is_grey = stem_fitted and own[_stem_of(own)][1] == 1
    return LoadReport(
        source=found.source,
        head_reinitialised=head_dropped,
        stem_fitted=stem_fitted,
        classes=None if head_dropped else found.classes,
        preprocessing=_grey(found.preprocessing) if is_grey else found.preprocessing,
        notes=tuple(note for note in (aligned_note, *notes) if note is not None),
    )


def _reset_heads_(model: nn.Module, heads: Iterable[str]) -> None:
    backbone = getattr(model, "backbone", model)
    for name in heads:
        if isinstance(head := backbone.get_submodule(name), nn.Linear):
            head.reset_parameters()


def _rename(
    tensors: Mapping[str, Tensor], own: Collection[str], heads: tuple[str, ...] = ("fc",)
) -> dict[str, Tensor]:
    """Return the tensors under our names, if they are under others that the model has not."""
    foreign = [key for key in tensors if key not in own]
    others = [key for key in foreign if _OTHER_HEAD.fullmatch(key)]
    names = {key: key.replace(".shortcut.", ".downsample.") for key in foreign}
    # Two layers under such names are a head of another kind, not one under another name.
    is_single = len(others) == len({_head_key(key) for key in others}) and len(heads) == 1
    if is_single and f"{heads[0]}.weight" not in tensors:
        names |= {key: _head_key(key, heads[0]) for key in others}
    return {
        names.get(key, key): tensor
        for key, tensor in tensors.items()
        if key in own or not key.endswith(_NUM_MODELS)
    }


def _head_key(key: str, head: str = "fc") -> str:
    return f"{head}.{key.rpartition('.')[2]}"


def _stem_of(own: Shapes) -> str:
    """Return the name of the first filters, which meet the images; an empty text without any."""
    return next((key for key, shape in own.items() if len(shape) == 4), "")


def _fit_stem_(tensors: dict[str, Tensor], own: Shapes, source: str) -> str | None:
    """Make the filters of three colours those of the model's channels, and say so.

    For grey images they are summed; for more channels repeated, times 3 / channels, as timm does.
    """
    name = _stem_of(own)
    stem, wanted = tensors.get(name), own.get(name)
    if stem is None or wanted is None or stem.ndim != 4 or stem.shape[1] == wanted[1]:
        return None
    if (stem.shape[0], *stem.shape[2:]) != (wanted[0], *wanted[2:]):
        return None
    if stem.shape[1] != 3:
        raise WeightsError(
            f"expected weights for images of {format_count(wanted[1], 'channel')}, found "
            f"{stem.shape[1]} in {source}: build the model with in_channels={stem.shape[1]}"
        )
    num = wanted[1]
    tensors[name] = fit_channels(stem.float(), num)
    how = "summed" if num == 1 else "repeated"
    return f"the stem of {source} takes 3 channels, the model {num}: the filters were {how}"


def fit_channels(filters: Tensor, num: int) -> Tensor:
    """Return filters of three channels for another number of them.

    Args:
        filters: (out, 3, height, width).
        num: 1 sums them; more repeats them, times 3 / num, so that grey pictures give the same.
    """
    if num == 1:
        return filters.sum(dim=1, keepdim=True)
    return filters[:, [channel % 3 for channel in range(num)]] * (3 / num)


def _drop_head_(tensors: dict[str, Tensor], own: Shapes, head: str, source: str) -> str | None:
    """Leave a head of another number of classes out, or miss one that is not there, and say so."""
    keys = (f"{head}.weight", f"{head}.bias")
    weight, wanted = tensors.get(keys[0]), own.get(keys[0])
    if wanted is None or (weight is None and keys[1] in tensors):
        return None
    if weight is None:
        return f"{source} has no head: the head starts afresh"
    if weight.ndim != len(wanted) or weight.shape[1:] != wanted[1:] or weight.shape == wanted:
        return None
    for key in keys:
        tensors.pop(key, None)
    theirs = format_count(weight.shape[0], "class")
    return f"{source} has {theirs}, the model {wanted[0]}: the head starts afresh"


def _problems(own: Shapes, tensors: Mapping[str, Tensor], ignored: Collection[str]) -> list[str]:
    """Return what keeps the tensors from fitting: counts, and the first few of each kind."""
    missing = [key for key in own if key not in tensors and key not in ignored]
    kinds = {
        "missing": [key for key in missing if not key.endswith(_NUM_BATCHES)],
        "unexpected": [key for key in tensors if key not in own],
        "misshaped": [
            f"{key} {tuple(tensor.shape)} in place of {tuple(own[key])}"
            for key, tensor in tensors.items()
            if key in own and tensor.shape != own[key]
        ],
    }
    return [_first_few(kind, keys) for kind, keys in kinds.items() if keys]


def _first_few(kind: str, keys: list[str]) -> str:
    """Return a count and a few examples.

    >>> _first_few("missing", ["a", "b", "c", "d"])
    '4 missing (a, b, c, ...)'
    """
    return f"{len(keys)} {kind} ({', '.join(keys[:3] + ['...'] * (len(keys) > 3))})"


def _misfit(
    model: nn.Module,
    found: StateDict,
    problems: list[str],
    candidates: Iterable[tuple[str, Shapes]],
) -> WeightsError:
    architecture = getattr(model, "architecture", None)
    name = architecture.name if architecture else type(model).__name__
    body = _body({key: tensor.shape for key, tensor in _rename(found.tensors, own=()).items()})
    fitting = next((other for other, shapes in candidates if _body(shapes) == body), None)
    advice = (
        f"they fit {fitting!r}, built with its default options"
        if fitting
        else "check which network, with which options, the file was saved from"
    )
    return WeightsError(
        f"expected the weights of {name}, found in {found.source} {'; '.join(problems)}: {advice}"
    )


def _body(shapes: Shapes) -> Shapes:
    """Return the shapes that do not depend on classes and are in every version of a file."""
    return {
        key: shape
        for key, shape in shapes.items()
        if key not in HEAD and not key.endswith(_NUM_BATCHES)
    }


def _grey(preprocessing: Preprocessing | None) -> Preprocessing | None:
    """Return the same preprocessing for one channel, whose mean and std are those of the three."""
    if preprocessing is None:
        return None
    mean, std = (sum(values) / len(values) for values in (preprocessing.mean, preprocessing.std))
    return dataclasses.replace(preprocessing, mode="L", mean=(mean,), std=(std,))
