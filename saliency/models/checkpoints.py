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


def unchanged(architecture: Architecture) -> dict[str, Source]:
    """Our own names."""
    return {layer: Source(layer) for layer in architecture.parameter_shapes()}


def own(network: str, preprocess: Preprocessing) -> Scheme:
    """Our own format."""
    return Scheme(
        "salbox", network, Layout("kernel", "bias", KERAS.norm, 0.0, channels_first=False), unchanged, preprocess
    )


def imported(
    architecture: Architecture, scheme: Scheme, tensors: Tensors, file: str
) -> dict[str, dict[str, np.ndarray]]:
    """Our weights of a checkpoint, float32. InputError names the first few tensors that are missing, extra or wrong."""
    _check(architecture, scheme, tensors, file)
    layout, weights = scheme.layout, {}
    ours = architecture.parameter_shapes()
    for name, source in scheme.sources(architecture).items():
        shape = ours[name]["kernel"]
        kernel = tensors[f"{source.module}.{layout.kernel}"]
        if layout.channels_first:
            height, width, inside, outside = _window(architecture, name, ours[name]["kernel"])
            kernel = kernel.reshape(outside, inside, height, width).transpose(2, 3, 1, 0).reshape(shape)
        bias = tensors[f"{source.module}.{layout.bias}"] if source.bias else np.zeros(shape[-1])
        if source.norm:
            scale, shift, mean, variance = (tensors[f"{source.norm}.{part}"].astype(float) for part in layout.norm)
            gain = scale / np.sqrt(variance + layout.epsilon)
            kernel, bias = kernel * gain, (bias - mean) * gain + shift
        weights[name] = {
            "kernel": np.ascontiguousarray(kernel, np.float32),
            "bias": np.ascontiguousarray(bias, np.float32),
        }
    return weights


def exported(architecture: Architecture, scheme: Scheme, weights: Weights) -> dict[str, np.ndarray]:
    """The way back, for a scheme without batch norm: tensors under that scheme's names and in its order."""
    layout, tensors, ours = scheme.layout, {}, architecture.parameter_shapes()
    for name, source in scheme.sources(architecture).items():
        kernel = np.asarray(weights[name]["kernel"])
        if layout.channels_first:
            torch = kernel.reshape(_window(architecture, name, ours[name]["kernel"])).transpose(3, 2, 0, 1)
            kernel = torch if kernel.ndim == 4 else torch.reshape(len(torch), -1)
        tensors[f"{source.module}.{layout.kernel}"] = np.ascontiguousarray(kernel)
        tensors[f"{source.module}.{layout.bias}"] = np.asarray(weights[name]["bias"])
    return tensors


def shapes(architecture: Architecture, scheme: Scheme) -> dict[str, list[tuple[int, ...]]]:
    """Tensor name -> the shapes that it may have (timm keeps dense kernels as convolutions)."""
    layout, ours = scheme.layout, architecture.parameter_shapes()
    accepted: dict[str, list[tuple[int, ...]]] = {}
    for name, source in scheme.sources(architecture).items():
        height, width, inside, outside = _window(architecture, name, ours[name]["kernel"])
        kernels: list[tuple[int, ...]]
        if layout.channels_first:
            kernels = [(outside, inside, height, width)]
            if len(ours[name]["kernel"]) == 2:
                kernels.insert(0, (outside, inside * height * width))
        else:
            kernels = [ours[name]["kernel"]]
        accepted[f"{source.module}.{layout.kernel}"] = kernels
        vectors = [f"{source.module}.{layout.bias}"] if source.bias else []
        vectors += [f"{source.norm}.{part}" for part in layout.norm] if source.norm else []
        accepted.update({vector: [(outside,)] for vector in vectors})
    return accepted


def _window(architecture: Architecture, name: str, kernel: tuple[int, ...]) -> tuple[int, ...]:
    """Kernel as [h, w, in, out]: a dense layer is a convolution as large as what it reads."""
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
        if np.issubdtype(tensors[name].dtype, np.integer) or tensors[name].dtype == bool:
            raise InputError(
                f"{file}: {name} holds {tensors[name].dtype}: quantised weights mean nothing without their scales; save"
                " the network's weights as floats"
            )
        if not np.isfinite(tensors[name]).all():
            raise InputError(f"{file}: {name} holds NaN or infinite values; fetch the checkpoint again")
