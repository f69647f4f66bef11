"""Networks of the caller's own: `package.module:function`, `file.py:function`, or a function."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from softonce.errors import ArgumentError, UnknownNameError, describe_error, describe_value
from softonce.models.adapted import AdaptedNetwork
from softonce.models.network import Network
from softonce.models.sources.source import Asked, Facts
from softonce.preprocessing import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

_LOADED: dict[str, Callable[..., Any]] = {}
"""Functions that this process has been given, or has looked up, by their spelling."""


def spelling_of(factory: Callable[..., Any]) -> str:
    """Return the spelling of a function that builds networks, by which another process finds it.

    One that no other process can find, such as a lambda, is known in this process only.

    Example:
        >>> from collections import OrderedDict
        >>> spelling_of(OrderedDict)
        'collections:OrderedDict'
    """
    if isinstance(factory, nn.Module) or not callable(factory):
        raise ArgumentError(
            f"expected a function that builds the network, found {describe_value(factory)}: pass "
            "the class, or a function of num_classes, so that the network can be built again"
        )
    name = getattr(factory, "__qualname__", type(factory).__name__)
    module = getattr(factory, "__module__", None) or "python"
    spelling = f"{module}:{name}"
    if module == "__main__":
        file = getattr(sys.modules["__main__"], "__file__", None)
        spelling = f"{Path(file).resolve()}:{name}" if file else spelling
    _LOADED[spelling] = factory
    return spelling


class OwnSource:
    """What an own function builds, called with `num_classes` and with what else it takes."""

    prefix = ""
    packages: tuple[str, ...] = ()

    def build(self, name: str, asked: Asked) -> AdaptedNetwork:
        """Call the function."""
        factory = find_factory(name)
        body = _call(factory, name, asked)
        if not isinstance(body, nn.Module):
            raise ArgumentError(
                f"expected a torch.nn.Module from {name}, found {describe_value(body)}: return "
                "the network"
            )
        own = getattr(body, "default_preprocessing", Network.default_preprocessing)
        size = asked.size or own.size
        preprocessing = Preprocessing(
            **own.to_dict() | {"size": size, "resize": round(size * own.resize / own.size)}
        )
        return AdaptedNetwork(
            body,
            num_classes=asked.num_classes,
            in_channels=asked.in_channels,
            preprocessing=preprocessing,
        )

    def names(self) -> list[str]:
        """Return nothing: nobody lists the functions of the caller's."""
        return []

    def facts(self, name: str) -> Facts:  # noqa: ARG002 - as of every source
        """Return nothing."""
        return Facts()

    def why_no_weights(self, name: str) -> str | None:  # noqa: ARG002 - as of every source
        """Return an empty text: there are no published weights."""
        return ""


def with_absolute_file(spelling: str) -> str:
    """Return the spelling so that it is found from any working directory.

    Example:
        >>> with_absolute_file("package.module:function"), with_absolute_file("resnet18")
        ('package.module:function', 'resnet18')
    """
    place, _, name = spelling.rpartition(":")
    return f"{Path(place).resolve()}:{name}" if place.endswith(".py") else spelling


def without_folder(spelling: str) -> str:
    """Return the spelling as an artefact has it: a file by its name, wherever it lies.

    An artefact goes to other machines, on which a path of this one means nothing.

    Example:
        >>> without_folder("/home/me/nets.py:Tiny"), without_folder("package.module:function")
        ('nets.py:Tiny', 'package.module:function')
    """
    place, _, name = spelling.rpartition(":")
    return f"{Path(place).name}:{name}" if place.endswith(".py") else spelling


def find_loaded(spelling: str) -> str | None:
    """Return the spelling of what this process has run already, if an artefact's names just that.

    Of two files of that name, either may be meant: then it is None.
    """
    if spelling in _LOADED:
        return spelling
    found = [each for each in _LOADED if without_folder(each) == without_folder(spelling)]
    return found[0] if len(found) == 1 else None


