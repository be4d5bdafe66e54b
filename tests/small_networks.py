"""Every network of the zoo, small, for 5 classes and images that are not square."""

from saliency.models.zoo import (
    alexnet,
    convnext,
    densenet,
    efficientnet_lite,
    inception,
    mobilenet,
    resnet,
    squeezenet,
    vgg,
    vit,
    zfnet,
)
from saliency.models.zoo.scenes_cnn import scenes_cnn

BLOCKS = ((4, 4), (6,))
WIDTHS = (4, 6, 4, 6, 4)
FIRES = ((2, 3), None, (3, 4))
STAGES = ((1, 3, 1, 1, 3), (2, 5, 2, 2, 4), (2, 3, 2, 2, 4))
MODULES = (("3a", (4, 3, 5, 2, 3, 4)), None, ("4a", (3, 2, 4, 3, 2, 5)))
TRANSFORMER = {"width": 6, "depth": 2, "heads": 2, "patch": 8, "classes": 5, "size": (16, 24)}
SMALL = {
    "scenes_cnn": lambda: scenes_cnn(((4,), (6, 6)), size=(14, 18)),
    "vgg16": lambda: vgg.vgg16(BLOCKS, 8, 5, (12, 20)),
    "vgg16_bn": lambda: vgg.vgg16_bn(BLOCKS, 8, 5, (12, 20)),
    "alexnet": lambda: alexnet.alexnet(WIDTHS, 8, 5, (70, 90)),
    "alexnet_2012": lambda: alexnet.alexnet_2012(WIDTHS, 8, 5, (75, 91)),
    "zfnet512": lambda: zfnet.zfnet512(WIDTHS, (8, 7), 5, (60, 76)),
    "squeezenet1_0": lambda: squeezenet.squeezenet1_0(4, FIRES, 5, (33, 40)),
    "squeezenet1_1": lambda: squeezenet.squeezenet1_1(4, FIRES, 5, (33, 40)),
    "resnet18": lambda: resnet.resnet18((2, 3), (1, 2), 5, (33, 40)),
    "resnet50": lambda: resnet.resnet50((2, 3), (1, 2), 5, (33, 40)),
    "resnet50_v1": lambda: resnet.resnet50_v1((2, 3), (1, 2), 5, (33, 40)),
    "densenet121": lambda: densenet.densenet121((1, 2), 3, 4, 5, (33, 40)),
    "inception_v1": lambda: inception.inception_v1((3, 4, 5), MODULES, 5, (40, 33)),
    "mobilenetv2": lambda: mobilenet.mobilenetv2(STAGES, (4, 6), 5, (33, 40)),
    "efficientnet_lite0": lambda: efficientnet_lite.efficientnet_lite0(STAGES, (4, 6), 5, (33, 40)),
    "efficientnet_lite0_ra": lambda: efficientnet_lite.efficientnet_lite0_ra(STAGES, (4, 6), 5, (33, 40)),
    "convnext_tiny": lambda: convnext.convnext_tiny((4, 6), (1, 1), 5, (33, 40)),
    "vit_small": lambda: vit.vit(**TRANSFORMER),
}
# the same functions with other numbers
REPRESENTED = {f"efficientnet_lite{i}" for i in range(1, 5)} | {
    "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg19", "vgg19_bn", "resnet34", "resnet101", "vit_base", "deit_small",
    "deit_base", "dino_small", "dino_base",
}  # fmt: skip
