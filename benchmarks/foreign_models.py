"""Write model files as Keras and scikit-learn users export them, for `adopt.py --folder`.

Run by the interpreter of an environment of its own, which has what it is asked for: `keras` needs
tensorflow and tf2onnx, `sklearn` needs scikit-learn and skl2onnx. Weights are random, or fitted on
scikit-learn's digits; beside the files lies `options.json`, what `softonce adopt` is told of each.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

SIDE = 32


def write_keras(folder: Path) -> dict[str, Any]:
    """Write Keras applications and small networks, by Keras' own export through tf2onnx."""
    import keras
    from keras import layers

    shape, weights = (SIDE, SIDE, 3), {"weights": None, "classes": 7}
    apps = keras.applications

    def network(*end: Any, start: tuple[Any, ...] = ()) -> Any:
        middle = (layers.Conv2D(8, 3, activation="relu"), layers.Flatten())
        return keras.Sequential([keras.Input(shape), *start, *middle, *end])

    models = {
        "keras_mobilenet_v2": apps.MobileNetV2(input_shape=shape, **weights),
        "keras_efficientnet_b0": apps.EfficientNetB0(input_shape=shape, **weights),
        "keras_resnet50_logits": apps.ResNet50(
            input_shape=shape, classifier_activation=None, **weights
        ),
        "keras_rescaled_softmax": network(
            layers.Dense(5, activation="softmax"),
            start=(layers.Rescaling(1 / 127.5, offset=-1),),
        ),
        "keras_binary": network(layers.Dense(1, activation="sigmoid")),
        "keras_labels": network(layers.Dense(6, activation="sigmoid")),
        "keras_two_softmaxes": network(layers.Dense(5, activation="softmax"), layers.Softmax()),
    }
    for name, model in models.items():
        model(keras.ops.zeros((1, *shape)))  # noqa: SO202 - the file is to have two
        model.export(str(folder / f"{name}.onnx"), format="onnx", verbose=False)
    known = ("keras_efficientnet_b0", "keras_rescaled_softmax")
    return {f"{name}.onnx": {} if name in known else {"range": "-1..1"} for name in models}


def write_sklearn(folder: Path) -> dict[str, Any]:
    """Write classifiers of 8 x 8 digits, whose features are pixels from 0 to 16."""
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.datasets import load_digits
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.svm import SVC

    digits = load_digits()
    models = {
        "sklearn_logistic": LogisticRegression(max_iter=2000),
        "sklearn_mlp": MLPClassifier((32,), max_iter=300, random_state=0),
        "sklearn_forest": RandomForestClassifier(20, random_state=0),
        "sklearn_svc": SVC(),
    }
    for name, model in models.items():
        model.fit(digits.data, digits.target)
        kinds = [("features", FloatTensorType([None, 64]))]
        made = convert_sklearn(model, initial_types=kinds)
        (folder / f"{name}.onnx").write_bytes(made.SerializeToString())
    asked = {"size": 8, "range": "0..255", "mean": [0], "std": [255 / 16]}
    return {f"{name}.onnx": asked for name in models} | {"sklearn_svc.onnx": {"range": "0..1"}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["keras", "sklearn"])
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    options = asked.folder / "options.json"
    known = json.loads(options.read_text()) if options.exists() else {}
    made = {"keras": write_keras, "sklearn": write_sklearn}[asked.kind](asked.folder)
    options.write_text(json.dumps(known | made, indent=1))


if __name__ == "__main__":
    main()
