"""Changed windows of maps, as data and as arrays: where they lie, how they are cut out, and how they are put in place.

Along an axis the lines that may change are an interval, first and last, one for each window of the occlusion map.
A change is `[k, h, w, c]` for the k positions of a chunk; the activations of the untouched image are `[h, w, c]`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int

from saliency._checks import Pair

Parameters = Mapping[str, Array]
Shape = tuple[int, ...]  # without the batch axis: (h, w, c) of a map, (d,) of a vector, (t, d) of tokens
Interval = tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]]  # first and last changed line, for each window
Range = tuple[int, int]  # min, max


def is_map(shape: Shape) -> bool:
    """Whether activations of that shape have height and width."""
    return len(shape) == 3


@dataclass(frozen=True, eq=False)
class Region:
    """The window of an operator's output that is computed for each of k positions, and what its change depends on.

    `size` and `start` say where the window lies; `receptive_size` and `origin` where the part of the input lies,
    padding included, that it is computed from. `ready` is what the operator prepared of its parameters. `before(i)` is
    the untouched image's activation of input i and `after()` of the output; a chain of monotone operators between the
    input and a maximum is left for after the maximum, which is `then`.
    """

    parameters: Parameters
    ready: Any
    inputs: Sequence[Shape]
    output: Shape
    size: Pair
    start: Int[Array, "k 2"]
    receptive_size: Pair
    origin: Int[Array, "k 2"]
    before: Callable[[int], Array]
    after: Callable[[], Array]
    then: Callable[[Array], Array]

    def cut_before(self, i: int) -> Float[Array, "k h w c"]:
        return cut(self.before(i), self.start, self.size)

    def cut_after(self) -> Float[Array, "k h w c"]:
        return cut(self.after(), self.start, self.size)


def cut(x: Float[Array, "h w c"], starts: Int[Array, "k 2"], size: Pair) -> Float[Array, "j ph pw c"]:
    """A window of one map at each start; the whole map once where that is the window of all."""
    if x.shape[:2] == size:
        return x[None]
    return jax.vmap(lambda start: _slice(x, start, size))(starts)


def placed(
    x: Float[Array, "k ph pw c"], offsets: Int[Array, "k 2"], ranges: tuple[Range, Range], frame: Pair
) -> Float[Array, "k h w c"]:
    """Each window at its own offset in a frame of zeros; what sticks out is cut off. `ranges` bound the offsets."""
    if all(low == high for low, high in ranges):
        if all(0 <= low <= size - window for (low, _), size, window in zip(ranges, frame, x.shape[1:])):
            # XLA computes x right where it belongs; of `lax.pad` it asks for each value whether it is padding
            zeros = jnp.zeros((x.shape[0], *frame, x.shape[3]), x.dtype)
            first = jnp.zeros((), offsets.dtype)
            return lax.dynamic_update_slice(zeros, x, (first, *offsets[0], first), allow_negative_indices=False)
        pads = [(low, size - low - window) for (low, _), size, window in zip(ranges, frame, x.shape[1:])]
        return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *((*pad, 0) for pad in pads), (0, 0, 0)))
    before = np.array([max(0, high) for _, high in ranges])
    after = [max(0, size - low - window) for (low, _), size, window in zip(ranges, frame, x.shape[1:])]
    x = jnp.pad(x, ((0, 0), *((int(b), a) for b, a in zip(before, after)), (0, 0)))
    return jax.vmap(lambda x, start: _slice(x, start, frame))(x, jnp.asarray(before, offsets.dtype)[None] - offsets)


def _slice(x: Float[Array, "h w c"], start: Int[Array, "2"], size: Pair) -> Array:
    first = jnp.zeros((), start.dtype)
    return lax.dynamic_slice(x, (start[0], start[1], first), (*size, x.shape[2]), allow_negative_indices=False)


def maximum_outside(x: Float[Array, "h w c"], starts: Int[Array, "k 2"], size: Pair) -> Float[Array, "k c"]:
    """The maximum over all of a map but a window, for each start; -inf where the window is all there is."""
    maxima = []
    for axis in (0, 1):
        lines = jnp.pad(x.max(1 - axis), ((1, 1), (0, 0)), constant_values=-jnp.inf)
        up_to, from_on = lax.cummax(lines), lax.cummax(lines, reverse=True)
        maxima += [up_to[starts[:, axis]], from_on[starts[:, axis] + size[axis] + 1]]
    return jnp.stack(maxima).max(0)
