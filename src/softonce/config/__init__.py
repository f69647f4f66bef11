"""What a user can set: one frozen dataclass a verb is flags, TOML, arguments and help at once."""

from softonce.config.demo import DemoConfig
from softonce.config.evaluate import EvaluateConfig
from softonce.config.export import ExportConfig
from softonce.config.inspect import InspectConfig
from softonce.config.pack import PackConfig
from softonce.config.predict import PredictConfig
from softonce.config.serve import ServeConfig
from softonce.config.train import TrainConfig

__all__ = [
    "DemoConfig",
    "EvaluateConfig",
    "ExportConfig",
    "InspectConfig",
    "PackConfig",
    "PredictConfig",
    "ServeConfig",
    "TrainConfig",
]
