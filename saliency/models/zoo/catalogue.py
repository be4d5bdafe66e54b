"""Every network by name: what builds it, and whose checkpoints hold it, under which names of tensors."""

from collections.abc import Callable
from dataclasses import replace

from saliency.models.checkpoints import KERAS, TORCH, Scheme, unchanged
from saliency.models.graph import Architecture
from saliency.models.preprocessing import Preprocessing
from saliency.models.zoo import alexnet, efficientnet_lite, inverted, mobilenet, resnet, squeezenet, vgg
from saliency.models.zoo.numbered import numbered
from saliency.models.zoo.scenes_cnn import scenes_cnn

ARCHITECTURES: dict[str, Callable[..., Architecture]] = {
    "scenes_cnn": scenes_cnn,
    "squeezenet1_1": squeezenet.squeezenet1_1,
    "vgg16": vgg.vgg16,
    "vgg16_bn": vgg.vgg16_bn,
    "alexnet": alexnet.alexnet,
    "alexnet_2012": alexnet.alexnet_2012,
    "resnet50": resnet.resnet50,
    "resnet50_v1": resnet.resnet50_v1,
    "efficientnet_lite0": efficientnet_lite.efficientnet_lite0,
    "efficientnet_lite0_ra": efficientnet_lite.efficientnet_lite0_ra,
    "efficientnet_lite1": efficientnet_lite.efficientnet_lite1,
    "efficientnet_lite2": efficientnet_lite.efficientnet_lite2,
    "efficientnet_lite3": efficientnet_lite.efficientnet_lite3,
    "efficientnet_lite4": efficientnet_lite.efficientnet_lite4,
    "mobilenetv2": mobilenet.mobilenetv2,
}
TORCHVISION = Preprocessing((224, 224), shorter=256)
CAFFE = Preprocessing(
    (224, 224), shorter=256, order="bgr", scale=1.0, mean=(103.939, 116.779, 123.68), std=(1.0, 1.0, 1.0)
)
TIMM = replace(TORCHVISION, interpolation="bicubic")
_TENSORFLOW = replace(TORCH, epsilon=1e-3)  # trained there, published for PyTorch


def _lite(side: int) -> Preprocessing:
    """EfficientNet-Lite's: (pixel - 127) / 128, bicubic, 16 px of the resized photo cut off on either side."""
    mean, std = (127.0,) * 3, (128.0,) * 3
    return Preprocessing((side, side), "crop", side + 32, "rgb", 1.0, mean, std, "bicubic")


def _efficientnet_lite(number: int, side: int) -> tuple[Scheme, ...]:
    network = f"efficientnet_lite{number}"
    own = Scheme("efficientnet_pytorch", network, _TENSORFLOW, efficientnet_lite.pytorch_names, _lite(side))
    if number:
        return own, Scheme("timm", network, _TENSORFLOW, inverted.timm_names, _lite(side))
    return own, *SCHEMES["efficientnet_lite0_ra"]


_TIMM_HEAD = ("pre_logits.fc1", "pre_logits.fc2", "head.fc")
_VGG_HEAD = ("classifier.0", "classifier.3", "classifier.6")
_ALEXNET_HEAD = ("classifier.1", "classifier.4", "classifier.6")
SCHEMES: dict[str, tuple[Scheme, ...]] = {
    "squeezenet1_1": (Scheme("torchvision", "squeezenet1_1", TORCH, squeezenet.torchvision_names, TORCHVISION),),
    "vgg16": (
        Scheme("torchvision", "vgg16", TORCH, numbered(*_VGG_HEAD), TORCHVISION),
        Scheme("timm", "vgg16", TORCH, numbered(*_TIMM_HEAD), TORCHVISION),
        Scheme("Keras", "vgg16", KERAS, vgg.keras_names, CAFFE),
    ),
    "vgg16_bn": (
        Scheme("torchvision", "vgg16_bn", TORCH, numbered(*_VGG_HEAD, norm=True), TORCHVISION),
        Scheme("timm", "vgg16_bn", TORCH, numbered(*_TIMM_HEAD, norm=True), TORCHVISION),
    ),
    "alexnet": (Scheme("torchvision", "alexnet", TORCH, numbered(*_ALEXNET_HEAD), TORCHVISION),),
    "alexnet_2012": (Scheme("Caffe", "alexnet_2012", TORCH, unchanged, replace(CAFFE, size=(227, 227))),),
    "resnet50": (
        Scheme("torchvision", "resnet50", TORCH, resnet.torchvision_names, TORCHVISION),
        Scheme("Keras", "resnet50_v1", KERAS, resnet.keras_names, CAFFE),
    ),
    "resnet50_v1": (Scheme("Keras", "resnet50_v1", KERAS, resnet.keras_names, CAFFE),),
    "efficientnet_lite0_ra": (Scheme("timm", "efficientnet_lite0_ra", TORCH, inverted.timm_names, TIMM),),
    "mobilenetv2": (
        Scheme("torchvision", "mobilenetv2", TORCH, mobilenet.torchvision_names, TORCHVISION),
        Scheme("timm", "mobilenetv2", TORCH, inverted.timm_names, TIMM),
    ),
}
for _number, _side in enumerate((224, 240, 260, 280, 300)):
    SCHEMES[f"efficientnet_lite{_number}"] = _efficientnet_lite(_number, _side)
