"""Image classifiers of Hugging Face's transformers: `hf:NAME` of the hub, or `hf:FOLDER`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from softonce.errors import ArgumentError, WeightsError, describe_error
from softonce.models.adapted import AdaptedNetwork
from softonce.models.sources.hub import is_folder, why_unreachable
from softonce.models.sources.source import Asked, Facts, fit_stem_, import_package
from softonce.preprocessing import Preprocessing

_PILLOW_FILTERS = {0: "nearest", 2: "bilinear", 3: "bicubic"}


class TransformersSource:
    """What `AutoModelForImageClassification` builds; no code of a repository is run."""

    prefix = "hf"
    packages: tuple[str, ...] = ("transformers",)

    def build(self, name: str, asked: Asked) -> AdaptedNetwork:
        """Build a network from its configuration, which is kept among the options."""
        transformers = import_package("transformers", "transformers")
        options: dict[str, Any] = dict(asked.options)
        kept = options.pop("config", None)
        rebuilt = transformers.AutoConfig.for_model
        config = self._config(name) if kept is None else rebuilt(**kept)
        classes = _label_names(config) if asked.weights is not None else None
        if asked.num_classes is not None and asked.num_classes != config.num_labels:
            config.num_labels, classes = asked.num_classes, None
        if asked.size is not None and hasattr(config, "image_size"):
            config.image_size = asked.size
        if asked.drop_path is not None:
            if not hasattr(config, "drop_path_rate"):
                raise ArgumentError(
                    f"expected a network with stochastic depth, found a {config.model_type} in "
                    f"hf:{name}: leave --stochastic-depth out"
                )
            config.drop_path_rate = asked.drop_path
        has_channels = hasattr(config, "num_channels")
        if has_channels:
            config.num_channels = asked.in_channels
        body = self._body(name, config, asked)
        if asked.in_channels != 3 and not has_channels:
            fit_stem_(body, asked.in_channels)
        network = AdaptedNetwork(
            body,
            num_classes=config.num_labels,
            in_channels=asked.in_channels,
            preprocessing=_preprocessing(name, config, asked.size),
            options={"config": _record_of(config)},
        )
        network.classes = classes
        return network

    def names(self) -> list[str]:
        """Return nothing: the names are those of the hub, and of folders."""
        return []

    def facts(self, name: str) -> Facts:
        """Return the size of its images, as its configuration has it."""
        return Facts(size=_preprocessing(name, self._config(name), None).size)

    def why_no_weights(self, name: str) -> str | None:
        """Return why its weights cannot be had, or None."""
        if is_folder(name):
            files = ("model.safetensors", "pytorch_model.bin", "model.safetensors.index.json")
            return None if any((Path(name) / each).exists() for each in files) else ""
        import_package("transformers", "transformers")
        return why_unreachable(name)

    def _config(self, name: str) -> Any:
        transformers = import_package("transformers", "transformers")
        reason = None if is_folder(name) else why_unreachable(name)
        cause = None
        if reason is None:
            try:
                return transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
            except (OSError, ValueError) as error:
                cause, reason = error, describe_error(error)
        raise ArgumentError(
            f"expected an image classifier of the hub, or a folder with its config.json, found "
            f"{name!r}: {reason}; check the name"
        ) from cause

    def _body(self, name: str, config: Any, asked: Asked) -> Any:
        transformers = import_package("transformers", "transformers")
        auto = transformers.AutoModelForImageClassification
        if asked.weights is None:
            try:
                return auto.from_config(config, trust_remote_code=False)
            except ValueError as error:
                raise ArgumentError(
                    f"expected an image classifier, found a {config.model_type} in hf:{name}: "
                    "choose a network that transformers offers for image classification"
                ) from error
        if asked.weights != "DEFAULT":
            raise WeightsError(
                f"expected DEFAULT or a file of weights for hf:{name}, found {asked.weights!r}"
            )
        try:
            return auto.from_pretrained(
                name, config=config, ignore_mismatched_sizes=True, trust_remote_code=False
            ).float()
        except (OSError, ValueError, RuntimeError) as error:
            raise WeightsError(
                f"expected the weights of hf:{name}, found: {describe_error(error)}; "
                "pass --weights none, or a file"
            ) from error


def _label_names(config: Any) -> tuple[str, ...] | None:
    """Return the names of the logits; None if they are those that transformers makes up."""
    found = tuple(str(config.id2label[index]) for index in range(config.num_labels))
    return None if found == tuple(f"LABEL_{index}" for index in range(len(found))) else found


def _record_of(config: Any) -> dict[str, Any]:
    """Return what a configuration differs in from its default; class names are the artefact's."""
    names = ("id2label", "label2id", "architectures", "transformers_version", "dtype")
    found = {key: value for key, value in config.to_diff_dict().items() if key not in names}
    return found | {"model_type": config.model_type, "num_labels": config.num_labels}


def _preprocessing(name: str, config: Any, size: int | None) -> Preprocessing:
    """Return what the image processor beside the weights does, or what its configuration says."""
    found = _processor(name)
    crop = found.get("crop_size") if found.get("do_center_crop") else None
    own = _side(crop) or _side(found.get("size")) or _side(getattr(config, "image_size", None))
    shortest = _shortest_edge(found.get("size"))
    side, before = own or 224, max(shortest or 0, own or 224)
    size = size or side
    interpolation: Any = _PILLOW_FILTERS.get(found.get("resample", 2), "bilinear")
    optional: dict[str, Any] = {
        key: tuple(found[f"image_{key}"]) for key in ("mean", "std") if f"image_{key}" in found
    }
    is_squashed = bool(found) and shortest is None and crop is None
    return Preprocessing(
        size=size,
        resize=size if is_squashed else round(size * before / side),
        fit="squash" if is_squashed else "crop",
        interpolation=interpolation,
        **optional,
    )


def _processor(name: str) -> dict[str, Any]:
    """Return the record of the image processor; an empty one if there is none."""
    if not is_folder(name) and why_unreachable(name) is not None:
        return {}
    from transformers.image_processing_base import ImageProcessingMixin

    try:
        return dict(ImageProcessingMixin.get_image_processor_dict(name)[0])
    except (OSError, ValueError):
        return {}


def _side(value: Any) -> int | None:
    if isinstance(value, dict):
        value = value.get("height") or value.get("shortest_edge")
    if isinstance(value, list | tuple):
        value = value[0]
    return int(value) if value else None


def _shortest_edge(value: Any) -> int | None:
    if isinstance(value, dict):
        value = value.get("shortest_edge")
        return int(value) if value else None
    return None
