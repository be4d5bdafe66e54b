"""Published checkpoints: where each keeps a layer's tensors, and how they turn into ours.

A checkpoint is a flat mapping from tensor name to array. Ours is `layer.kernel` `[h, w, in, out]` or `[in, out]`, and
`layer.bias` `[out]`; a dense layer after a convolution reads height, width, channel. PyTorch has `[out, in, h, w]`,
`[out, in]` and channel, height, width. A batch norm after a convolution is folded into it.
"""

import mmap
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import jax
import numpy as np

from saliency._memory import let_go, maps_of
from saliency.errors import InputError
from saliency.models.graph import Architecture, Weights
from saliency.models.network import on_device
from saliency.models.preprocessing import Preprocessing

Tensors = Mapping[str, np.ndarray]
FLOAT = np.dtype(np.float32)
_FEW = 3  # tensors named in an error
PIECE = 2**20  # numbers that are looked at together


@dataclass(frozen=True)
class Source:
    """One layer in a checkpoint: the module with its kernel and, unless `bias` is off, its bias; the norm after it.

    Without a `module` the layer is the norm itself. `factor` is a tensor that multiplies the output channels,
    `separator` what stands between the module's name and its tensors'. `copied` are other parameters, ours and theirs,
    taken as they are.
    """

    module: str | None = None
    norm: str | None = None
    bias: bool = True
    factor: str | None = None
    separator: str = "."
    copied: tuple[tuple[str, str], ...] = ()

    def tensor(self, part: str) -> str:
        return f"{self.module}{self.separator}{part}"


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
class Renewed:
    """Weights that came later under the same tensor names, whose photos enter another way. `names` are what the names
    of their files hold, lower-case, `first` what those of the first weights hold: a version, or the beginning of the
    file's SHA-256, by which a renamed file is known too."""

    names: tuple[str, ...]
    first: tuple[str, ...]
    preprocess: Preprocessing


@dataclass(frozen=True)
class Scheme:
    """A way of publishing a network. `network` is the architecture that such files hold; tensors whose names begin as
    `ignored` says (an auxiliary classifier's, of use in training alone) may be there. Where another network's tensors
    bear the same names, the file's own name must hold `told_by`; else it may be that network, `otherwise`. `renewed`
    are weights that were published later in the same form."""

    title: str
    network: str
    layout: Layout
    sources: Callable[[Architecture], dict[str, Source]]
    preprocess: Preprocessing
    ignored: tuple[str, ...] = ()
    told_by: str = ""
    otherwise: str = ""
    renewed: Renewed | None = None

    def layers(self, architecture: Architecture) -> dict[str, Source]:
        """Where the layers of an architecture that may lack a head are."""
        there = architecture.by_name
        return {name: source for name, source in self.sources(architecture).items() if name in there}


def unchanged(architecture: Architecture) -> dict[str, Source]:
    """Our own names."""
    return {
        layer: Source(layer)
        if "kernel" in parameters
        else Source(copied=tuple((part, f"{layer}.{part}") for part in parameters))
        for layer, parameters in architecture.parameter_shapes().items()
    }


def own(network: str, preprocess: Preprocessing) -> Scheme:
    """Our own format."""
    return Scheme(
        "salbox", network, Layout("kernel", "bias", KERAS.norm, 0.0, channels_first=False), unchanged, preprocess
    )


def imported(
    architecture: Architecture, scheme: Scheme, tensors: Tensors, file: str
) -> dict[str, dict[str, jax.Array]]:
    """Our weights of a checkpoint, float32. InputError names the first few tensors that are missing, extra or wrong.

    Tensors that lie in a file mapped into memory are copied layer by layer, and what has been read of the file is given
    back: memory holds the weights, and at most one layer of the file.
    """
    maps = maps_of(tensors.values())
    _check(architecture, scheme, tensors, file, maps)
    layout, weights = scheme.layout, {}
    ours = architecture.parameter_shapes()
    for name, source in scheme.layers(architecture).items():
        shapes = ours[name]
        found = {mine: tensors[theirs].reshape(shapes[mine]) for mine, theirs in source.copied}
        if "kernel" in shapes:
            found |= _affine(architecture, name, source, layout, tensors, shapes["kernel"])
        # copied: what is mapped stays in a file that may change
        weights[name] = {part: on_device(value, FLOAT, shapes.get(part)) for part, value in found.items()}
        let_go(maps)
    return weights


