"""Every network by name: what builds it, under which names checkpoints hold it, and what was published of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from saliency.models.checkpoints import KERAS, TORCH, Renewed, Scheme, parameter_count, unchanged
from saliency.models.graph import Architecture
from saliency.models.preprocessing import Preprocessing
from saliency.models.zoo import (
    alexnet,
    convnext,
    densenet,
    efficientnet_lite,
    inception,
    inverted,
    mobilenet,
    resnet,
    squeezenet,
    vgg,
    vit,
    zfnet,
)
from saliency.models.zoo.numbered import numbered
from saliency.models.zoo.scenes_cnn import scenes_cnn

Build = Callable[..., Architecture]


@dataclass(frozen=True)
class Entry:
    """A network of the zoo. `schemes` are the ways of publishing it, the first the one that figures belong to.

    `weights` says whose they are, `licence` under which terms; `top1` is the accuracy published for them on ImageNet's
    validation photos, in percent; `listed` names the list it stands in, which docs/networks.md links, or says why there
    is none; `hub` is the id of a Hugging Face repository.
    """

    build: Build
    schemes: tuple[Scheme, ...] = ()
    paper: str = ""
    weights: str = ""
    licence: str = ""
    top1: float | None = None
    listed: str = ""
    hub: str = ""


TORCHVISION = Preprocessing((224, 224), shorter=256)
CAFFE = Preprocessing(
    (224, 224), shorter=256, order="bgr", scale=1.0, mean=(103.939, 116.779, 123.68), std=(1.0, 1.0, 1.0)
)
TIMM = replace(TORCHVISION, interpolation="bicubic")
HALVES = Preprocessing((224, 224), shorter=256, mean=(0.5,) * 3, std=(0.5,) * 3)
_EPSILON_1E3 = replace(TORCH, epsilon=1e-3)
_VGG_HEAD = ("classifier.0", "classifier.3", "classifier.6")
_TIMM_HEAD = ("pre_logits.fc1", "pre_logits.fc2", "head.fc")
_BSD = "BSD-3-Clause"


def _vgg(name: str, build: Build, top1: float) -> Entry:
    norm = name.endswith("_bn")
    schemes = [
        Scheme("torchvision", name, TORCH, numbered(*_VGG_HEAD, norm=norm), TORCHVISION),
        Scheme("timm", name, TORCH, numbered(*_TIMM_HEAD, norm=norm), TORCHVISION),
    ]
    if name in ("vgg16", "vgg19"):
        schemes.append(Scheme("Keras", name, KERAS, vgg.keras_names, CAFFE))
    paper, hub = "Simonyan & Zisserman 2015", f"timm/{name}.tv_in1k"
    return Entry(build, tuple(schemes), paper, "torchvision", _BSD, top1, "torchvision", hub)


def _second(first: tuple[str, ...], digest: str) -> Renewed:
    """torchvision's IMAGENET1K_V2 beside its first weights: the beginnings of the digests, as its files' names have
    them (torchvision/models, `_utils` and the networks' own modules)."""
    return Renewed(("imagenet1k_v2", digest), ("imagenet1k_v1", *first), replace(TORCHVISION, shorter=232))


def _resnet(name: str, build: Build, top1: float, *others: Scheme, renewed: Renewed | None = None) -> Entry:
    first = Scheme("torchvision", name, TORCH, resnet.torchvision_names, TORCHVISION, renewed=renewed)
    schemes = (first, *others)
    return Entry(build, schemes, "He et al. 2016", "torchvision", _BSD, top1, "torchvision", f"timm/{name}.tv_in1k")


def _efficientnet_lite(number: int, build: Build, side: int, top1: float) -> Entry:
    """(pixel - 127) / 128, 16 px of the resized photo cut off on either side; Google resized bilinearly without
    antialiasing, which timm found bicubic to be nearer to at the smaller sizes."""
    name, mean, std = f"efficientnet_lite{number}", (127.0,) * 3, (128.0,) * 3
    entry = Preprocessing((side, side), "crop", side + 32, "rgb", 1.0, mean, std, "bicubic")
    own = Scheme("efficientnet_pytorch", name, _EPSILON_1E3, efficientnet_lite.pytorch_names, entry)
    other = Scheme("timm", name, _EPSILON_1E3, inverted.timm_names, entry)
    if not number:  # timm trained another one, whose tensors bear the same names
        other = replace(other, told_by=f"tf_{name}", otherwise=f"{name}_ra")
    paper = "Liu 2020, after Tan & Le 2019"
    hub = f"timm/tf_{name}.in1k"
    return Entry(build, (own, other), paper, "Google, TensorFlow", "Apache-2.0", top1, "Google", hub)


def _vit(name: str, weights: str, top1: float | None, listed: str, hub: str, entry: Preprocessing) -> Entry:
    width, heads = (384, 6) if name.endswith("small") else (768, 12)
    schemes = [Scheme("timm", name, TORCH, vit.timm_names, entry)]
    if name == "vit_base":
        schemes += [
            Scheme("torchvision", name, TORCH, vit.torchvision_names, TORCHVISION),
            Scheme("torchvision's first", name, TORCH, vit.first_torchvision_names, TORCHVISION),
        ]
    paper = {"vit": "Dosovitskiy et al. 2021", "dei": "Touvron et al. 2021", "din": "Caron et al. 2021"}[name[:3]]
    build = partial(vit.vit, width, heads=heads, name=name)
    return Entry(build, tuple(schemes), paper, weights, "Apache-2.0", top1, listed, f"timm/{hub}")


_LITE0_RA = Scheme("timm", "efficientnet_lite0_ra", TORCH, inverted.timm_names, TIMM)
_KERAS_RESNET = Scheme("Keras", "resnet50_v1", KERAS, resnet.keras_names, CAFFE)
_AUGREG = replace(HALVES, shorter=248, interpolation="bicubic")
_ONNX = replace(TORCH, kernel="w_0", bias="b_0")
_236 = replace(TORCHVISION, shorter=236)
ZOO: dict[str, Entry] = {
    "scenes_cnn": Entry(scenes_cnn, (), "ours", "`python -m scripts.train_classifier`", "MIT"),
    "squeezenet1_0": Entry(
        squeezenet.squeezenet1_0,
        (Scheme("torchvision", "squeezenet1_0", TORCH, squeezenet.torchvision_names, TORCHVISION),),
        "Iandola et al. 2016", "torchvision", _BSD, 58.1, "torchvision",
    ),
    "squeezenet1_1": Entry(
        squeezenet.squeezenet1_1,
        (Scheme("torchvision", "squeezenet1_1", TORCH, squeezenet.torchvision_names, TORCHVISION),),
        "Iandola et al. 2016", "torchvision", _BSD, 58.2, "torchvision",
    ),
    "vgg11": _vgg("vgg11", vgg.vgg11, 69.0),
    "vgg11_bn": _vgg("vgg11_bn", vgg.vgg11_bn, 70.4),
    "vgg13": _vgg("vgg13", vgg.vgg13, 69.9),
    "vgg13_bn": _vgg("vgg13_bn", vgg.vgg13_bn, 71.6),
    "vgg16": _vgg("vgg16", vgg.vgg16, 71.6),
    "vgg16_bn": _vgg("vgg16_bn", vgg.vgg16_bn, 73.4),
    "vgg19": _vgg("vgg19", vgg.vgg19, 72.4),
    "vgg19_bn": _vgg("vgg19_bn", vgg.vgg19_bn, 74.2),
    "alexnet": Entry(
        alexnet.alexnet,
        (
            Scheme(
                "torchvision", "alexnet", TORCH, numbered("classifier.1", "classifier.4", "classifier.6"), TORCHVISION
            ),
        ),
        "Krizhevsky 2014", "torchvision", _BSD, 56.5, "torchvision",
    ),
    "alexnet_2012": Entry(
        alexnet.alexnet_2012,
        (Scheme("Caffe", "alexnet_2012", TORCH, unchanged, replace(CAFFE, size=(227, 227))),),
        "Krizhevsky et al. 2012: LRN, groups", "Caffe's `bvlc_alexnet`", "unrestricted", 57.1, "Caffe",
    ),
    "zfnet512": Entry(
        zfnet.zfnet512, (Scheme("ONNX model zoo", "zfnet512", _ONNX, zfnet.onnx_names, CAFFE),),
        "Zeiler & Fergus 2014", "ONNX model zoo's `zfnet512`", "MIT", None, "none published",
    ),
    "resnet18": _resnet("resnet18", resnet.resnet18, 69.8),
    "resnet34": _resnet("resnet34", resnet.resnet34, 73.3),
    "resnet50": _resnet(
        "resnet50", resnet.resnet50, 76.1, _KERAS_RESNET, renewed=_second(("0676ba61", "19c8e357"), "11ad3fa6")
    ),
    "resnet50_v1": Entry(resnet.resnet50_v1, (_KERAS_RESNET,), "He et al. 2016", "Keras", "MIT", 74.9, "Keras"),
    "resnet101": _resnet(
        "resnet101", resnet.resnet101, 77.4, renewed=_second(("63fe2227", "5d3b4d8f"), "cd907fc2")
    ),
    "densenet121": Entry(
        densenet.densenet121,
        (
            Scheme("torchvision", "densenet121", TORCH, densenet.torchvision_names, TORCHVISION),
            Scheme("torchvision's first", "densenet121", TORCH, densenet.first_torchvision_names, TORCHVISION),
        ),
        "Huang et al. 2017", "torchvision", _BSD, 74.4, "torchvision", "timm/densenet121.tv_in1k",
    ),
    "inception_v1": Entry(
        inception.inception_v1,
        (
            Scheme(
                "torchvision", "inception_v1", _EPSILON_1E3, inception.torchvision_names, HALVES, ("aux1.", "aux2.")
            ),
        ),
        "Szegedy et al. 2015", "torchvision's `googlenet`", _BSD, 69.8, "torchvision",
    ),
    "mobilenetv2": Entry(
        mobilenet.mobilenetv2,
        (
            Scheme(
                "torchvision", "mobilenetv2", TORCH, mobilenet.torchvision_names, TORCHVISION,
                renewed=_second(("b0353104",), "7ebf99e0"),
            ),
            Scheme("timm", "mobilenetv2", TORCH, inverted.timm_names, TIMM),
        ),
        "Sandler et al. 2018", "torchvision", _BSD, 71.9, "torchvision", "timm/mobilenetv2_100.ra_in1k",
    ),
    "efficientnet_lite0": _efficientnet_lite(0, efficientnet_lite.efficientnet_lite0, 224, 75.1),
    "efficientnet_lite0_ra": Entry(
        efficientnet_lite.efficientnet_lite0_ra, (_LITE0_RA,), "Liu 2020, after Tan & Le 2019",
        "timm's `efficientnet_lite0`", "Apache-2.0", 75.5, "timm", "timm/efficientnet_lite0.ra_in1k",
    ),
    "efficientnet_lite1": _efficientnet_lite(1, efficientnet_lite.efficientnet_lite1, 240, 76.7),
    "efficientnet_lite2": _efficientnet_lite(2, efficientnet_lite.efficientnet_lite2, 260, 77.6),
    "efficientnet_lite3": _efficientnet_lite(3, efficientnet_lite.efficientnet_lite3, 280, 79.8),
    "efficientnet_lite4": _efficientnet_lite(4, efficientnet_lite.efficientnet_lite4, 300, 81.5),
    "convnext_tiny": Entry(
        convnext.convnext_tiny,
        (
            Scheme("torchvision", "convnext_tiny", TORCH, convnext.torchvision_names, _236),
            Scheme("timm", "convnext_tiny", TORCH, convnext.timm_names, TIMM),
            Scheme("the authors'", "convnext_tiny", TORCH, convnext.facebook_names, TIMM),
        ),
        "Liu et al. 2022", "torchvision", _BSD, 82.5, "torchvision", "timm/convnext_tiny.fb_in1k",
    ),
    "vit_small": _vit(
        "vit_small", "Google, AugReg", 81.4, "timm", "vit_small_patch16_224.augreg_in21k_ft_in1k", _AUGREG
    ),
    "vit_base": _vit(
        "vit_base", "Google, AugReg, tuned again by timm", 85.1, "timm",
        "vit_base_patch16_224.augreg2_in21k_ft_in1k", _AUGREG,
    ),
    "deit_small": _vit("deit_small", "Facebook", 79.9, "DeiT", "deit_small_patch16_224.fb_in1k", TIMM),
    "deit_base": _vit("deit_base", "Facebook", 81.8, "DeiT", "deit_base_patch16_224.fb_in1k", TIMM),
    "dino_small": _vit("dino_small", "Facebook, DINO v1", None, "no classifier", "vit_small_patch16_224.dino", TIMM),
    "dino_base": _vit("dino_base", "Facebook, DINO v1", None, "no classifier", "vit_base_patch16_224.dino", TIMM),
}  # fmt: skip
ARCHITECTURES: dict[str, Build] = {name: entry.build for name, entry in ZOO.items()}
SCHEMES: dict[str, tuple[Scheme, ...]] = {name: entry.schemes for name, entry in ZOO.items() if entry.schemes}


def table() -> str:
    """The zoo as a table in Markdown: a row a network, the entry that of its first scheme."""
    head = "| name | source | weights, licence | parameters | entry | top-1 |\n|---|---|---|--:|---|--:|\n"
    return head + "\n".join(_row(name, entry) for name, entry in ZOO.items()) + "\n"


def files_table() -> str:
    """Whose tensor names are read for each network, and the Hugging Face id of its weights, in Markdown."""
    rows = [
        f"| `{name}` | {', '.join(each.title for each in entry.schemes)} | {f'`{entry.hub}`' if entry.hub else ''} |"
        for name, entry in ZOO.items()
        if entry.schemes
    ]
    return "\n".join(["| name | tensor names | hub id |", "|---|---|---|", *rows, ""])


def _row(name: str, entry: Entry) -> str:
    architecture = entry.build()
    if not entry.schemes:
        return f"| `{name}` | {entry.paper} | {entry.weights}, {entry.licence}; with salbox | | 96 | |"
    scheme = entry.schemes[0]
    cells = (
        f"`{name}`", entry.paper, f"{entry.weights}, {entry.licence}", f"{parameter_count(architecture, scheme):,}",
        described(scheme.preprocess), entry.listed if entry.top1 is None else f"{entry.top1:.1f}, [{entry.listed}]",
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def described(entry: Preprocessing) -> str:
    """How photos enter, in a few words."""
    colours = {TORCHVISION.mean: "ImageNet's colours", CAFFE.mean: "Caffe's colours"}.get(
        entry.mean, f"(pixel - {entry.mean[0]:g}) / {entry.std[0]:g}" if entry.scale == 1 else "-1 to 1"
    )
    return f"{entry.size[0]} of {entry.shorter}, {entry.interpolation}, {colours}"
