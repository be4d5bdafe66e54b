"""What the benchmark reads of photos: activations, maps of the predicted class, and maps of a class that is asked for.

Each function takes weights and gives `make(images, asked)`: arrays by name, a row a photo. `asked` are numbers of
`classes.ASKED`, -1 for a photo that is not asked about.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import logsumexp
from jaxtyping import Float

from localization.transforms import pooled
from saliency._batches import batches
from saliency.methods import METHODS
from saliency.models.network import Network
from saliency.models.weights import load_network
from scripts.benchmarks.boxes.classes import MEMBERS

Make = Callable[[Sequence[np.ndarray], Sequence[int]], dict[str, np.ndarray]]
SIDE = 56  # pixels of the maps that are kept
BATCH = 8
MAPS = ("gradient-max", "guided-backprop", "grad-cam")
SCENES_MAPS = (*MAPS, "occlusion", "activation", "gestalt-max")
LAYERS = {"squeezenet1_1": ("fire7", "fire9"), "scenes_cnn": ("relu3_2", "relu4_2")}


def zoo(network: str, weights: Path | None) -> Make:
    """Layers and maps of a network of the zoo, photos stretched; maps are of the class that it predicts."""
    net = load_network(network, weights)
    net.preprocess = net.preprocess.changed("stretch")
    names = SCENES_MAPS if network == "scenes_cnn" else MAPS
    forward = _layers(net.architecture, LAYERS[network])

    def make(images: Sequence[np.ndarray], asked: Sequence[int]) -> dict[str, np.ndarray]:
        x = net.preprocess(images)
        made = _in_batches(lambda rows: forward(net.weights, x[rows]), len(x))
        side = min(SIDE, x.shape[1] // 2)
        return made | {name: scaled(METHODS[name].maps(net, x), side) for name in names}

    return make


def _layers(architecture, names: Sequence[str]):
    @jax.jit
    def forward(weights, x: Array) -> dict[str, Array]:
        found = architecture.activations(weights, x, names[-1])
        return {name: found[name] for name in names}

    return forward


def squeezenet_asked(weights: Path) -> Make:
    """Maps of the class that is asked for: SqueezeNet's gradient of the class's score, gradient times activation at
    fire7, and the score at each place ("place"), beside that of all other classes ("others")."""
    net = load_network("squeezenet1_1", weights)
    net.preprocess = net.preprocess.changed("stretch")
    architecture = net.architecture
    head = architecture.without("relu10")

    @jax.jit
    def forward(weights, x: Array, members: Array) -> dict[str, Array]:
        def scores(logits: Array) -> Array:
            return logsumexp(logits, axis=-1, b=members)

        def of_pixels(x: Array) -> tuple[Array, tuple[Array, Array]]:
            found = head.activations(weights, x)
            return scores(found["pool10"]).sum(), (found["fire7"], found["conv10"])

        gradient, (fire7, local) = jax.grad(of_pixels, has_aux=True)(x)
        by_fire7 = jax.grad(lambda a: scores(head.after(weights, a, "fire7")).sum())(fire7)
        return {
            "asked-gradient": jnp.abs(gradient).max(-1),
            "asked-gxa": (by_fire7 * fire7).sum(-1),
            **_places(local, members),
        }

    def make(images: Sequence[np.ndarray], asked: Sequence[int]) -> dict[str, np.ndarray]:
        x, members = net.preprocess(images), _members(asked)
        made = _in_batches(lambda rows: forward(net.weights, x[rows], members[rows]), len(x))
        return made | {
            "asked-gradient": scaled(made["asked-gradient"], SIDE),
            "asked-gxa": scaled(made["asked-gxa"], made["asked-gxa"].shape[1]),
        }

    return make


def efficient(weights: Path, side: int = 224, blocks: Sequence[int] = (10, 15)) -> Make:
    """EfficientNet-Lite0's blocks, and the logits at each place, weighed by the classes' probabilities ("cam")."""
    net = _efficient(weights, side)

    @jax.jit
    def forward(weights, x: Array) -> dict[str, Array]:
        found = net.architecture.activations(weights, x)
        weight = jax.nn.softmax(found["fc"]) @ weights["fc"]["kernel"].T
        cam = jax.nn.relu((found["relu_head"] * weight[:, None, None]).sum(-1))
        return {"cam": cam, **{f"block{i}": found[f"block{i}"] for i in blocks}}

    def make(images: Sequence[np.ndarray], asked: Sequence[int]) -> dict[str, np.ndarray]:
        x = net.preprocess(images)
        return _in_batches(lambda rows: forward(net.weights, x[rows]), len(x))

    return make


def efficient_asked(weights: Path) -> Make:
    """Maps of the class that is asked for, by EfficientNet-Lite0: gradient times activation at block 10, and the scores
    at each place."""
    net = _efficient(weights)
    architecture = net.architecture

    @jax.jit
    def forward(weights, x: Array, members: Array) -> dict[str, Array]:
        found = architecture.activations(weights, x)
        block, fc = found["block10"], weights["fc"]

        def total(block: Array) -> Array:
            return logsumexp(architecture.after(weights, block, "block10"), axis=-1, b=members).sum()

        local = found["relu_head"] @ fc["kernel"] + fc["bias"]
        return {"asked-gxa": (jax.grad(total)(block) * block).sum(-1), **_places(local, members)}

    def make(images: Sequence[np.ndarray], asked: Sequence[int]) -> dict[str, np.ndarray]:
        x, members = net.preprocess(images), _members(asked)
        made = _in_batches(lambda rows: forward(net.weights, x[rows], members[rows]), len(x))
        return made | {"asked-gxa": scaled(made["asked-gxa"], made["asked-gxa"].shape[1])}

    return make


def _efficient(weights: Path, side: int = 224) -> Network:
    net = load_network("efficientnet_lite0", weights)
    net.preprocess = net.preprocess.changed("stretch", side)
    return net


def vgg(weights: Path) -> Make:
    """VGG16's last layers, and its Gestalt gradient: of relu5_3's mean, the largest of the channels' derivatives."""
    net = load_network("vgg16", weights)
    net.preprocess = net.preprocess.changed("stretch")

    @jax.jit
    def forward(weights, x: Array) -> dict[str, Array]:
        def total(x: Array) -> tuple[Array, tuple[Array, Array]]:
            found = net.architecture.activations(weights, x, "relu5_3")
            return found["relu5_3"].mean((1, 2, 3)).sum(), (found["relu4_3"], found["relu5_3"])

        gradient, (relu4_3, relu5_3) = jax.grad(total, has_aux=True)(x)
        n, h, w, c = relu4_3.shape
        halved = relu4_3.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))
        return {"gestalt-max": jnp.abs(gradient).max(-1), "relu4_3": halved, "relu5_3": relu5_3}

    def make(images: Sequence[np.ndarray], asked: Sequence[int]) -> dict[str, np.ndarray]:
        x = net.preprocess(images)
        made = _in_batches(lambda rows: forward(net.weights, x[rows]), len(x), 1)
        return made | {"gestalt-max": scaled(made["gestalt-max"], SIDE)}

    return make


