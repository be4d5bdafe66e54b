"""Published checkpoints: where each keeps a layer's tensors, and how they turn into ours.

A checkpoint is a flat mapping from tensor name to array. Ours is `layer.kernel` `[h, w, in, out]` or `[in, out]`, and
`layer.bias` `[out]`; a dense layer after a convolution reads height, width, channel. PyTorch has `[out, in, h, w]`,
`[out, in]` and channel, height, width. A batch norm after a convolution is folded into it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from saliency.errors import InputError
from saliency.models.graph import Architecture, Weights
from saliency.models.preprocessing import Preprocessing

Tensors = Mapping[str, np.ndarray]
TORCHVISION = Preprocessing((224, 224), shorter=256)
CAFFE = Preprocessing(
    (224, 224), shorter=256, order="bgr", scale=1.0, mean=(103.939, 116.779, 123.68), std=(1.0, 1.0, 1.0)
)
CAFFE_227 = Preprocessing(
    (227, 227), shorter=256, order="bgr", scale=1.0, mean=(103.939, 116.779, 123.68), std=(1.0, 1.0, 1.0)
)
_FEW = 3  # tensors named in an error


@dataclass(frozen=True)
class Source:
    """One layer in a checkpoint: the module with its kernel and, unless `bias` is off, its bias; the norm after it."""

    module: str
    norm: str | None = None
    bias: bool = True


@dataclass(frozen=True)
class Layout:
    """What a framework calls a module's tensors, and its batch norm's epsilon. `channels_first`: PyTorch's order."""

    kernel: str
    bias: str
    norm: tuple[str, str, str, str]  # scale, shift, mean, variance
    epsilon: float
    channels_first: bool


TORCH = Layout("weight", "bias", ("weight", "bias", "running_mean", "running_var"), 1e-5, channels_first=True)
KERAS = Layout("kernel", "bias", ("gamma", "beta", "moving_mean", "moving_variance"), 1.001e-5, channels_first=False)


@dataclass(frozen=True)
class Scheme:
    """A way of publishing a network. `network` is the architecture that such files hold."""

    title: str
    network: str
    layout: Layout
    sources: Callable[[Architecture], dict[str, Source]]
    preprocess: Preprocessing


def _own(architecture: Architecture) -> dict[str, Source]:
    return {layer: Source(layer) for layer in architecture.parameter_shapes()}


def _features(architecture: Architecture, step: int) -> dict[str, int]:
    """Index of each convolution in torchvision's `features`, in which each takes `step` places (2 with its norm)."""
    indices, index = {}, 0
    for name, layer in architecture.layers.items():
        if layer.one_size:
            break
        if layer.weighted:
            indices[name] = index
        index += step if layer.weighted else 1
    return indices


def _stacked(*head: str, norm: bool = False) -> Callable[[Architecture], dict[str, Source]]:
    """VGG and AlexNet: numbered `features`, and the modules that hold fc6, fc7 and fc8."""

    def sources(architecture: Architecture) -> dict[str, Source]:
        convs = {
            name: Source(f"features.{i}", f"features.{i + 1}" if norm else None)
            for name, i in _features(architecture, 2 if norm else 1).items()
        }
        return convs | {name: Source(module) for name, module in zip(("fc6", "fc7", "fc8"), head)}

    return sources


def _squeezenet(architecture: Architecture) -> dict[str, Source]:
    """conv1, relu1, pool1, fire2, ... are numbered; the parts of a Fire module are named within it."""
    units = [name for name in architecture.layers if "_" not in name]
    sources = {}
    for name in architecture.parameter_shapes():
        unit, _, part = name.partition("_")
        sources[name] = Source(f"features.{units.index(unit)}" + (f".{part}" if part else ""))
    return sources | {"conv10": Source("classifier.1")}


