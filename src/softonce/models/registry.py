"""Names of architectures -> models: registering, listing, building, filling with weights."""

from __future__ import annotations

import fnmatch
import functools
import inspect
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch

from softonce.console import LOG, visible_notes
from softonce.errors import ArgumentError, UnknownNameError, describe_value
from softonce.models.adapted import AdaptedNetwork, strip_normaliser_
from softonce.models.network import Architecture, Network
from softonce.models.sources import Asked, find_source
from softonce.models.sources.own import with_absolute_file
from softonce.models.state_dicts import LoadReport, fit_, num_classes_of, shapes_of
from softonce.models.weights import WeightsSource, obtain, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn

    from softonce.models.state_dicts import Shapes

Model_co = TypeVar("Model_co", bound=Network, covariant=True)


class Builder(Protocol[Model_co]):
    """What `register` returns, and every `softonce.models.<name>` is."""

    def __call__(
        self, *, weights: WeightsSource | None = None, progress: bool = True, **options: Any
    ) -> Model_co:
        """Build the model with `options`; fill it with `weights` if some are given."""


_BUILDERS: dict[str, Builder[Network]] = {}


def register(build: Callable[..., Model_co]) -> Builder[Model_co]:
    """Put an architecture on the list, under the lower-cased name of the function that builds it.

    Args:
        build: takes options by keyword, none of them required, `num_classes` and `in_channels`
            among them, and returns a `Network` with fresh weights.

    Returns:
        The builder: `build` with the two further keywords `weights` and `progress`.

    Raises:
        ArgumentError: if the name is taken.

    Example:
        >>> from softonce.models import ResNet, blocks
        >>> @register
        ... def resnet10(**options):
        ...     return ResNet(blocks.BasicBlock, (1, 1, 1, 1), **options)
        >>> create_model("resnet10", num_classes=7).fc.out_features
        7
        >>> _ = _BUILDERS.pop("resnet10")
    """
    name = build.__name__.lower()
    if name in _BUILDERS:
        raise ArgumentError(
            f"expected a new name, found {name!r}, which is registered: rename the function"
        )

    @functools.wraps(build)
    def builder(
        *, weights: WeightsSource | None = None, progress: bool = True, **options: Any
    ) -> Model_co:
        with visible_notes():
            return _assemble(name, build, weights, progress, options)

    vars(builder)["__signature__"] = inspect.signature(builder, follow_wrapped=False)
    _BUILDERS[name] = builder
    return builder


def list_models(pattern: str | None = None) -> list[str]:
    """Return the registered names in alphabetical order.

    Args:
        pattern: a shell-style pattern that the names match; None lists them all.

    Example:
        >>> list_models("resnet1*")
        ['resnet101', 'resnet152', 'resnet18']
    """
    if not isinstance(pattern, str | None):
        raise ArgumentError(
            f"expected a pattern such as 'resnet*', found {describe_value(pattern)}"
        )
    return sorted(name for name in _BUILDERS if fnmatch.fnmatchcase(name, (pattern or "*").lower()))


def create_model(
    name: str,
    *,
    num_classes: int | None = None,
    weights: WeightsSource | None = None,
    in_channels: int = 3,
    **options: Any,
) -> Network:
    """Build the model of that name, in training mode; it gives logits.

    Equals `softonce.models.<name>(weights=weights, num_classes=num_classes, ...)`.

    Args:
        name: one of `list_models()`, in any case; or a network of another source: `timm:NAME`,
            `torchvision:NAME`, `hf:NAME_OR_FOLDER`, `package.module:function`,
            `file.py:function`.
        num_classes: number of logits; None is the number of classes of the weights, or, without
            weights, 1000 (10 in the CIFAR family). Where the weights have another number, the
            head starts afresh, and the log says so.
        weights: a record, the name of one (`DEFAULT` is the best), or the path of a file; None
            starts afresh.
        in_channels: number of channels of the images. Where it is 1 and the weights have 3, the
            stem's filters are summed, and the log says so.
        options: of the architecture, such as `zero_init_residual`, `norm_layer` or `shortcut`;
            of a network of another source `size`, the side of its images, `drop_path`, the rate of
            its stochastic depth, and `strip_normaliser=True`, which takes the softmax off that it
            ends in; and
            `progress=False` for a download without a progress bar.

    Raises:
        UnknownNameError: if the name is not registered, or not in its source.
        MissingExtraError: if the package of its source is not installed.
        WeightsError: if the weights cannot be had, cannot be read, or do not fit.

    Example:
        >>> model = create_model("resnet18", num_classes=4, in_channels=1).eval()
        >>> model(torch.zeros(1, 1, 64, 64)).shape
        torch.Size([1, 4])
    """
    if isinstance(name, str) and find_source(name) is not None:
        options.pop("progress", None)
        with visible_notes():
            return _build_elsewhere(name, num_classes, weights, in_channels, **options)
    builder = _builder(name)
    return builder(weights=weights, num_classes=num_classes, in_channels=in_channels, **options)


