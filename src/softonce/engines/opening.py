"""From the name of a file to the engine that answers for it."""

from __future__ import annotations

import os
import statistics
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from softonce.console import LOG
from softonce.engines.engine import noise
from softonce.errors import ArtefactError, ConfigError, MissingExtraError
from softonce.files import as_utf8, is_utf8
from softonce.formats import ARTEFACT, SUFFIXES, format_of
from softonce.run_folder import model_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from softonce.config import PredictConfig, ServeConfig
    from softonce.config.fields import AskedPrecision, EngineName
    from softonce.engines.engine import Engine
    from softonce.formats import Format, Runtime

_BATCH, _ROUNDS = 8, 3


def open_engine(
    path: str | Path,
    *,
    name: EngineName = "auto",
    device: str = "auto",
    exact: bool = False,
    precision: AskedPrecision = "auto",
    threads: int | None = None,
    trust: bool = False,
    model: str | None = None,
) -> Engine:
    """Open a model file of any kind that softonce writes.

    Args:
        path: a .safetensors artefact, the folder of the run that made it, or a file that
            `softonce export` wrote.
        name: what runs it; `auto` is the fastest that is installed and runs such a file, by a short
            measurement if there is a choice. It never compiles, which takes a minute.
        device: of torch: `auto`, `cpu`, `cuda` or `mps`.
        exact: whether torch runs an artefact as it was trained, in float32 and layer by layer; else
            batch normalisation is folded into the convolutions.
        precision: in which torch computes, unless it is exact; `auto` is float32, or bfloat16 if
            the device has it and a short measurement finds it faster. An exported file computes as
            it was exported.
        threads: how many compute; None leaves it to the engine.
        trust: whether code that the file holds or names may be run: the loader of torch.export runs
            what it finds, and an artefact may name a network of its author's own.
        model: the spelling of the function that builds an artefact's network, in the place of what
            it names.

    Raises:
        ArtefactError: if the file is missing, damaged, or of another kind.
        ConfigError: if the engine does not run such a file, or not in that precision.
        MissingExtraError: if the engine is not installed.

    Example:
        >>> open_engine("nothing.safetensors")
        Traceback (most recent call last):
        softonce.errors.ArtefactError: expected a model file at nothing.safetensors, found...
    """
    path = model_file(path)
    form = _format_of(path)
    runtimes = _installed(form, path, name)
    if precision != "auto" and form is not ARTEFACT:
        raise ConfigError(
            f"expected --precision auto for {path.name}, which computes as it was exported, found "
            f"{precision}: export the artefact with the --precision that you want"
        )
    options = {"device": device, "exact": exact, "precision": precision, "model": model}
    options |= {"threads": threads, "trust": trust}
    engines = _open_all(form, path, runtimes, options)
    return engines[0] if len(engines) == 1 else _fastest(engines)


def _open_all(
    form: Format, path: Path, runtimes: list[Runtime], options: dict[str, Any]
) -> list[Engine]:
    """Open the file with each runtime that reads its graph: of an adopted one not all may."""
    engines: list[Engine] = []
    errors: list[ArtefactError] = []
    for runtime in runtimes:
        try:
            engines.append(form.open(path, runtime.name, **options))
        except ArtefactError as error:
            errors.append(error)
    if not engines:
        raise errors[0]
    return engines


def open_as_asked(path: Path, config: PredictConfig | ServeConfig) -> Engine:
    """Open a model file with the options of a configuration; see `open_engine`."""
    return open_engine(
        path,
        name=config.engine,
        device=config.device,
        precision=config.precision,
        threads=config.threads,
        trust=config.trust,
        model=config.model,
    )


def _format_of(path: Path) -> Format:
    if not os.path.isfile(path):  # noqa: PTH113 - Path's raises if a name is too long to be one
        raise ArtefactError(f"expected a model file at {path}, found nothing: check the path")
    form = format_of(path)
    if form is None:
        raise ArtefactError(f"expected a model file of {' '.join(SUFFIXES)}, found {path.name}")
    if form is not ARTEFACT and not is_utf8(str(path)):
        raise ArtefactError(
            f"expected a path in UTF-8, which the runtimes can open, found {as_utf8(str(path))}: "
            "rename it"
        )
    return form


def _installed(form: Format, path: Path, name: EngineName) -> list[Runtime]:
    """Return the installed runtimes of the format that were asked for."""
    names = [runtime.name for runtime in form.runtimes]
    if name not in (*names, "auto"):
        raise ConfigError(
            f"expected --engine {', '.join(names)} or auto for {path.name}, found {name}: "
            "export the artefact for another engine"
        )
    wanted = [r for r in form.runtimes if r.name == name or (name == "auto" and r.is_automatic)]
    installed = [runtime for runtime in wanted if find_spec(runtime.package)]
    if not installed:
        raise MissingExtraError.of(wanted[0].package, wanted[0].extra)
    return installed


def _fastest(engines: list[Engine]) -> Engine:
    """Let each answer a few times, and return the one that needed the least; say so."""
    preprocessing = engines[0].metadata.preprocessing
    shape = (_BATCH, preprocessing.in_channels, preprocessing.size, preprocessing.size)
    pixels = noise(shape)
    seconds = {engine.name: seconds_of(engine.logits, pixels) / _BATCH for engine in engines}
    best = min(engines, key=lambda engine: seconds[engine.name])
    found = ", ".join(f"{name} {1000 * each:.1f} ms" for name, each in seconds.items())
    LOG.info("engine %s, by a short measurement: an image takes %s", best.name, found)
    return best


def seconds_of(answer: Callable[[NDArray[np.uint8]], object], pixels: NDArray[np.uint8]) -> float:
    """Return the median time of one answer, in seconds, after one to get warm."""
    answer(pixels)
    times = []
    for _ in range(_ROUNDS):
        begin = time.perf_counter()
        answer(pixels)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)
