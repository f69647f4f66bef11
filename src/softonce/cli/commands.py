"""The commands in the order of work: what each is for, how it is called, where its guide is."""

from __future__ import annotations

from dataclasses import dataclass

from softonce.formats import WRITTEN

USE = "Train and use a classifier"
FIND = "Find softmax mistakes"


@dataclass(frozen=True)
class Command:
    """A command of `softonce`; its function is `softonce.cli.<name>:<name>`.

    Attributes:
        purpose: one line, for the list of commands.
        usage: what stands after the name.
        examples: what is typed first, with what it does.
        group: the heading in the list of commands.
        guide: the page of the documentation.
        note: a further line at the end of its help.
    """

    purpose: str
    usage: str
    examples: tuple[tuple[str, str], tuple[str, str]]
    group: str
    guide: str
    note: str = ""


COMMANDS = {
    "demo": Command(
        "Train and predict on digits and photographs; shows every command.",
        "[OPTIONS]",
        (
            ("softonce demo", "about a minute on two cores"),
            ("softonce demo --epochs 5 --output /tmp/demo", "shorter, elsewhere"),
        ),
        USE,
        "docs/start.md",
    ),
    "train": Command(
        "Train a classifier on a folder of images.",
        "DATA [OPTIONS]",
        (
            ("softonce train photos --output run", "the folders in photos/ are the classes"),
            ("softonce train --resume run", "continue after Ctrl-C or a crash"),
        ),
        USE,
        "docs/guides/train.md",
        "[recipe]: the default comes from the recipe, which --recipe picks; it is printed at the "
        "start and kept in config.toml.",
    ),
    "evaluate": Command(
        "Measure a classifier on a folder of images.",
        "ARTEFACT DATA [OPTIONS]",
        (
            ("softonce evaluate run photos", "the run's model on test/, or on val/"),
            (
                "softonce evaluate run photos --report page.html --predictions rows.csv",
                "a page, a table",
            ),
        ),
        USE,
        "docs/guides/evaluate.md",
    ),
    "compare": Command(
        "Compare two classifiers on the same images.",
        "A B DATA [OPTIONS]",
        (
            ("softonce compare runs/photos-1 runs/photos-2 photos", "two runs, on test/ or val/"),
            ("softonce compare run run/model.onnx photos", "an exported file with its artefact"),
        ),
        USE,
        "docs/guides/evaluate.md",
    ),
    "audit": Command(
        "Tell what a classifier's numbers mean, from its answers, and repair them.",
        "TARGET [DATA] [OPTIONS]",
        (
            ("softonce audit answers.csv --write fixed.csv", "a column a class; labels if known"),
            (
                "softonce audit http://127.0.0.1:8000/v1/predict photos",
                "a service, or a model file",
            ),
        ),
        USE,
        "docs/guides/audit.md",
    ),
    "decide": Command(
        "Store which answers a classifier withholds, and which sets of classes it gives.",
        "ARTEFACT DATA [OPTIONS]",
        (
            ("softonce decide run photos --accuracy 0.95", "withhold what it is unsure of"),
            ("softonce decide run photos --coverage 0.9", "a set of classes with each answer"),
        ),
        USE,
        "docs/guides/decide.md",
    ),
    "predict": Command(
        "Classify images.",
        "ARTEFACT IMAGES... [OPTIONS]",
        (
            ("softonce predict run cat.jpg holiday/", "files, folders, 'patterns/*.jpg'"),
            ("softonce predict run photos --format csv > answers.csv", "for other programs"),
        ),
        USE,
        "docs/guides/predict.md",
    ),
    "export": Command(
        f"Write a classifier as {', '.join(WRITTEN)}, and compare the file with it.",
        "ARTEFACT [OPTIONS]",
        (
            ("softonce export run", "writes run/model.onnx"),
            ("softonce export run --to openvino --precision int8", "the fastest on most CPUs"),
        ),
        USE,
        "docs/guides/export.md",
    ),
    "adopt": Command(
        "Make a classifier of another program's model file, and compare it.",
        "MODEL [DATA] [OPTIONS]",
        (
            ("softonce adopt other.onnx photos -o own.onnx", "labelled images settle the rest"),
            ("softonce adopt other.onnx --range 0..1 --classes names.txt", "without images"),
        ),
        USE,
        "docs/guides/adopt.md",
    ),
    "serve": Command(
        "Answer requests with images over HTTP; with a web page to try it.",
        "[[NAME=]FILE...] [OPTIONS]",
        (
            ("softonce serve run", "then open http://127.0.0.1:8000"),
            ("softonce serve run/model.onnx --host 0.0.0.0 --port 80", "for other machines"),
        ),
        USE,
        "docs/guides/serve.md",
    ),
    "inspect": Command(
        "Show what a model file contains and what its outputs mean.",
        "FILE [OPTIONS]",
        (
            ("softonce inspect run", "classes, preprocessing, temperature, figures"),
            ("softonce inspect foreign.onnx", "logits or probabilities?"),
        ),
        USE,
        "docs/guides/predict.md",
    ),
    "models": Command(
        "List the networks that can be trained, of every installed source.",
        "[PATTERN] [OPTIONS]",
        (
            ("softonce models 'resnet*'", "in every source; parameters, pixels, accuracy"),
            ("softonce models 'timm:convnext*'", "of timm; --model takes the names"),
        ),
        USE,
        "docs/guides/train.md",
    ),
    "pack": Command(
        "Copy images into tar shards, which are read at random and shuffled exactly.",
        "DATA OUTPUT [OPTIONS]",
        (
            ("softonce pack photos shards", "then: softonce train shards"),
            ("softonce pack photos shards --shard-size 200", "tar files of 200 MB"),
        ),
        USE,
        "docs/guides/data.md",
    ),
    "check": Command(
        "Find second softmaxes and other score mistakes in source code; runs nothing.",
        "[PATHS...] [OPTIONS]",
        (
            ("softonce check .", "every Python file below this folder"),
            ("softonce check train.py --fix", "make the safe repairs"),
        ),
        FIND,
        "docs/guides/check.md",
    ),
    "watch": Command(
        "Run a script and report which of its losses get the wrong kind of scores.",
        "[OPTIONS] SCRIPT [ARGUMENTS...]",
        (
            ("softonce watch train.py --lr 0.1", "what follows the script is the script's own"),
            ("softonce watch --steps 100 train.py", "look at the first 100 steps"),
        ),
        FIND,
        "docs/guides/watch.md",
    ),
    "explain": Command(
        "Explain a rule of the checker, or the softmax and loss of a row of logits.",
        "[RULE] [OPTIONS]",
        (
            ("softonce explain SO101", "one rule, with examples; without a code, all rules"),
            ("softonce explain --logits 2.0,0.5,-1 --target 0", "one softmax, and two"),
        ),
        FIND,
        "docs/guides/check.md",
    ),
}