def _members(asked: Sequence[int]) -> Float[np.ndarray, "n 1000"]:
    """Which of ImageNet's classes are the one that is asked for; all where ImageNet has none of it."""
    members = np.zeros((len(asked), 1000), np.float32)
    for row, one in zip(members, asked):
        row[list(MEMBERS[one]) if one >= 0 else []] = 1
        row[:] = row if row.any() else 1
    return members


def _places(local: Float[Array, "n h w k"], members: Float[Array, "n k"]) -> dict[str, Array]:
    """The asked class's score at each place against all, as log-odds, and its largest logit, positive part."""
    own = logsumexp(local, axis=-1, b=members[:, None, None])
    rest = logsumexp(local, axis=-1, b=1 - members[:, None, None] + 1e-6)
    top = jnp.where(members[:, None, None] > 0, local, -jnp.inf).max(-1)
    return {"asked-odds": jax.nn.sigmoid(own - rest), "asked-cam": jax.nn.relu(top)}


def scaled(maps: Float[np.ndarray, "n h w"], side: int) -> Float[np.ndarray, "n side side"]:
    """A gradient's unit is arbitrary, and float16 has no room for small ones: each map over its largest value."""
    largest = np.maximum(np.abs(maps).max((1, 2), keepdims=True), 1e-30)
    return pooled(maps, (side, side)) / largest


def _in_batches(function: Callable, n: int, size: int = BATCH) -> dict[str, np.ndarray]:
    parts = [{name: np.asarray(value) for name, value in function(rows).items()} for rows in batches(n, size)]
    return {name: np.concatenate([part[name] for part in parts])[:n] for name in parts[0]}


FINE = (4, 7, 10, 15)  # blocks, from 28x28 cells at 224 px on
SOURCES: dict[str, Callable[..., Make]] = {  # of weights
    "scenes_cnn": partial(zoo, "scenes_cnn"),
    "squeezenet1_1": partial(zoo, "squeezenet1_1"),
    "squeezenet1_1-asked": squeezenet_asked,
    "efficientnet_lite0": efficient,
    "efficientnet_lite0-asked": efficient_asked,
    "efficientnet_lite0-224": partial(efficient, side=224, blocks=FINE),
    "efficientnet_lite0-320": partial(efficient, side=320, blocks=FINE),
    "efficientnet_lite0-448": partial(efficient, side=448, blocks=(10, 15)),
    "vgg16_features": vgg,
}
