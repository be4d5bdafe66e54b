"""Structured occlusion: which pixels are hidden, when all that is asked for is their share.

After "How occlusion structure breaks CNN digit recognition", which compares such masks on moving digits.

A family draws a field, a number for each pixel; the mask of coverage c hides the `round(c * h * w)` pixels where it is
lowest. So a coverage is exact to half a pixel whatever the shape, and masks of one field at growing coverage contain
one another. Fields are float32 `[n, t, h, w]`, n draws of t frames, masks bool of the same shape, True where hidden.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float, Int

from saliency._checks import Pair
from saliency.errors import InputError


class Family(Protocol):
    """Hashable, so that it is static under jit."""

    def field(self, key: Array, size: Pair, frames: int) -> Float[Array, "t h w"]:
        """A number for each pixel of each frame; the lowest are hidden first."""


@dataclass(frozen=True)
class Bernoulli:
    """Pixels hidden independently, drawn anew in every frame."""

    def field(self, key: Array, size: Pair, frames: int) -> Float[Array, "t h w"]:
        return jax.random.uniform(key, (frames, *size))


@dataclass(frozen=True)
class Perlin:
    """Gradient noise (Perlin 1985) above a threshold: smooth blobs, which drift across the frames.

    `cell` is the lattice's spacing and `drift` the way per frame, as shares of the image's shorter side.
    """

    cell: float = 0.25
    drift: float = 0.04

    def field(self, key: Array, size: Pair, frames: int) -> Float[Array, "t h w"]:
        cell = self.cell * min(size)
        lattice = tuple(int(-(-side // cell)) + 1 for side in size)
        directions, phases, heading = jax.random.split(key, 3)
        angles = 2 * jnp.pi * jax.random.uniform(directions, lattice)
        gradients = jnp.stack([jnp.sin(angles), jnp.cos(angles)])
        step = _unit(heading, ()) * self.drift / self.cell

        def along(axis: int) -> tuple[Array, Array]:
            """Lattice index and the way past it, of each frame and row (or column)."""
            start = jax.random.uniform(phases, (2,))[axis] * lattice[axis]
            at = start + step[axis] * jnp.arange(frames)[:, None] + (jnp.arange(size[axis]) + 0.5) / cell
            return jnp.floor(at).astype(int), at - jnp.floor(at)

        (row, down), (col, right) = along(0), along(1)

        def corner(i: int, j: int) -> Array:
            rows, cols = (row + i) % lattice[0], (col + j) % lattice[1]
            dy, dx = gradients[:, rows[:, :, None], cols[:, None, :]]
            return dy * (down - i)[:, :, None] + dx * (right - j)[:, None, :]

        fade_y, fade_x = (u**3 * (u * (6 * u - 15) + 10) for u in (down[:, :, None], right[:, None, :]))
        top = corner(0, 0) * (1 - fade_x) + corner(0, 1) * fade_x
        bottom = corner(1, 0) * (1 - fade_x) + corner(1, 1) * fade_x
        return -(top * (1 - fade_y) + bottom * fade_y)


@dataclass(frozen=True)
class Triangles:
    """Random triangles, all blown up about their centres by one factor until they cover enough; they move and bounce.

    `speed` is the way per frame as a share of the image's shorter side.
    """

    count: int = 8
    speed: float = 0.04

    def field(self, key: Array, size: Pair, frames: int) -> Float[Array, "t h w"]:
        places, headings, turns, bends, radii = jax.random.split(key, 5)
        sides = jnp.asarray(size, float)
        centre = jax.random.uniform(places, (self.count, 2)) * sides
        way = _unit(headings, (self.count,)).T * self.speed * min(size)
        at = centre + way * jnp.arange(frames)[:, None, None]
        at = sides - jnp.abs(at % (2 * sides) - sides)  # reflected at the borders

        angle = 2 * jnp.pi * (jnp.arange(3) / 3 + jax.random.uniform(turns, (self.count, 1)))
        angle += jax.random.uniform(bends, (self.count, 3), minval=-0.5, maxval=0.5)  # < pi apart: the centre is inside
        radius = jax.random.uniform(radii, (self.count, 3), minval=0.5, maxval=1.5)
        corner = radius[..., None] * jnp.stack([jnp.sin(angle), jnp.cos(angle)], -1)
        edge = jnp.roll(corner, -1, axis=1) - corner
        normal = jnp.stack([edge[..., 1], -edge[..., 0]], -1)
        normal /= (normal * corner).sum(-1, keepdims=True)  # 1 on the edge, 0 in the centre

        def scale(centre: Array, normal: Array) -> Float[Array, "h w"]:
            """How large this triangle has to be to reach each pixel."""
            y, x = (jnp.arange(side) + 0.5 - c for side, c in zip(size, centre))
            return (normal[:, :1, None] * y[:, None] + normal[:, 1:, None] * x).max(0)

        return jax.vmap(lambda at: jax.vmap(scale)(at, normal).min(0))(at)


@dataclass(frozen=True)
class Life:
    """Conway's Game of Life on a torus, `steps` generations after random cells; each frame is one generation.

    Few boards keep more than a quarter of their cells alive. So the hidden pixels are those alive now, then those that
    were alive last, one generation before another; among equals the most crowded neighbourhood comes first.
    """

    steps: int = 8
    density: float = 0.4

    def field(self, key: Array, size: Pair, frames: int) -> Float[Array, "t h w"]:
        soup, ties = jax.random.split(key)
        alive = jax.random.uniform(soup, size) < self.density
        tie = jax.random.uniform(ties, size)

        def generation(state: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
            alive, age = state
            alive = life_step(alive)
            state = alive, jnp.where(alive, 0.0, age + 1)
            return state, state

        state = alive, jnp.where(alive, 0.0, 1.0)
        state, _ = lax.scan(generation, state, length=self.steps)
        _, shown = lax.scan(generation, state, length=frames - 1)
        alive, age = (jnp.concatenate([first[None], later]) for first, later in zip(state, shown))
        return age - (jax.vmap(lambda alive: _crowd(alive, 5))(alive) + tie) / 26


FAMILIES: dict[str, Family] = {
    "bernoulli": Bernoulli(),
    "life": Life(),
    "perlin": Perlin(),
    "triangles": Triangles(),
}


class Masks(NamedTuple):
    """What is hidden, the share of the image that is, and that share minus the one asked for."""

    hidden: Bool[Array, "n t h w"]
    coverage: Float[Array, "n t"]
    error: Float[Array, "n t"]


def draw_masks(family: str | Family, n: int, size: Pair, coverage: float, *, frames: int = 1, seed: int = 0) -> Masks:
    """`n` masks of `frames` frames for images of `size` (height, width), each hiding the share `coverage`.

    The first k of n are those of a call with n=k. Raises InputError for an unknown family and a coverage outside 0..1.
    """
    if not 0 <= coverage <= 1:
        raise InputError(f"coverage must be a share from 0 to 1, not {coverage}")
    hidden = hide(draw_fields(family, n, size, frames=frames, seed=seed), coverage)
    realised = hidden.mean((2, 3))
    return Masks(hidden, realised, realised - coverage)


def draw_fields(family: str | Family, n: int, size: Pair, *, frames: int = 1, seed: int = 0) -> Float[Array, "n t h w"]:
    """The fields of `n` draws, of which `hide` makes masks of any coverage. Raises InputError as `draw_masks` does."""
    family = as_family(family)
    if min(size) < 1 or n < 0 or frames < 1:
        raise InputError(f"masks need n >= 0, frames >= 1 and a size of at least 1x1, not {n}, {frames} and {size}")
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(seed), i))(jnp.arange(n))
    return _fields(keys, family=family, size=(int(size[0]), int(size[1])), frames=frames)


@partial(jax.jit, static_argnames=("family", "size", "frames"))
def _fields(keys: Array, *, family: Family, size: Pair, frames: int) -> Array:
    return lax.map(lambda key: family.field(key, size, frames), keys)


@jax.jit
def hide(fields: Float[Array, "... h w"], coverage: float | Float[Array, "..."]) -> Bool[Array, "... h w"]:
    """The share `coverage` of the pixels, where the field is lowest; of equal ones the first. Shapes broadcast."""
    *lead, height, width = fields.shape
    # as integers in the same order, which XLA sorts six times as fast on a CPU
    bits = lax.bitcast_convert_type(fields.astype(jnp.float32), jnp.int32).reshape(*lead, height * width)
    level = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    count = jnp.round(jnp.asarray(coverage) * height * width).astype(int)[..., None]
    lead = list(jnp.broadcast_shapes(tuple(lead), count.shape[:-1]))
    count, ordered = (jnp.broadcast_to(a, (*lead, a.shape[-1])) for a in (count, jnp.sort(level)))
    last = jnp.take_along_axis(ordered, jnp.maximum(count - 1, 0), axis=-1)
    below, tied = level < last, level == last
    wanted = jnp.where(count > 0, count - below.sum(-1, keepdims=True), 0)
    return (below | (tied & (jnp.cumsum(tied, -1) <= wanted))).reshape(*lead, height, width)


def as_family(family: str | Family) -> Family:
    """A family by name, or InputError naming those that there are."""
    if not isinstance(family, str):
        return family
    if family not in FAMILIES:
        raise InputError(f"unknown family {family!r}; choose one of {', '.join(FAMILIES)}")
    return FAMILIES[family]


def life_step(alive: Bool[Array, "h w"]) -> Bool[Array, "h w"]:
    """One generation on a torus: born with three live neighbours, staying with two or three."""
    neighbours = _crowd(alive, 3) - alive
    return (neighbours == 3) | (alive & (neighbours == 2))


def _crowd(alive: Bool[Array, "h w"], side: int) -> Int[Array, "h w"]:
    """Live cells among the side x side around each, itself included, on a torus."""
    reach = range(-(side // 2), side // 2 + 1)
    rows = sum(jnp.roll(alive.astype(jnp.int32), i, 0) for i in reach)
    return sum((jnp.roll(rows, j, 1) for j in reach), start=jnp.zeros_like(rows))


def _unit(key: Array, shape: tuple[int, ...]) -> Float[Array, "2 ..."]:
    """Random directions (y, x)."""
    angle = 2 * jnp.pi * jax.random.uniform(key, shape)
    return jnp.stack([jnp.sin(angle), jnp.cos(angle)])


class Descriptors(NamedTuple):
    """The shape of a mask: its coverage and largest connected component, as shares of the image; how many it has."""

    coverage: Float[Array, "..."]
    largest: Float[Array, "..."]
    components: Int[Array, "..."]


@partial(jax.jit, static_argnames="connectivity")
def describe(hidden: Bool[Array, "... h w"], connectivity: int = 8) -> Descriptors:
    """Descriptors of each mask, for 4- or 8-connected components (not across the borders)."""
    if connectivity not in (4, 8):
        raise InputError(f"connectivity must be 4 or 8, not {connectivity}")
    *lead, height, width = hidden.shape
    largest, components = lax.map(lambda mask: _components(mask, connectivity), hidden.reshape(-1, height, width))
    share = largest.reshape(lead) / (height * width)
    return Descriptors(hidden.mean((-2, -1)), share, components.reshape(lead))


def _components(hidden: Bool[Array, "h w"], connectivity: int) -> tuple[Array, Array]:
    """Pixels of the largest component, and how many components: each pixel takes the highest label it can reach."""
    height, width = hidden.shape
    near = [(i, j) for i in range(3) for j in range(3) if connectivity == 8 or 1 in (i, j)]
    own = jnp.arange(1, hidden.size + 1).reshape(hidden.shape)

    def spread(state: tuple[Array, Array]) -> tuple[Array, Array]:
        label, _ = state
        padded = jnp.pad(label, 1)
        best = jnp.stack([padded[i : i + height, j : j + width] for i, j in near]).max(0)
        leaders = jnp.concatenate([jnp.zeros(1, label.dtype), best.ravel()])
        best = jnp.where(hidden, leaders[best], 0)  # and the label of the pixel it is named after: far fewer rounds
        return best, (best != label).any()

    label, _ = lax.while_loop(lambda state: state[1], spread, (jnp.where(hidden, own, 0), jnp.array(True)))
    sizes = jnp.zeros(hidden.size + 1, jnp.int32).at[label].add(hidden.astype(jnp.int32))
    return sizes.max(), ((label == own) & hidden).sum()
