"""Any method made better, or judged, by running it several times: mirrored, scaled, noisy, at several layers, by seeds.

A wrapper takes a method of the menu and gives a method, so wrappers nest. Each is also part of a name, wherever methods
are named, here and on a command line (in quotes there): WRAPPER(METHOD).

    METHODS["flip(grad-cam)"]                    # wrappers.flip(METHODS["grad-cam"])
    METHODS["smooth(layers-max(layer-cam))"]     # several layers fused, and of that the mean over noisy copies

The class that is explained stays the one predicted for the image as it was given.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from saliency._checks import ImagesLike, Pair, function, kind_of, numbers, one_of, texts, whole
from saliency._names import Named
from saliency.errors import InputError
from saliency.maps.cam import Fuse, fused, stage_layers
from saliency.maps.gradient import Progress
from saliency.maps.ranks import rank_correlations
from saliency.method import DEFAULTS, Cost, Method
from saliency.models.black_box import Classifier, classifier_input, entry
from saliency.models.network import Network
from saliency.options.methods import Options
from saliency.scores import Score, Target, resolve_targets

SCALES = (0.75, 1.0, 1.25)
FACTORS = (0.9, 1.0, 1.1)

Copy = tuple[np.ndarray, Options, Callable[[np.ndarray], np.ndarray]]  # images, options, and a copy's maps brought back
Copies = Callable[[Classifier, np.ndarray, Options], Sequence[Callable[[], Copy]]]
Join = Callable[[Float[np.ndarray, "k n h w"]], Float[np.ndarray, "n h w"]]


def flip(method: Method) -> Method:
    """The mean of a method's maps of the image and of its mirror image, the latter mirrored back.

    >>> import numpy as np, saliency
    >>> net = saliency.load_network("scenes_cnn")
    >>> both = saliency.wrappers.flip(saliency.METHODS["grad-cam"])
    >>> both.name, both.maps(net, net.preprocess(np.zeros((1, 96, 96, 3), np.uint8))).shape
    ('flip(grad-cam)', (1, 96, 96))
    """

    def copies(net: Classifier, x: np.ndarray, o: Options) -> Sequence[Callable[[], Copy]]:
        return [lambda: (x, o, _same), lambda: (x[:, :, ::-1].copy(), o, lambda maps: maps[:, :, ::-1])]

    return _wrapped(
        "flip", method, "The mean of the map and of the mirror image's, mirrored back", lambda net, o: 2, copies
    )


def scale(method: Method, scales: Sequence[float] = SCALES) -> Method:
    """The mean of a method's maps of the image at several scales, each brought back to the image's size bilinearly.

    `scales` are shares of the image's sides. For networks that take images of any size, and black boxes that do.

    >>> import saliency
    >>> saliency.wrappers.scale(saliency.METHODS["cam"], (0.5, 1)).cost(saliency.load_network("scenes_cnn"), (96, 96))
    Cost(forwards=2, backwards=0, saved=0.0)
    """
    scales = numbers("scales", scales, above=0, below=100)

    def copies(net: Classifier, x: np.ndarray, o: Options) -> Sequence[Callable[[], Copy]]:
        return [partial(resized, x, o, one) for one in scales]

    def resized(x: np.ndarray, o: Options, by: float) -> Copy:
        if by == 1:
            return x, o, _same
        height, width = (max(1, round(by * side)) for side in x.shape[1:3])
        back = partial(_resize, size=x.shape[1:3])
        return _resize(x, (height, width)), o, back

    def sizes(size: Pair) -> list[Pair]:
        return [(max(1, round(one * size[0])), max(1, round(one * size[1]))) for one in scales]

    said = f"The mean of the maps at {', '.join(f'{one:g}' for one in scales)} times the image's size, brought back"
    return _wrapped("scale", method, said, lambda net, o: len(scales), copies, sizes=sizes)


def brightness(method: Method, factors: Sequence[float] = FACTORS) -> Method:
    """The mean of a method's maps of the image made darker and brighter: its pixels times each factor, cut at 255.

    A black box's images are pixels, unless `Options.preprocess` says how they are made of such.

    >>> import saliency
    >>> saliency.wrappers.brightness(saliency.METHODS["cam"]).cost(saliency.load_network("scenes_cnn"), (96, 96))
    Cost(forwards=3, backwards=0, saved=0.0)
    """
    factors = numbers("factors", factors, above=0)

    def copies(net: Classifier, x: np.ndarray, o: Options) -> Sequence[Callable[[], Copy]]:
        return [partial(brighter, net, x, o, one) for one in factors]

    def brighter(net: Classifier, x: np.ndarray, o: Options, by: float) -> Copy:
        if by == 1:
            return x, o, _same
        how = entry(net, o.preprocess)
        pixels = np.clip(by * (x if how is None else how.pixels(x)), 0, 255)
        return (pixels if how is None else how.normalise(pixels)).astype(x.dtype), o, _same

    said = f"The mean of the maps of the image's pixels times {', '.join(f'{one:g}' for one in factors)}"
    return _wrapped("brightness", method, said, lambda net, o: len(factors), copies)


def smooth(method: Method) -> Method:
    """SmoothGrad of anything: the mean of a method's maps of `Options.samples` noisy copies of the image.

    The Gaussian's deviation is `Options.noise` times each image's range; all images get the same draws, of
    `Options.seed`, and no copy is without noise. After Smilkov et al. 2017. The menu's "smoothgrad" is the absolute
    mean of the derivatives, smooth(gradient-max) the mean of their absolute values.

    >>> import saliency
    >>> options = saliency.Options(samples=5)
    >>> saliency.METHODS["smooth(grad-cam)"].cost(saliency.load_network("scenes_cnn"), (96, 96), options)
    Cost(forwards=5, backwards=5, saved=0.0)
    """

    def copies(net: Classifier, x: np.ndarray, o: Options) -> Sequence[Callable[[], Copy]]:
        rng = np.random.default_rng(o.seed)
        deviation = o.noise * np.ptp(x, axis=(1, 2, 3), keepdims=True)

        def noisy() -> Copy:  # called in turn: each draws what comes next
            drawn = rng.standard_normal(x.shape[1:], np.float32)
            return (x + deviation * drawn).astype(x.dtype), o, _same

        return [noisy] * o.samples

    said = "The mean of the maps of noisy copies of the image (as SmoothGrad, Smilkov et al. 2017)"
    return replace(_wrapped("smooth", method, said, lambda net, o: o.samples, copies), random=True)


def layers(method: Method, fuse: Fuse = "mean", layers: Sequence[str] | None = None) -> Method:
    """A method's maps at several layers, each scaled to 1 at its highest absolute value, and fused.

    `fuse` takes their "mean", "max" or "product", the last of maps that are never negative alone. `layers` are names
    (default: the last layer of each resolution, `saliency.maps.cam.stage_layers`). Raises InputError for a method that
    looks at no layer of one's choice.

    >>> import saliency
    >>> saliency.METHODS["layers-max(grad-cam)"].cost(saliency.load_network("scenes_cnn"), (96, 96))
    Cost(forwards=4, backwards=4, saved=0.0)
    """
    one_of("fuse", fuse, get_args(Fuse))
    kind_of("method", method, Method, "as saliency.METHODS has it")
    if layers is not None:
        texts("layers", layers)
    if not method.layered:
        raise InputError(f"{method.name} looks at no layer of one's choice, so that there are not several to fuse")
    if fuse == "product" and method.sign == "signed":
        raise InputError(f"{method.name} has negative values, whose product says nothing; fuse by mean or max")

    def chosen(net: Network) -> Sequence[str]:
        return layers or stage_layers(net.architecture)

    def copies(net: Classifier, x: np.ndarray, o: Options) -> Sequence[Callable[[], Copy]]:
        assert isinstance(net, Network)  # no method for black boxes looks at layers
        return [partial(at, x, replace(o, layer=one)) for one in chosen(net)]

    def at(x: np.ndarray, o: Options) -> Copy:
        return x, o, _same

    said = f"The {fuse} of the maps at the last layer of every resolution, each scaled to 1"
    found = _wrapped(
        f"layers-{fuse}",
        method,
        said,
        lambda net, o: 1,
        copies,
        lambda maps: np.asarray(fused(jnp.asarray(maps), fuse)),
    )

    def cost(net: Classifier, size: Pair, options: Options = DEFAULTS) -> Cost:
        method.cost(net, size, options)  # refuses what does not suit
        assert isinstance(net, Network)
        return _sum([method.cost(net, size, replace(options, layer=one)) for one in chosen(net)])

    return replace(found, cost=cost, layered=False)


WRAPPERS: Mapping[str, Callable[[Method], Method]] = {
    "flip": flip,
    "scale": scale,
    "brightness": brightness,
    "smooth": smooth,
    "layers-mean": partial(layers, fuse="mean"),
    "layers-max": partial(layers, fuse="max"),
    "layers-product": partial(layers, fuse="product"),
}


def said_of_wrappers() -> list[str]:
    """A line a wrapper: its name and what it does, as `compare --list` and the docs say it."""
    return [
        f"{name}  {' '.join((getattr(one, 'func', one).__doc__ or '').partition(chr(10) * 2)[0].split())}"
        for name, one in WRAPPERS.items()
    ]


class Menu(Named[Method]):
    """Methods by name, and by WRAPPER(NAME) what wrappers make of them, which no list of the menu holds."""

    def __init__(self, entries: Mapping[str, Method]):
        super().__init__("method", entries)

    def __missing__(self, name: str) -> Method:
        wrapper, bracket, inner = name.partition("(") if isinstance(name, str) else ("", "", "")
        if not (bracket and inner.endswith(")") and wrapper in WRAPPERS):
            return super().__missing__(name)
        return WRAPPERS[wrapper](self[inner[:-1]])

    def get(self, name: str, default: Any = None) -> Any:
        """As of any mapping, wrapped names too."""
        try:
            return self[name]
        except KeyError:
            return default

    def __contains__(self, name: object) -> bool:
        try:
            self[name]  # type: ignore[index]
        except KeyError:
            return False
        except InputError:  # a wrapper that does not suit: asking for it says why
            return True
        return True


@dataclass(frozen=True)
class Repeats:
    """A method's maps float32 `[k, n, h, w]` by `seeds`: what differs among them is noise.

    >>> import numpy as np
    >>> from saliency.wrappers import Repeats
    >>> found = Repeats((0, 1), np.array([[[[1.0, 2.0]]], [[[1.0, 4.0]]]]))
    >>> found.mean.tolist(), found.deviation.round(3).tolist(), found.agreement.round(3).tolist()
    ([[[1.0, 3.0]]], [[[0.0, 1.414]]], [1.0])
    """

    seeds: tuple[int, ...]
    maps: Float[np.ndarray, "k n h w"]

    @property
    def mean(self) -> Float[np.ndarray, "n h w"]:
        return self.maps.mean(0)

    @property
    def deviation(self) -> Float[np.ndarray, "n h w"]:
        """The standard deviation of one map, from the k that there are (with k - 1)."""
        return self.maps.std(0, ddof=1)

    @property
    def agreement(self) -> Float[np.ndarray, " n"]:
        """Spearman's rank correlation of two seeds' maps, the mean over all pairs; NaN where a map says nothing."""
        above = np.triu_indices(len(self.seeds), 1)
        return np.array([rank_correlations(own)[above].mean() for own in self.maps.swapaxes(0, 1)], float)


def repeats(
    method: Method,
    net: Classifier,
    x: ImagesLike,
    *,
    count: int = 5,
    target: Target = None,
    options: Options = DEFAULTS,
    progress: Progress | None = None,
) -> Repeats:
    """A method's maps by `count` seeds, from `Options.seed` up; arguments, and what is raised, as for `Method.maps`.

    >>> import numpy as np, saliency
    >>> x = np.zeros((2, 6, 9, 3), np.float32)
    >>> found = saliency.repeats(saliency.METHODS["random"], lambda images: images.sum((1, 2, 3)), x, count=3)
    >>> found.seeds, found.mean.shape, bool(found.deviation.min() > 0)
    ((0, 1, 2), (2, 6, 9), True)
    """
    kind_of("method", method, Method, "as saliency.METHODS has it")
    kind_of("options", options, Options, "what the methods share")
    whole("count", count, least=2)
    function("progress", progress, "(done, total)")
    seeds = tuple(range(options.seed, options.seed + count))
    maps = [
        method.maps(net, x, target=target, options=replace(options, seed=seed), progress=_part(progress, k, count))
        for k, seed in enumerate(seeds)
    ]
    return Repeats(seeds, np.stack(maps))


def is_random(method: Method, options: Options) -> bool:
    """Whether the seed may matter: by the method itself, or by what it hides with."""
    return method.random or options.fill == "noise"


def _wrapped(
    wrapper: str,
    method: Method,
    said: str,
    times: Callable[[Classifier, Options], int],
    copies: Copies,
    join: Join = lambda maps: maps.mean(0),
    sizes: Callable[[Pair], Sequence[Pair]] | None = None,
) -> Method:
    kind_of("method", method, Method, "as saliency.METHODS has it")

    def maps(
        net: Classifier,
        x: ImagesLike,
        *,
        target: Target = None,
        options: Options = DEFAULTS,
        progress: Progress | None = None,
    ) -> np.ndarray:
        kind_of("options", options, Options, "what the methods share")
        function("progress", progress, "(done, total)")
        size = np.shape(x)[1:3]
        if len(size) == 2 and 0 not in size:
            method.cost(net, size, options)  # refuses what does not suit, before anything is computed
        x = classifier_input(net, x, net.architecture.nodes[0].name if isinstance(net, Network) else None)
        target = settled(net, x, target)
        made = copies(net, x, options)
        found = []
        for k, copy in enumerate(made):
            images, own, back = copy()
            told = _part(progress, k, len(made))
            found.append(back(method.maps(net, images, target=target, options=own, progress=told)))
        return join(np.stack(found)).astype(np.float32)

    def cost(net: Classifier, size: Pair, options: Options = DEFAULTS) -> Cost:
        if sizes is not None:
            if isinstance(net, Network):
                for one in sizes(size):
                    net.architecture.shapes(*one)
            return _sum([method.cost(net, one, options) for one in sizes(size)])
        return _sum([method.cost(net, size, options)] * times(net, options))

    first, _, _ = method.summary.partition("\n")
    return replace(
        method,
        name=f"{wrapper}({method.name})",
        summary=f"{said}:\n{first}",
        maps=maps,
        cost=cost,
        shared=None,
    )


def settled(net: Classifier, x: np.ndarray, target: Target) -> Target:
    """The class predicted for the images as they are, where none is stated and the network has classes."""
    if not isinstance(net, Network) or net.architecture.headless:
        return target
    return resolve_targets(net, x, Score(), target)


def _sum(costs: Sequence[Cost]) -> Cost:
    return Cost(*(sum(getattr(one, name) for one in costs) for name in ("forwards", "backwards", "saved")))


def _part(progress: Progress | None, k: int, of: int) -> Progress | None:
    """The k-th of several runs, told as a part of the whole."""
    if progress is None:
        return None
    return lambda done, total: progress(k * total + done, of * total)


def _same(maps: np.ndarray) -> np.ndarray:
    return maps


def _resize(images: np.ndarray, size: Pair) -> np.ndarray:
    return np.asarray(jax.image.resize(images, (len(images), *size, *images.shape[3:]), "bilinear"))
