"""Networks of torchvision: `torchvision:NAME`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from softonce.errors import ArgumentError, UnknownNameError, WeightsError, describe_error
from softonce.models.adapted import AdaptedNetwork
from softonce.models.sources.hub import why_unreachable
from softonce.models.sources.source import Asked, Facts, check_name, fit_stem_, import_package
from softonce.models.state_dicts import StateDict, fit_
from softonce.preprocessing import Preprocessing

if TYPE_CHECKING:
    from types import ModuleType

    from torch import nn

_AUXILIARY = ("googlenet", "inception_v3")  # whose further heads are for training from nothing
_IMAGE_SIZE = ("vit_",)  # whose position embeddings are made for one size


class TorchvisionSource:
    """The classifiers of `torchvision.models`."""

    prefix = "torchvision"
    packages: tuple[str, ...] = ("torchvision",)

    def build(self, name: str, asked: Asked) -> AdaptedNetwork:
        """Build a network by `torchvision.models.get_model`, and fill it."""
        models = self._models(name)
        options: dict[str, Any] = dict(asked.options)
        if asked.num_classes is not None:
            options["num_classes"] = asked.num_classes
        if name in _AUXILIARY:
            options |= {"aux_logits": False, "init_weights": True}
        if asked.size is not None and name.startswith(_IMAGE_SIZE):
            options["image_size"] = asked.size
        if asked.drop_path is not None:
            options["stochastic_depth_prob"] = asked.drop_path
        try:
            body: nn.Module = models.get_model(name, weights=None, **options)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ArgumentError(
                f"expected options that torchvision:{name} can be built with, found: "
                f"{describe_error(error)}; leave them out"
            ) from error
        if asked.in_channels != 3:
            fit_stem_(body, asked.in_channels)
        network = AdaptedNetwork(
            body,
            num_classes=asked.num_classes,
            in_channels=asked.in_channels,
            preprocessing=_preprocessing(self._records(name), asked),
        )
        if asked.weights is not None:
            network.classes = fit_(network, self._load_published(name, asked.weights), ()).classes
        return network

    def names(self) -> list[str]:
        """Return the names of torchvision's classifiers."""
        models = import_package("torchvision.models", "torchvision")
        names: list[str] = models.list_models(module=models)
        return sorted(names)

    def facts(self, name: str) -> Facts:
        """Return what torchvision has published of its best weights."""
        records = self._records(name)
        if not records:
            return Facts()
        meta = records[-1].meta
        top1 = next(iter(meta["_metrics"].values()))["acc@1"]
        size = records[-1].transforms().crop_size[0]
        return Facts(size=size, num_params=meta["num_params"], accuracy=top1)

    def why_no_weights(self, name: str) -> str | None:
        """Return why its published weights cannot be had, or None."""
        records = self._records(name)
        return why_unreachable("", records[-1].url) if records else ""

    def _models(self, name: str) -> ModuleType:
        models = import_package("torchvision.models", "torchvision")
        check_name("torchvision model", name, self.names(), self.prefix)
        return models

    def _records(self, name: str) -> list[Any]:
        """Return the published weights, the default ones last."""
        kind = self._models(name).get_model_weights(name)
        records = list(kind)
        return [*records, kind.DEFAULT] if records else []

    def _load_published(self, name: str, weights: str) -> StateDict:
        records = {each.name: each for each in self._records(name)}
        if weights != "DEFAULT" and weights not in records:
            raise UnknownNameError.of(f"weights of torchvision:{name}", weights, records)
        record = self._records(name)[-1] if weights == "DEFAULT" else records[weights]
        try:
            tensors = record.get_state_dict(progress=True, check_hash=True)
        except (OSError, RuntimeError) as error:
            raise WeightsError(
                f"expected the published weights of torchvision:{name}, found: {error}; pass "
                "--weights none, or a file"
            ) from error
        if name in _AUXILIARY:
            tensors = {key: value for key, value in tensors.items() if "aux" not in key.lower()}
        return StateDict(str(record), tensors, tuple(record.meta["categories"]))


def _preprocessing(records: list[Any], asked: Asked) -> Preprocessing:
    """Return the transform of the weights, in proportion to the size that is asked for."""
    if not records:
        side = asked.size or 224
        return Preprocessing(size=side, resize=round(side * 256 / 224))
    transform = records[-1].transforms()
    crop, resize = transform.crop_size[0], transform.resize_size[0]
    size = asked.size or crop
    return Preprocessing(
        size=size,
        resize=round(size * resize / crop),
        interpolation=transform.interpolation.value,
        mean=tuple(transform.mean),
        std=tuple(transform.std),
    )
