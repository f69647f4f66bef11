"""Networks that take images and give logits, and the weights to fill them with.

Every network is a `Network`: images -> features -> logits, one Linear head, and nothing after that.
Our own builders (`resnet`, `cifar`) are in the registry; those of other libraries and of the caller
are adapters (`sources`, `adapted`), whose head is found by running the network once on noise: it is
the module that made the output. Whether it really ends in logits is verified before
the first step of training (`softonce.training.contract`), which this room knows nothing about.

Weights go through four steps: a record or a file (`weights`, `download`), tensors without running
any code (`weight_files`), the network within what a trainer has saved (`alignment`), and names,
head and stem made to fit (`state_dicts`). What is left out is named.
"""

from softonce.models.blocks import BasicBlock, Bottleneck
from softonce.models.cifar import (
    CifarResNet,
    cifar_resnet20,
    cifar_resnet32,
    cifar_resnet44,
    cifar_resnet56,
    cifar_resnet110,
    cifar_resnet1202,
)
from softonce.models.network import Network, architecture_of
from softonce.models.registry import (
    create_model,
    list_models,
    load_weights,
    register,
)
from softonce.models.resnet import (
    ResNet,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
    resnext50_32x4d,
    resnext101_32x8d,
    resnext101_64x4d,
    wide_resnet50_2,
    wide_resnet101_2,
)
from softonce.models.state_dicts import LoadReport
from softonce.models.weights import (
    ResNet18_Weights,
    ResNet34_Weights,
    ResNet50_Weights,
    ResNet101_Weights,
    ResNet152_Weights,
    ResNeXt50_32X4D_Weights,
    ResNeXt101_32X8D_Weights,
    ResNeXt101_64X4D_Weights,
    WeightsEnum,
    Wide_ResNet50_2_Weights,
    Wide_ResNet101_2_Weights,
    get_weight,
    imagenet_classes,
    list_weights,
)

__all__ = [
    "BasicBlock",
    "Bottleneck",
    "CifarResNet",
    "LoadReport",
    "Network",
    "ResNeXt50_32X4D_Weights",
    "ResNeXt101_32X8D_Weights",
    "ResNeXt101_64X4D_Weights",
    "ResNet",
    "ResNet18_Weights",
    "ResNet34_Weights",
    "ResNet50_Weights",
    "ResNet101_Weights",
    "ResNet152_Weights",
    "WeightsEnum",
    "Wide_ResNet50_2_Weights",
    "Wide_ResNet101_2_Weights",
    "architecture_of",
    "cifar_resnet20",
    "cifar_resnet32",
    "cifar_resnet44",
    "cifar_resnet56",
    "cifar_resnet110",
    "cifar_resnet1202",
    "create_model",
    "get_weight",
    "imagenet_classes",
    "list_models",
    "list_weights",
    "load_weights",
    "register",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
]