def _resnet(architecture: Architecture) -> dict[str, Source]:
    def source(name: str) -> Source:
        stage, _, rest = name.partition("_")
        block, _, part = rest.partition("_")
        if not part:
            return Source("fc") if name == "fc" else Source("conv1", "bn1", bias=False)
        kernel, norm = ("downsample.0", "downsample.1") if part == "downsample" else (part, part.replace("conv", "bn"))
        return Source(f"{stage}.{block}.{kernel}", f"{stage}.{block}.{norm}", bias=False)

    return {name: source(name) for name in architecture.parameter_shapes()}


def _keras_vgg(architecture: Architecture) -> dict[str, Source]:
    dense = {"fc6": "fc1", "fc7": "fc2", "fc8": "predictions"}
    return {
        name: Source(dense.get(name) or name.replace("conv", "block").replace("_", "_conv"))
        for name in architecture.parameter_shapes()
    }


def _keras_resnet(architecture: Architecture) -> dict[str, Source]:
    def source(name: str) -> Source:
        if name == "fc":
            return Source("predictions")
        if name == "conv1":
            return Source("conv1_conv", "conv1_bn")
        stage, block, part = name.removeprefix("layer").split("_")
        place = 0 if part == "downsample" else int(part.removeprefix("conv"))
        prefix = f"conv{int(stage) + 1}_block{int(block) + 1}_{place}"
        return Source(f"{prefix}_conv", f"{prefix}_bn")

    return {name: source(name) for name in architecture.parameter_shapes()}


_TIMM_HEAD = ("pre_logits.fc1", "pre_logits.fc2", "head.fc")
_VGG_HEAD = ("classifier.0", "classifier.3", "classifier.6")
_ALEXNET_HEAD = ("classifier.1", "classifier.4", "classifier.6")
SCHEMES: Mapping[str, tuple[Scheme, ...]] = {
    "squeezenet1_1": (Scheme("torchvision", "squeezenet1_1", TORCH, _squeezenet, TORCHVISION),),
    "vgg16": (
        Scheme("torchvision", "vgg16", TORCH, _stacked(*_VGG_HEAD), TORCHVISION),
        Scheme("timm", "vgg16", TORCH, _stacked(*_TIMM_HEAD), TORCHVISION),
        Scheme("Keras", "vgg16", KERAS, _keras_vgg, CAFFE),
    ),
    "vgg16_bn": (
        Scheme("torchvision", "vgg16_bn", TORCH, _stacked(*_VGG_HEAD, norm=True), TORCHVISION),
        Scheme("timm", "vgg16_bn", TORCH, _stacked(*_TIMM_HEAD, norm=True), TORCHVISION),
    ),
    "alexnet": (Scheme("torchvision", "alexnet", TORCH, _stacked(*_ALEXNET_HEAD), TORCHVISION),),
    "alexnet_2012": (Scheme("Caffe", "alexnet_2012", TORCH, _own, CAFFE_227),),
    "resnet50": (
        Scheme("torchvision", "resnet50", TORCH, _resnet, TORCHVISION),
        Scheme("Keras", "resnet50_v1", KERAS, _keras_resnet, CAFFE),
    ),
    "resnet50_v1": (Scheme("Keras", "resnet50_v1", KERAS, _keras_resnet, CAFFE),),
}


def own(network: str, preprocess: Preprocessing) -> Scheme:
    """Our own format."""
    return Scheme("salbox", network, Layout("kernel", "bias", KERAS.norm, 0.0, channels_first=False), _own, preprocess)


def imported(
    architecture: Architecture, scheme: Scheme, tensors: Tensors, file: str
) -> dict[str, dict[str, np.ndarray]]:
    """Our weights of a checkpoint, float32. InputError names the first few tensors that are missing, extra or wrong."""
    _check(architecture, scheme, tensors, file)
    layout, weights = scheme.layout, {}
    for name, source in scheme.sources(architecture).items():
        shape = architecture.parameter_shapes()[name]["kernel"]
        kernel = tensors[f"{source.module}.{layout.kernel}"]
        if layout.channels_first:
            height, width, inside, outside = _window(architecture, name)
            kernel = kernel.reshape(outside, inside, height, width).transpose(2, 3, 1, 0).reshape(shape)
        bias = tensors[f"{source.module}.{layout.bias}"] if source.bias else np.zeros(shape[-1])
        if source.norm:
            scale, shift, mean, variance = (tensors[f"{source.norm}.{part}"].astype(float) for part in layout.norm)
            gain = scale / np.sqrt(variance + layout.epsilon)
            kernel, bias = kernel * gain, (bias - mean) * gain + shift
        weights[name] = {
            "kernel": np.array(kernel, np.float32, order="C"),  # copied: what is mapped stays in a file that may change
            "bias": np.array(bias, np.float32, order="C"),
        }
    return weights


