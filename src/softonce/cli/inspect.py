"""`softonce inspect`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from softonce.config import InspectConfig
from softonce.run_folder import model_file

if TYPE_CHECKING:
    from pathlib import Path

    from softonce.checker.graph import ModelFile, Output


def inspect(config: InspectConfig) -> int:
    """Show what a model file puts out and says of itself.

    Of a model file of any format, the kind of every output and the node that makes it. Nothing is
    unpickled and no tensor is read. With `--expect` the status is 1 unless an output holds what is
    expected and no rule is broken.
    """
    from softonce.checker.graph import read_model

    file = model_file(config.file)
    model = read_model(file)
    if config.json:
        print(json.dumps(_record(model), ensure_ascii=False))  # noqa: T201 - the result
    else:
        _print_record(file, model)
        _print_outputs(model)
    return 0 if config.expect is None else _compare(config.expect, model)


def _compare(expected: str, model: ModelFile) -> int:
    """Return 0 if the model is as expected, else print why not and return 1."""
    from softonce.checker.flow import describe
    from softonce.checker.kinds import Kind
    from softonce.console import print_error

    kinds = {
        "logits": Kind.LOGITS,
        "probabilities": Kind.P | Kind.BP,
        "log-probabilities": Kind.LOGP | Kind.BLOGP,
    }
    wanted = kinds[expected]
    if not any(output.kind and not output.kind & ~wanted for output in model.outputs):
        found = ", ".join(f"{output.name} with {describe(output.kind)}" for output in model.outputs)
        print_error(f"expected an output with {expected}, found {found}")
        return 1
    return 1 if model.findings else 0


def _record(model: ModelFile) -> dict[str, object]:
    return {
        **(model.record or {}),
        "file": model.format,
        "outputs": [output.to_dict() for output in model.outputs],
        "findings": [{"code": f.code, "message": f.message} for f in model.findings],
    }


def _print_record(path: Path, model: ModelFile) -> None:
    """Print what softonce wrote into the file, if it did."""
    if model.record is not None:
        from softonce.artefact import Metadata
        from softonce.cli.tables import print_metadata

        print_metadata(Metadata.from_json(json.dumps(model.record), path))


def _print_outputs(model: ModelFile) -> None:
    from rich.table import Table
    from rich.text import Text

    from softonce.console.plain import PlainConsole

    table = Table(
        "output", "contents", "computed by", box=None, pad_edge=False, title_justify="left"
    )
    for output in model.outputs:
        table.add_row(*(Text(cell) for cell in (output.name, _holds(output), _made_by(output))))
    console = PlainConsole(highlight=False)
    console = console if console.is_terminal else PlainConsole(highlight=False, width=160)
    if model.record is not None:
        console.print()
    console.print(table)
    for finding in model.findings:
        line = f"{finding.severity.value} {finding.code} {finding.place}: {finding.message}"
        console.print(Text(line), soft_wrap=True)


def _holds(output: Output) -> str:
    from softonce.checker.flow import describe

    along = "" if output.axis is None else f" along axis {output.axis}"
    return f"{describe(output.kind)}{along}"


def _made_by(output: Output) -> str:
    through = f", then {', '.join(output.through)}" if output.through else ""
    return f"{output.node}{through}"