def load_weights(model: nn.Module, weights: WeightsSource, *, progress: bool = True) -> LoadReport:
    """Fill a model with weights, in place, and report what was done to make them fit.

    Files from torchvision, timm, Lightning, DistributedDataParallel, torch.compile and public
    CIFAR repositories fit: wrappers (`state_dict`, `model`, `model_ema`, ...; an average of the
    weights comes first), prefixes (`module.`, `_orig_mod.`, `model.`) and other names of the head
    (`linear`, `classifier`, `head`, ...) are understood. No code from a file is ever run.

    Args:
        model: filled only if everything fits; else it is left as it was.
        weights: a record, the name of one, or the path of a file.
        progress: whether a download shows a progress bar, if the terminal is one.

    Raises:
        WeightsError: if the weights cannot be had, cannot be read, or do not fit.
    """
    architecture = getattr(model, "architecture", None)
    source = resolve(architecture and architecture.name, weights)
    return fit_(model, obtain(source, progress=progress), _candidates())


def _assemble(
    name: str,
    build: Callable[..., Model_co],
    weights: WeightsSource | None,
    progress: bool,
    options: dict[str, Any],
) -> Model_co:
    """Build, remember from what, and fill with the weights."""
    if "pretrained" in options:
        raise ArgumentError(
            'expected weights=..., found pretrained=...: weights="DEFAULT" are the best published '
            'weights, weights="IMAGENET1K_V1" those that pretrained=True stood for'
        )
    found = None if weights is None else obtain(resolve(name, weights), progress=progress)
    num_classes = options.pop("num_classes", None)
    if num_classes is None and found is not None:
        num_classes = num_classes_of(found.tensors)
    if num_classes is not None:
        options = {"num_classes": num_classes, **options}
    model = build(**options)
    if not isinstance(model, Network):  # of a user, whom no type checker holds to it
        model = _adapt(model, options)  # type: ignore[unreachable]
    model.architecture = Architecture(name, options)
    if found is not None:
        for note in fit_(model, found, _candidates()).notes:
            LOG.warning("%s", note)
    return model


def _adapt(model: nn.Module, options: dict[str, Any]) -> Any:
    """Put a network that is no `Network` behind its contract."""
    preprocessing = getattr(model, "default_preprocessing", Network.default_preprocessing)
    return AdaptedNetwork(
        model,
        num_classes=options.get("num_classes"),
        in_channels=options.get("in_channels", 3),
        preprocessing=preprocessing,
    )


def _build_elsewhere(
    spelling: str,
    num_classes: int | None,
    weights: WeightsSource | None,
    in_channels: int,
    size: int | None = None,
    strip_normaliser: bool = False,
    drop_path: float | None = None,
    **options: Any,
) -> Network:
    """Build a network of another source; weights are a file, or its own published ones."""
    found_source = find_source(spelling)
    assert found_source is not None  # noqa: S101 - the caller has looked
    source, name = found_source
    spelling = with_absolute_file(spelling)
    path = Path(os.fspath(weights)) if isinstance(weights, str | os.PathLike) else None
    is_file = path is not None and path.exists()
    found = obtain(path) if path is not None and is_file else None
    if num_classes is None and found is not None:
        num_classes = num_classes_of(found.tensors)
    published = None if weights is None or is_file else str(weights)
    model = source.build(
        name,
        Asked(
            num_classes=num_classes,
            in_channels=in_channels,
            size=size,
            weights=published,
            drop_path=drop_path,
            options=options,
        ),
    )
    if strip_normaliser:
        model = _without_normaliser(model)
    arguments = {
        "num_classes": model.num_classes,
        "in_channels": in_channels,
        "size": size,
        "strip_normaliser": strip_normaliser or None,
    }
    known = {key: value for key, value in arguments.items() if value is not None}
    model.architecture = Architecture(spelling, known | options | model.options)
    if found is not None:
        for note in fit_(model, found, ()).notes:
            LOG.warning("%s", note)
    return model


def _without_normaliser(model: AdaptedNetwork) -> AdaptedNetwork:
    """Return the network without the softmax or sigmoid at its end, its head found again."""
    side = model.default_preprocessing.size
    name = strip_normaliser_(model.body, (model.in_channels, side, side))
    found = AdaptedNetwork(
        model.body,
        num_classes=model.num_classes,
        in_channels=model.in_channels,
        preprocessing=model.default_preprocessing,
        options=model.options,
    )
    found.stripped = name
    return found


def _builder(name: str) -> Builder[Network]:
    if not isinstance(name, str):
        raise ArgumentError(
            f"expected the name of a model, found {describe_value(name)}: list_models() lists them"
        )
    if name.lower() not in _BUILDERS:
        raise UnknownNameError.of("model", name.lower(), list_models())
    return _BUILDERS[name.lower()]


@functools.cache
def _skeleton(name: str) -> Network:
    """Build the model with shapes only: no memory, no random numbers; once a process."""
    with torch.device("meta"):
        return _builder(name)()


def _candidates() -> Iterator[tuple[str, Shapes]]:
    """Yield the shapes of every registered architecture, made when asked for."""
    for name in list_models():
        yield name, shapes_of(_skeleton(name))
