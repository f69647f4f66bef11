"""Networks of timm: `timm:NAME`, or `timm:NAME.TAG` for one of its pretrained weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from softonce.errors import ArgumentError, WeightsError, describe_error
from softonce.models.adapted import AdaptedNetwork
from softonce.models.sources.hub import why_unreachable
from softonce.models.sources.source import Asked, Facts, check_name, import_package
from softonce.preprocessing import Preprocessing

if TYPE_CHECKING:
    from types import ModuleType

_REFUSED = ("checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
"""Arguments by which timm would read files that it unpickles; an artefact may name any argument."""

_FITS = {"squash": "squash", "border": "pad"}


class TimmSource:
    """The networks that `timm.create_model` knows."""

    prefix = "timm"
    packages: tuple[str, ...] = ("timm",)

    def build(self, name: str, asked: Asked) -> AdaptedNetwork:
        """Build a network by `timm.create_model`, whose own code fits weights, head and stem."""
        timm, config = self._config(name)
        options = dict(asked.options)
        if refused := [option for option in _REFUSED if option in options]:
            raise ArgumentError(
                f"expected options of timm:{name} itself, found {refused[0]}: name a file with "
                "--weights"
            )
        if asked.num_classes is not None:
            options["num_classes"] = asked.num_classes
        if asked.size is not None and config.fixed_input_size:
            options["img_size"] = asked.size
        if asked.drop_path is not None:
            options["drop_path_rate"] = asked.drop_path
        if asked.weights not in (None, "DEFAULT"):
            raise WeightsError(
                f"expected DEFAULT or a file of weights for timm:{name}, found {asked.weights!r}: "
                f"timm names them in the network, as in timm:{name.partition('.')[0]}.TAG"
            )
        try:
            body = timm.create_model(
                name,
                pretrained=asked.weights is not None,
                in_chans=asked.in_channels,
                **options,
            )
        except (RuntimeError, OSError) as error:
            if asked.weights is None:
                raise _build_error(name, error) from error
            raise WeightsError(
                f"expected the published weights of timm:{name}, found: "
                f"{describe_error(error)}; pass --weights none, or a file"
            ) from error
        except (TypeError, ValueError, AssertionError) as error:
            raise _build_error(name, error) from error
        heads = body.pretrained_cfg["classifier"]
        return AdaptedNetwork(
            body,
            num_classes=asked.num_classes,
            in_channels=asked.in_channels,
            preprocessing=_preprocessing(body.pretrained_cfg, asked.size),
            heads=(heads,) if isinstance(heads, str) else tuple(heads),
        )

    def names(self) -> list[str]:
        """Return the names of timm's architectures, and of those with the tag of their weights."""
        timm = import_package("timm", "timm")
        return sorted({*timm.list_models(), *timm.list_pretrained()})

    def facts(self, name: str) -> Facts:
        """Return the size of its images."""
        config = self._config(name)[1].to_dict()
        return Facts(size=_preprocessing(config, None).size)

    def why_no_weights(self, name: str) -> str | None:
        """Return why its published weights cannot be had, or None."""
        timm, config = self._config(name)
        if not config.has_weights:
            return ""
        if config.file or config.state_dict is not None:
            return None
        if config.hf_hub_id and not timm.models._hub.has_hf_hub():  # noqa: SLF001 - no public name
            return "huggingface_hub is not installed"
        url = None if config.hf_hub_id else config.url
        return why_unreachable(config.hf_hub_id or "", url)

    def _config(self, name: str) -> tuple[ModuleType, Any]:
        timm = import_package("timm", "timm")
        if not timm.is_model(name) or ("." in name and name not in timm.list_pretrained()):
            check_name("timm model", name, self.names(), self.prefix)
        return timm, timm.get_pretrained_cfg(name)


def _build_error(name: str, error: Exception) -> ArgumentError:
    return ArgumentError(
        f"expected options and a size that timm:{name} can be built with, found: "
        f"{describe_error(error)}; leave them out, or choose another network"
    )


def _preprocessing(config: dict[str, Any], size: int | None) -> Preprocessing:
    """Return timm's own evaluation transform: resize by the crop fraction, cut the centre out.

    Source: `timm.data.transforms_factory.transforms_imagenet_eval`.
    """
    side = size or config["input_size"][-1]
    fit: Any = _FITS.get(config.get("crop_mode") or "", "crop")
    asked = config.get("interpolation")
    interpolation: Any = asked if asked in ("bilinear", "nearest") else "bicubic"
    return Preprocessing(
        size=side,
        resize=math.floor(side / (config.get("crop_pct") or 0.875)) if fit == "crop" else side,
        fit=fit,
        interpolation=interpolation,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )
