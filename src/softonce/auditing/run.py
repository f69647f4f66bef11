"""A target and options become an audit."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from softonce.auditing.answers import Answers, Fields, check_answers
from softonce.auditing.findings import Finding
from softonce.auditing.labelled import (
    findings_of_labels,
    findings_of_saturation,
    measure_labelled,
)
from softonce.auditing.reading import SUFFIXES, read_answers
from softonce.auditing.recognition import recognize
from softonce.auditing.result import Audit, sort_findings
from softonce.auditing.steadiness import NUM_PICTURES, findings_of_asking
from softonce.auditing.verdicts import findings_of
from softonce.config import AuditConfig, EvaluateConfig
from softonce.config.keywords import config_of
from softonce.console import progress, visible_notes
from softonce.errors import ConfigError, DataError
from softonce.formats import format_of
from softonce.run_folder import model_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from softonce.auditing.labelled import Labelled
    from softonce.auditing.pictures import Pictures
    from softonce.auditing.recognition import Recognition
    from softonce.auditing.steadiness import Respondent
    from softonce.config.fields import Data

TOKEN = "SOFTONCE_TOKEN"  # noqa: S105 - the name of a variable
_GRAPHS = (".onnx", ".xml")


def audit(config: AuditConfig | Data, *data: Data, **options: Any) -> Audit:
    """Tell what a classifier's numbers mean and whether they can be trusted.

    Args:
        config: the options of `softonce audit`, or the target: a file of answers, a model file or
            the address of a service.
        data: the images, if a model file or a service is given.
        options: fields of `AuditConfig` by name.

    Raises:
        SoftonceError: if the target or the data cannot be used.

    Example:
        >>> audit("no_such.csv")
        Traceback (most recent call last):
        softonce.errors.DataError: expected a file of answers at no_such.csv, found: ...
    """
    settled = config_of(AuditConfig, config, *data, **options)
    with visible_notes(quiet=settled.quiet):
        return _audit(settled)


def _audit(config: AuditConfig) -> Audit:
    target = str(config.target)
    if target.lower().startswith(("http://", "https://")):
        answers, respondent, pictures, extra = _of_service(config)
    elif Path(target).suffix.lower() in SUFFIXES:
        if config.data is not None:
            raise ConfigError(
                f"expected no DATA beside a file of answers, found {config.data}: "
                "its labels are in it"
            )
        answers = read_answers(Path(target), Fields(config.field, config.label_col))
        respondent, pictures, extra = None, [], []
    else:
        answers, respondent, pictures, extra = _of_model(config)
    if config.expect is not None:
        answers = replace(answers, claim=config.expect)
    found = recognize(check_answers(answers))
    labelled = None
    if answers.target is not None:
        labelled = measure_labelled(found, answers.target, answers.classes, seed=config.seed)
    findings = [*_findings(found, answers, labelled, config), *extra]
    if respondent is not None:
        findings += findings_of_asking(respondent, pictures[:NUM_PICTURES], found.scale)
    return Audit(target, answers, found, sort_findings(findings), labelled)


def _findings(
    found: Recognition, answers: Answers, labelled: Labelled | None, config: AuditConfig
) -> Iterator[Finding]:
    yield from findings_of(found, answers)
    yield from findings_of_saturation(found, answers.target)
    if labelled is not None:
        yield from findings_of_labels(labelled)
    if config.max_ece is not None:
        yield _of_limit(labelled, config.max_ece)


def _of_limit(labelled: Labelled | None, limit: float) -> Finding:
    """Return whether the ECE is certainly above what is allowed."""
    if labelled is None:
        raise ConfigError("expected labels for --max-ece, found none: name them with --label-col")
    found = labelled.served
    low, high = found.intervals.get("ece", (found.ece, found.ece))
    evidence = f"ECE {found.ece:.2%}, 95 % interval {low:.2%} to {high:.2%}"
    if low > limit:
        words = f"the calibration error is above {limit:.2%}"
        return Finding(
            "calibration", "fault", words, evidence, "certain", "--write FILE calibrates"
        )
    words = f"the calibration error is not shown to be above {limit:.2%}"
    return Finding("calibration", "note", words, evidence)


_Asked = tuple[Answers, "Respondent | None", list[bytes], list[Finding]]


def _of_service(config: AuditConfig) -> _Asked:
    from softonce.auditing.asking import Service

    service = Service.of(
        str(config.target), form=config.ask, field=config.field, seconds=config.timeout,
        token=_read_token(config.token_file),
    )  # fmt: skip
    return _ask_about(service, config, [])


def _of_model(config: AuditConfig) -> _Asked:
    path = model_file(Path(config.target))
    if config.data is None:
        raise ConfigError(
            f"expected images beside a model file, found only {path}: softonce audit {path} DATA; "
            f"answers are read from {' '.join(SUFFIXES)}"
        )
    if path.suffix.lower() not in _GRAPHS or not path.is_file():
        return _of_own(config)
    form = format_of(path)
    assert form is not None  # noqa: S101 - of these suffixes
    graph = form.read(path)
    if graph.record is not None:
        return _of_own(config)
    from softonce.auditing.models import open_foreign

    in_graph = [
        Finding("graph", "fault", f.message, f"{f.code} at {f.place} of the graph", "certain")
        for f in graph.findings
    ]
    return _ask_about(open_foreign(path, config), config, in_graph)


def _of_own(config: AuditConfig) -> _Asked:
    """Ask a model file of ours about the images that it was not trained on."""
    from softonce.auditing.models import OwnModel
    from softonce.evaluation import evaluate
    from softonce.inference import array_probs

    names = ("batch_size", "engine", "threads", "trust", "device", "seed")
    paths = (config.target, str(config.data))
    options = {name: getattr(config, name) for name in names}
    found = evaluate(EvaluateConfig(paths, **options, quiet=config.quiet))
    assert found.engine is not None  # noqa: S101 - evaluate has made it
    samples = found.scan.samples
    probs = array_probs(found.logits.double().numpy(), temperature=found.temperature)
    place = str(config.target)
    answers = Answers(probs, found.classes, place, samples.target, "probabilities")
    order = np.random.default_rng(config.seed).permutation(len(samples))[:NUM_PICTURES]
    pictures = [samples.read(index) for index in order.tolist()]
    return answers, OwnModel(found.engine, place), pictures, []


def _ask_about(respondent: Respondent, config: AuditConfig, extra: list[Finding]) -> _Asked:
    from softonce.auditing.pictures import draw_pictures
    from softonce.auditing.reading import join_scores
    from softonce.auditing.shapes import Scores

    if config.data is None:
        raise ConfigError(
            f"expected images to ask {config.target} about, found none: softonce audit "
            f"{config.target} DATA"
        )
    pictures = draw_pictures(config.data, config.limit, seed=config.seed)
    parts = []
    with progress("asking", len(pictures.files)) as advance:
        for start in range(0, len(pictures.files), config.batch_size):
            asked = pictures.files[start : start + config.batch_size]
            parts.append(respondent.ask(asked))
            advance(len(asked))
    if len({part.classes for part in parts}) == 1:
        answers = replace(parts[0], values=np.concatenate([part.values for part in parts]))
    else:  # each answer mentions classes of its own
        rows = [
            Scores({name: v for name, v in zip(part.classes, row, strict=True) if v == v}, True)
            for part in parts
            for row in part.values.tolist()
        ]
        answers = join_scores(rows, parts[0].place, claim=parts[0].claim)
    answers, notes = _with_labels(answers, pictures)
    return answers, respondent, pictures.files, [*extra, *notes]


def _with_labels(answers: Answers, pictures: Pictures) -> tuple[Answers, Sequence[Finding]]:
    """Match the labels of DATA with the classes of the answers, by name or by place."""
    if pictures.labels is None:
        return answers, []
    is_numbered = list(answers.classes) == list(map(str, range(len(answers.classes))))
    classes = answers.classes
    if is_numbered and len(pictures.classes) == len(classes):
        classes = pictures.classes
    places = {name: index for index, name in enumerate(classes)}
    if unknown := sorted(set(pictures.labels) - places.keys()):
        words = "the labels of the images are not used"
        reason = f"no class is called {', '.join(unknown[:5])} in the answers"
        fix = "name the folders as the classifier names its classes"
        return answers, [Finding("labels", "warning", words, reason, "certain", fix)]
    target = np.array([places[label] for label in pictures.labels], np.int64)
    return replace(answers, classes=classes, target=target), []


def _read_token(path: Path | None) -> str | None:
    """Return the token of a service, of a file or of the environment: never of the command line.

    Raises:
        DataError: if the file cannot be read.
    """
    if path is None:
        return os.environ.get(TOKEN)
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"expected a token in {path}, found: {error}; check the path") from error
