"""Any JAX function from images to logits as a network: its traced primitives become named operators.

The function is traced once, for one image. What does not depend on the image is computed once and becomes parameters;
the rest is told apart into convolutions, dense layers, pools, ReLUs, joins, what works at each place (`Pointwise`) and
anything else (`Opaque`). Names are those of `jax.named_scope`, which linen's modules set themselves.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend import core

from saliency._checks import described, kind_of, pair, whole
from saliency.errors import InputError
from saliency.models.network import Network, upto
from saliency.models.preprocessing import Preprocessing
from saliency.models.tracing.graph import Graph, published

TOLERANCE = 1e-4  # of the largest logit


def from_function(
    apply: Callable[[Any, Array], Array],
    params: Any,
    *,
    size: int | tuple[int, int],
    channels: int = 3,
    preprocess: Preprocessing | None = None,
    classes: Sequence[str] = (),
    name: str = "function",
) -> Network:
    """A network of any pure JAX function `apply(params, x)` from images `[n, h, w, channels]` to logits `[n, classes]`.

    `params` is any pytree of arrays; they are used where they lie, not copied. `size` is the (height, width) of images,
    one number for a square. `preprocess` (default: pixels 0..255 as they are) says how photos become images, and
    `classes` names the logits. A softmax or a sigmoid at the end is taken off, and `net.provenance["output"]` says so.

    Layers bear the names of `jax.named_scope`. The function is traced twice (for one image, and for two, to compare),
    and never again. Raises InputError for a function that cannot be traced, whose output is not `[n, classes]`, that
    still draws random numbers, that mixes the images of a batch, or whose network differs by more than 1e-4 of the
    largest logit.

    >>> import jax.numpy as jnp, numpy as np, saliency
    >>> def apply(params, x):
    ...     return jnp.maximum(x, 0).mean((1, 2)) @ params
    >>> net = saliency.from_function(apply, np.eye(3, 2, dtype=np.float32), size=(8, 6))
    >>> saliency.gradient_maps(net, np.ones((1, 8, 6, 3), np.float32), target=1).shape
    (1, 8, 6)
    """
    kind_of("name", name, str, "what the network is called")
    return network_of(
        apply, params, None, size=size, channels=channels, preprocess=preprocess, classes=classes, name=name,
        source="a JAX function",
    )  # fmt: skip


def network_of(
    apply: Callable[[Any, Array], Array],
    params: Any,
    oracle: Callable[[np.ndarray], Any] | None,
    *,
    size: int | tuple[int, int],
    channels: int,
    preprocess: Preprocessing | None,
    classes: Sequence[str],
    name: str,
    source: str,
    explain: Callable[[np.ndarray], str] | None = None,
) -> Network:
    """`from_function` for a function that stands for a model of `source`, whose own framework computes `oracle(x)` for
    images `[n, h, w, channels]` (None: the function itself). `explain(x)` says where the two part."""
    if not callable(apply):
        raise InputError(f"apply must be a function of (params, images), not {described(apply)}")
    size = check_options(size, channels, preprocess, classes)
    if not isinstance(name, str) or not name:
        raise InputError(f"name must be a text, not {described(name)}")
    if preprocess is None:
        preprocess = Preprocessing(size, "stretch", scale=1.0, mean=(0.0,) * channels, std=(1.0,) * channels)  # type: ignore[arg-type]
    if preprocess.channels != channels:
        raise InputError(f"preprocess is for {preprocess.channels} channels, and the images have {channels}")
    if preprocess.size != size:
        (height, width), (own_height, own_width) = size, preprocess.size
        raise InputError(
            f"preprocess makes images of {own_width}x{own_height} px (width x height), and size says {width}x{height}"
        )
    leaves, tree = jax.tree.flatten(params)
    try:
        leaves = [jnp.asarray(leaf) for leaf in leaves]
    except (TypeError, ValueError) as error:
        raise InputError(f"params must be arrays only: {_first_line(error)}") from error
    floats = [leaf.dtype for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)]
    dtype = jnp.result_type(jnp.float32, *floats) if floats else jnp.dtype(jnp.float32)

    def call(leaves: list[Array], x: Array) -> Array:
        return apply(jax.tree.unflatten(tree, leaves), x)

    image = jax.ShapeDtypeStruct((1, *size, channels), dtype)
    traced = _traced(call, leaves, image)
    with _batchable(source):
        architecture, weights, output = Graph(traced, leaves, dtype).network(name, size, channels)
    if classes and len(classes) != (given := architecture.class_count):
        raise InputError(f"classes names {len(classes)} classes, but {source} tells {given} apart")
    provenance = {"from": source, "output": output}
    net = Network(architecture, weights, preprocess, classes=classes, provenance=provenance)
    compiled = jax.jit(call)
    with _batchable(source):
        _compare(net, oracle or (lambda x: compiled(leaves, x)), output, source, explain)
    return net


@contextmanager
def _batchable(source: str) -> Iterator[None]:
    """What has no rule for several images, as a callback into Python, is refused."""
    try:
        yield
    except NotImplementedError as error:
        raise InputError(
            f"{source} does what JAX cannot do for several images at once: {_first_line(error)}"
        ) from error


def check_options(size: Any, channels: Any = 3, preprocess: Any = None, classes: Any = ()) -> tuple[int, int]:
    """The (height, width) of images. Raises InputError for options that no way in can take."""
    whole("channels", channels, least=1)
    height, width = pair("size", size)
    for side in (height, width):
        whole("size", side, least=1)
    if preprocess is not None:
        kind_of("preprocess", preprocess, Preprocessing, "how photos become images")
    if isinstance(classes, str) or not isinstance(classes, Sequence) or not all(isinstance(c, str) for c in classes):
        raise InputError(f"classes must be names, one a class, not {described(classes)}")
    return height, width


def _traced(call: Callable, leaves: list[Array], image: jax.ShapeDtypeStruct) -> core.ClosedJaxpr:
    try:
        traced, out = jax.make_jaxpr(call, return_shape=True)(leaves, image)
    except InputError:
        raise
    except Exception as error:  # whatever the function raises
        raise InputError(
            f"apply cannot be traced for images {list(image.shape)} ({type(error).__name__}: {_first_line(error)});"
            " it must be a pure JAX function apply(params, images)"
        ) from error
    if not isinstance(out, jax.ShapeDtypeStruct) or len(out.shape) != 2 or out.shape[0] != 1 or 0 in out.shape:
        given = list(out.shape) if isinstance(out, jax.ShapeDtypeStruct) else type(out).__name__
        raise InputError(f"apply must give logits [n, classes], which for one image is [1, classes], not {given}")
    if not jnp.issubdtype(out.dtype, jnp.floating):
        raise InputError(f"apply must give logits in floating point, not {out.dtype}")
    return traced


def _compare(
    net: Network,
    oracle: Callable[[np.ndarray], Any],
    output: str,
    source: str,
    explain: Callable[[np.ndarray], str] | None,
) -> None:
    """On two random images."""
    architecture = net.architecture
    noise = np.random.default_rng(0).normal(size=(2, *architecture.size, architecture.channels))
    x = np.asarray(net.preprocess.normalise((255 * (0.5 + noise / 6)).clip(0, 255)))
    x = x.astype(architecture.nodes[0].layer.dtype)  # type: ignore[attr-defined]
    mine = published(np.asarray(upto(net.weights, x, architecture=architecture), float), output)

    def theirs(x: np.ndarray) -> np.ndarray:
        found = np.asarray(oracle(x), float)
        if found.shape != (len(x), mine.shape[-1]):
            raise ValueError(f"{found.shape} for {len(x)} images")
        return found

    def apart(other: np.ndarray) -> float:
        """In the tolerance; NaN where there are any."""
        return np.abs(mine - other).max() / (TOLERANCE * max(np.abs(other).max(), 1e-6))

    together = None
    with suppress(Exception):  # it takes one image at a time
        together = theirs(x)
    if together is not None and apart(together) <= 1:
        return
    single = np.concatenate([theirs(x[:1]), theirs(x[1:])])
    if not np.isfinite(single).all():
        raise InputError(f"{source} gives NaN or infinite values for random images")
    if apart(single) > 1:
        where = f"; {explain(x[:1])}" if explain else ""
        raise InputError(
            f"the network differs from {source} by {np.abs(mine - single).max():.2g} on a random image, more than"
            f" {TOLERANCE} of the largest output{where}"
        )
    if together is not None:
        raise InputError(
            f"{source} gives an image other logits when it comes with another one (batch statistics?);"
            " set the model to inference"
        )


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