def find_file(spelling: str, artefact: Path) -> str:
    """Return the spelling with the place of its file, which an artefact does not say.

    Args:
        spelling: as the artefact has it.
        artefact: the file lies in the working directory, beside this, or a folder above.

    Raises:
        ArgumentError: if it is in none of these.
    """
    place, _, name = spelling.rpartition(":")
    if not place.endswith(".py") or Path(place).is_file():
        return spelling
    folders = (Path(), artefact.parent, artefact.absolute().parent.parent)
    for folder in folders:
        if (path := folder / Path(place).name).is_file():
            return f"{path}:{name}"
    raise ArgumentError(
        f"expected {Path(place).name} in the working directory, beside {artefact} or a folder "
        f"above, found it in none of these: name your copy with --model FILE.py:{name}"
    )


def find_factory(spelling: str) -> Callable[..., Any]:
    """Return the function of `file.py:function` or `package.module:function`; this runs the file.

    Raises:
        ArgumentError: if there is no such file or module, or it cannot be run.
        UnknownNameError: if it has no such function.
    """
    spelling = with_absolute_file(spelling)
    if spelling in _LOADED:
        return _LOADED[spelling]
    place, _, name = spelling.rpartition(":")
    module = _load_file(place) if place.endswith(".py") else _import(place)
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        functions = [each for each, value in vars(module).items() if _builds(value, module)]
        raise UnknownNameError.of(f"function of {place}", name, functions)
    factory: Callable[..., Any] = found
    _LOADED[spelling] = factory
    return factory


def _builds(value: object, module: ModuleType) -> bool:
    return callable(value) and getattr(value, "__module__", None) == module.__name__


def _import(place: str) -> ModuleType:
    here = str(Path.cwd())  # where the person is who typed the name; after all other places
    sys.path.append(here)
    try:
        return importlib.import_module(place)
    except ImportError as error:
        if error.name and not place.startswith(error.name):
            raise ArgumentError(
                f"expected {place} to be imported, found: {error}; install what it needs"
            ) from error
        raise ArgumentError(
            f"expected a registered name, timm:NAME, torchvision:NAME, hf:NAME, FILE.py:FUNCTION "
            f"or MODULE:FUNCTION, found the module {place!r}, which cannot be imported: give the "
            "path of its file, or set PYTHONPATH"
        ) from error
    finally:
        del sys.path[len(sys.path) - 1 - sys.path[::-1].index(here)]


def _load_file(place: str) -> ModuleType:
    """Run a file as a module of its own, once in a process."""
    path = Path(place).resolve()
    main = sys.modules["__main__"]
    if getattr(main, "__file__", None) and Path(str(main.__file__)).resolve() == path:
        return main
    name = f"softonce_own_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ArgumentError(f"expected a Python file at {place}, found none: check the path")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        reason = describe_error(error)
        raise ArgumentError(
            f"expected {place} to run, found {type(error).__name__}: {reason}; mend the file"
        ) from error
    return module


def _call(factory: Callable[..., Any], name: str, asked: Asked) -> Any:
    """Call the function with what it takes of the number of classes, the channels and the size."""
    parameters = inspect.signature(factory).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    options: dict[str, Any] = dict(asked.options)
    advice = {
        "num_classes": "add it, and give the last Linear as many outputs",
        "drop_path": "leave --stochastic-depth out",
    }
    for argument, what_to_do in advice.items():
        if (value := getattr(asked, argument)) is None:
            continue
        if not takes_any and argument not in parameters:
            raise ArgumentError(
                f"expected a function with the argument {argument}, found {name}"
                f"({', '.join(parameters)}): {what_to_do}"
            )
        options[argument] = value
    if takes_any or "in_channels" in parameters:
        options["in_channels"] = asked.in_channels
    if asked.size is not None and "size" in parameters:
        options["size"] = asked.size
    try:
        return factory(**options)
    except Exception as error:
        reason = describe_error(error)
        raise ArgumentError(
            f"expected a network from {name}, found {type(error).__name__}: {reason}; mend it, or "
            f"call it with {options} to see more"
        ) from error