def _affine(
    architecture: Architecture, name: str, source: Source, layout: Layout, tensors: Tensors, shape: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """A layer's kernel and bias, with the norm after it and a factor of its channels folded in."""
    kernel, bias = np.ones(shape), np.zeros(shape[-1])
    if source.module is not None:
        kernel = tensors[source.tensor(layout.kernel)]
        if layout.channels_first and len(shape) > 1:
            height, width, inside, outside = _window(architecture, name, shape)
            kernel = kernel.reshape(outside, inside, height, width).transpose(2, 3, 1, 0)  # a view, not yet `shape`
        if source.bias:
            bias = tensors[source.tensor(layout.bias)]
    if source.norm:
        scale, shift, mean, variance = (tensors[f"{source.norm}.{part}"].astype(float) for part in layout.norm)
        gain = scale / np.sqrt(variance + layout.epsilon)
        kernel, bias = kernel * gain, (bias - mean) * gain + shift
    if source.factor:
        factor = tensors[source.factor].astype(float).reshape(-1)
        kernel, bias = kernel * factor, bias * factor
    return {"kernel": kernel, "bias": bias}


def resampled(
    weights: Mapping[str, Mapping[str, jax.Array]], trained: Architecture, wanted: Architecture
) -> dict[str, dict[str, jax.Array | np.ndarray]]:
    """Weights for images of another size: position embeddings are brought to the new rows and columns, bicubically with
    antialiasing, as timm does. InputError where another layer depends on the size."""
    fitted: dict[str, dict[str, jax.Array | np.ndarray]] = {name: dict(parts) for name, parts in weights.items()}
    for name, parts in wanted.parameter_shapes().items():
        for part, shape in parts.items():
            if fitted[name][part].shape == shape:
                continue
            reads = wanted.by_name[name].inputs[0]
            before, after = (each.shapes(*each.size)[reads] for each in (trained, wanted))
            if part != "positions":
                raise InputError(
                    f"{wanted.name} has a fully connected layer ({name}) and takes images of"
                    f" {trained.size[0]}x{trained.size[1]} only: leave size out"
                )
            own = len(fitted[name][part]) - before[0] * before[1]  # tokens that have no place
            learned = np.asarray(fitted[name][part])
            grid = np.asarray(jax.image.resize(learned[own:].reshape(before), after, "cubic")).reshape(-1, after[-1])
            fitted[name][part] = np.concatenate([learned[:own], grid])
    return fitted


def exported(architecture: Architecture, scheme: Scheme, weights: Weights) -> dict[str, np.ndarray]:
    """The way back, for a scheme without batch norm: tensors under that scheme's names and in its order."""
    layout, tensors, ours = scheme.layout, {}, architecture.parameter_shapes()
    for name, source in scheme.layers(architecture).items():
        tensors.update({theirs: np.asarray(weights[name][mine]) for mine, theirs in source.copied})
        if source.module is None:
            continue
        kernel = np.asarray(weights[name]["kernel"])
        if layout.channels_first and kernel.ndim > 1:
            torch = kernel.reshape(_window(architecture, name, ours[name]["kernel"])).transpose(3, 2, 0, 1)
            kernel = torch if kernel.ndim == 4 else torch.reshape(len(torch), -1)
        tensors[source.tensor(layout.kernel)] = np.ascontiguousarray(kernel)
        tensors[source.tensor(layout.bias)] = np.asarray(weights[name]["bias"])
    return tensors


def shapes(architecture: Architecture, scheme: Scheme) -> dict[str, list[tuple[int, ...]]]:
    """Tensor name -> the shapes that it may have (timm keeps dense kernels as convolutions)."""
    layout, ours = scheme.layout, architecture.parameter_shapes()
    accepted: dict[str, list[tuple[int, ...]]] = {}
    for name, source in scheme.layers(architecture).items():
        for mine, theirs in source.copied:
            shape = ours[name][mine]
            accepted[theirs] = [(1, *shape), shape] if layout.channels_first else [shape]
        if "kernel" not in ours[name]:
            continue
        shape = ours[name]["kernel"]
        if source.module is not None:
            kernels = [shape]
            if layout.channels_first and len(shape) > 1:
                height, width, inside, outside = _window(architecture, name, shape)
                kernels = [(outside, inside, height, width)]
                if len(shape) == 2:
                    kernels.insert(0, (outside, inside * height * width))
            accepted[source.tensor(layout.kernel)] = kernels
            if source.bias:
                accepted[source.tensor(layout.bias)] = [shape[-1:]]
        if source.norm:
            accepted.update({f"{source.norm}.{part}": [shape[-1:]] for part in layout.norm})
        if source.factor:
            accepted[source.factor] = [shape[-1:], (*shape[-1:], 1, 1)]
    return accepted


def parameter_count(architecture: Architecture, scheme: Scheme) -> int:
    """Numbers that were learned, as publications count them: batch norms' factors and summands too, statistics not."""
    statistics = scheme.layout.norm[2:]
    wanted = shapes(architecture, scheme).items()
    return sum(int(np.prod(shape)) for name, (shape, *_) in wanted if name.rpartition(".")[2] not in statistics)


def _window(architecture: Architecture, name: str, kernel: tuple[int, ...]) -> tuple[int, ...]:
    """Kernel as [h, w, in, out]: a dense layer is a convolution as large as what it reads."""
    if len(kernel) == 4:
        return kernel
    before = architecture.by_name[architecture.by_name[name].inputs[0]]
    if not before.layer.one_size:
        return 1, 1, *kernel
    return *architecture.shapes(*architecture.size)[before.inputs[0]], kernel[-1]


def _check(
    architecture: Architecture, scheme: Scheme, tensors: Tensors, file: str, maps: Collection[mmap.mmap]
) -> None:
    wanted = shapes(architecture, scheme)
    complaints = {
        "missing": [name for name in wanted if name not in tensors],
        "extra": [
            name
            for name in tensors
            if name not in wanted and not name.endswith("num_batches_tracked") and not name.startswith(scheme.ignored)
        ],
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
        large = tensors[name].ndim > 1 and tensors[name].size > PIECE
        pieces = tensors[name] if large else (tensors[name],)  # no booleans for all of a large one at once
        if not all(np.isfinite(piece).all() for piece in pieces):
            raise InputError(f"{file}: {name} holds NaN or infinite values; fetch the checkpoint again")
        let_go(maps)