def exported(architecture: Architecture, scheme: Scheme, weights: Weights) -> dict[str, np.ndarray]:
    """The way back, for a scheme without batch norm: tensors under that scheme's names and in its order."""
    layout, tensors = scheme.layout, {}
    for name, source in scheme.sources(architecture).items():
        kernel = np.asarray(weights[name]["kernel"])
        if layout.channels_first:
            torch = kernel.reshape(_window(architecture, name)).transpose(3, 2, 0, 1)
            kernel = torch if kernel.ndim == 4 else torch.reshape(len(torch), -1)
        tensors[f"{source.module}.{layout.kernel}"] = np.ascontiguousarray(kernel)
        tensors[f"{source.module}.{layout.bias}"] = np.asarray(weights[name]["bias"])
    return tensors


def shapes(architecture: Architecture, scheme: Scheme) -> dict[str, list[tuple[int, ...]]]:
    """Tensor name -> the shapes that it may have (timm keeps dense kernels as convolutions)."""
    layout = scheme.layout
    accepted: dict[str, list[tuple[int, ...]]] = {}
    for name, source in scheme.sources(architecture).items():
        height, width, inside, outside = _window(architecture, name)
        kernels: list[tuple[int, ...]]
        if layout.channels_first:
            kernels = [(outside, inside, height, width)]
            if len(architecture.parameter_shapes()[name]["kernel"]) == 2:
                kernels.insert(0, (outside, inside * height * width))
        else:
            kernels = [architecture.parameter_shapes()[name]["kernel"]]
        accepted[f"{source.module}.{layout.kernel}"] = kernels
        vectors = [f"{source.module}.{layout.bias}"] if source.bias else []
        vectors += [f"{source.norm}.{part}" for part in layout.norm] if source.norm else []
        accepted.update({vector: [(outside,)] for vector in vectors})
    return accepted


def _window(architecture: Architecture, name: str) -> tuple[int, ...]:
    """Kernel as [h, w, in, out]: a dense layer is a convolution as large as what it reads."""
    kernel = architecture.parameter_shapes()[name]["kernel"]
    if len(kernel) == 4:
        return kernel
    before = architecture.by_name[architecture.by_name[name].inputs[0]]
    if not before.layer.one_size:
        return 1, 1, *kernel
    return *architecture.shapes(*architecture.size)[before.inputs[0]], kernel[-1]


def _check(architecture: Architecture, scheme: Scheme, tensors: Tensors, file: str) -> None:
    wanted = shapes(architecture, scheme)
    complaints = {
        "missing": [name for name in wanted if name not in tensors],
        "extra": [name for name in tensors if name not in wanted and not name.endswith("num_batches_tracked")],
        "misshapen": [
            f"{name} is {list(tensors[name].shape)}, not {list(accepted[0])}"
            for name, accepted in wanted.items()
            if name in tensors and tensors[name].shape not in accepted
        ],
    }
    told = [
        f"{len(names)} {kind} ({', '.join(names[:_FEW])}{', ...' if len(names) > _FEW else ''})"
        for kind, names in complaints.items()
        if names
    ]
    if told:
        raise InputError(f"{file} does not hold {architecture.name} under {scheme.title} names: {'; '.join(told)}")
    for name in wanted:
        if not np.isfinite(tensors[name]).all():
            raise InputError(f"{file}: {name} holds NaN or infinite values; fetch the checkpoint again")
