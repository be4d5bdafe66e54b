"""Controls: maps that know nothing of the classifier, and classifiers that know nothing (Adebayo et al. 2018).

A method is worth its cost only where it beats these. Maps are float32 `[n, h, w]`.
"""

import zlib
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from saliency._checks import ImagesLike, as_images, whole
from saliency.maps.gradient import Progress, gradient_maps
from saliency.models.network import Network, check_input
from saliency.scores import Score, Target, as_score, resolve_targets


def random_maps(x: ImagesLike, seed: int = 0) -> Float[np.ndarray, "n h w"]:
    """Uniform noise, drawn for each image from the seed and the image's own bytes."""
    x = as_images("x", x)
    whole("seed", seed)
    maps = np.empty(x.shape[:3], np.float32)
    for i, image in enumerate(x):
        rng = np.random.default_rng([seed, zlib.crc32(image.tobytes())])
        rng.random(out=maps[i], dtype=np.float32)
    return maps


def centre_gaussian(x: ImagesLike) -> Float[np.ndarray, "n h w"]:
    """A Gaussian in the middle, its deviation a quarter of each side: where photographers put things."""
    x = as_images("x", x)
    y, z = (np.exp(-8 * ((np.arange(size) + 0.5) / size - 0.5) ** 2) for size in x.shape[1:3])
    return np.broadcast_to(np.outer(y, z).astype(np.float32), x.shape[:3]).copy()


def edge_maps(x: ImagesLike) -> Float[np.ndarray, "n h w"]:
    """The image's own edges: Sobel's gradient magnitude of the mean over the channels."""
    from scipy.ndimage import sobel  # on use: it takes longer to import than all of ours

    x = as_images("x", x)
    maps = np.empty(x.shape[:3], np.float32)
    for i, image in enumerate(x):  # one by one: Sobel's filter smooths along every axis that it does not derive
        grey = image.mean(-1)
        maps[i] = np.hypot(sobel(grey, 0), sobel(grey, 1))
    return maps


def randomised(net: Network, last: int | None = None, seed: int = 0, only: str | None = None) -> Network:
    """The network with the weights of its `last` layers (None: all), or of `only` one, drawn anew.

    Each array becomes Gaussian noise of its own mean and deviation, so that activations keep their scale.
    """
    rng = np.random.default_rng(seed)
    weights = {layer: {k: np.asarray(v) for k, v in arrays.items()} for layer, arrays in net.weights.items()}
    ordered = [layer for layer in net.layers if layer in weights]
    for layer in reversed(ordered if last is None else ordered[len(ordered) - last :]):
        drawn = {
            name: rng.normal(value.mean(), value.std(), value.shape).astype(value.dtype)
            for name, value in weights[layer].items()
        }
        if only in (None, layer):
            weights[layer] = drawn
    return Network(net.architecture, weights, net.preprocess, classes=net.classes, provenance=net.provenance)


def random_weight_maps(
    net: Network,
    x: ImagesLike,
    *,
    seed: int = 0,
    score: str | Score = "logit",
    target: Target = None,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n h w"]:
    """The largest absolute derivative of the randomised network, for the class that the trained one predicts."""
    score = as_score(score)
    x = check_input(net, x, score.layer_in(net.architecture))
    targets = resolve_targets(net, x, score, target)
    return gradient_maps(randomised(net, seed=seed), x, score=score, target=targets, progress=progress)


def cascade(net: Network, seed: int = 0) -> Iterator[tuple[str, Network]]:
    """Layer by layer from the logits down: the layer's name, and the network randomised from the top to there.

    The same noise all the way: each network is the one before it with one more layer gone.
    """
    ordered = [layer for layer in net.layers if layer in net.weights]
    for last, layer in enumerate(reversed(ordered), 1):
        yield layer, randomised(net, last, seed)


def one_by_one(net: Network, seed: int = 0) -> Iterator[tuple[str, Network]]:
    """Layer by layer from the logits down: the layer's name, and the network with this layer alone randomised."""
    for layer in reversed([layer for layer in net.layers if layer in net.weights]):
        yield layer, randomised(net, seed=seed, only=layer)
