from . import losses as losses
from . import models as models
from .checker.runtime import watch as watch
from .config import EvaluateConfig as EvaluateConfig
from .config import InspectConfig as InspectConfig
from .config import PredictConfig as PredictConfig
from .config import TrainConfig as TrainConfig
from .engines.networks import load as load
from .evaluation import evaluate as evaluate
from .losses import CrossEntropyLoss as CrossEntropyLoss
from .losses import LinearCrossEntropyLoss as LinearCrossEntropyLoss
from .losses import LogSoftmax as LogSoftmax
from .losses import NLLLoss as NLLLoss
from .losses import ShardedLinear as ShardedLinear
from .losses import Softmax as Softmax
from .losses import cross_entropy as cross_entropy
from .losses import gather_rows as gather_rows
from .losses import linear_cross_entropy as linear_cross_entropy
from .losses import log_softmax as log_softmax
from .losses import nll_loss as nll_loss
from .losses import sharded_linear_cross_entropy as sharded_linear_cross_entropy
from .losses import softmax as softmax
from .models import create_model as create_model
from .models import list_models as list_models
from .prediction import predict as predict
from .training.run import train as train

__version__: str
