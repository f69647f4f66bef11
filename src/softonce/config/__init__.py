"""What a user can set: one frozen dataclass a verb is flags, TOML, arguments and help at once."""

from softonce.config.adopt import AdoptConfig
from softonce.config.audit import AuditConfig
from softonce.config.check import CheckConfig
from softonce.config.compare import CompareConfig
from softonce.config.decide import DecideConfig
from softonce.config.demo import DemoConfig
from softonce.config.evaluate import EvaluateConfig
from softonce.config.explain import ExplainConfig
from softonce.config.export import ExportConfig
from softonce.config.inspect import InspectConfig
from softonce.config.models import ModelsConfig
from softonce.config.pack import PackConfig
from softonce.config.predict import PredictConfig
from softonce.config.serve import ServeConfig
from softonce.config.train import TrainConfig
from softonce.config.watch import WatchConfig

__all__ = [
    "AdoptConfig",
    "AuditConfig",
    "CheckConfig",
    "CompareConfig",
    "DecideConfig",
    "DemoConfig",
    "EvaluateConfig",
    "ExplainConfig",
    "ExportConfig",
    "InspectConfig",
    "ModelsConfig",
    "PackConfig",
    "PredictConfig",
    "ServeConfig",
    "TrainConfig",
    "WatchConfig",
]
