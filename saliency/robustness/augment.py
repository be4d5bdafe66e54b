"""Training with occlusions: each technique as a mask per image and what shows in its place.

Images are float `[n, h, w, c]` in the network's normalised space, labels float `[n, k]`, each summing to one. A mask is
float `[n, h, w]`, the share of each pixel that is replaced: 0 or 1 but for MixUp. Where it is 0 the image stays as it
was, bit for bit. Occlusions put a fill there and leave the label; mixers put another image of the batch there and mix
the labels in exactly the shares that show.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from saliency._checks import Pair
from saliency.errors import InputError
from saliency.robustness.masks import Bernoulli, Family, Life, Perlin, Triangles, hide


class Augmentation(Protocol):
    """Hashable, so that it is static under jit. `mixes`: replaced pixels come from another image of the batch."""

    mixes: ClassVar[bool]

    def mask(self, key: Array, size: Pair) -> Float[Array, "h w"]:
        """The share of each pixel of one image that is replaced."""


@dataclass(frozen=True)
class CutOut:
    """A square around a random pixel, cut off at the border (DeVries & Taylor 2017).

    `length` is its side as a share of the image's shorter side.
    """

    length: float = 0.5
    mixes: ClassVar[bool] = False

    def mask(self, key: Array, size: Pair) -> Float[Array, "h w"]:
        side = max(1, round(self.length * min(size)))
        centre = [jax.random.randint(k, (), 0, extent) for k, extent in zip(jax.random.split(key), size)]
        return _rectangle([c - side // 2 for c in centre], (side, side), size)


@dataclass(frozen=True)
class RandomErasing:
    """With a probability, a rectangle of random area and aspect wholly inside the image (Zhong et al. 2020).

    `area` is its share of the image; `aspect` the least height / width, the largest being its inverse. The aspect is
    uniform between the two, as published. Shapes that do not fit are drawn again, at most `TRIES` times.
    """

    probability: float = 0.5
    area: tuple[float, float] = (0.02, 0.4)
    aspect: float = 0.3
    mixes: ClassVar[bool] = False
    TRIES: ClassVar[int] = 32

    def mask(self, key: Array, size: Pair) -> Float[Array, "h w"]:
        whether, areas, aspects, tops, lefts = jax.random.split(key, 5)
        area = jax.random.uniform(areas, (self.TRIES,), minval=self.area[0], maxval=self.area[1]) * size[0] * size[1]
        aspect = jax.random.uniform(aspects, (self.TRIES,), minval=self.aspect, maxval=1 / self.aspect)
        heights, widths = jnp.round(jnp.sqrt(area * aspect)), jnp.round(jnp.sqrt(area / aspect))
        fits = (heights <= size[0]) & (widths <= size[1])
        first = fits.argmax()
        extent = heights[first].astype(int), widths[first].astype(int)
        start = [
            jax.random.randint(k, (), 0, jnp.maximum(room - side, 0) + 1)
            for k, room, side in zip((tops, lefts), size, extent)
        ]
        erased = fits.any() & (jax.random.uniform(whether) < self.probability)
        return jnp.where(erased, _rectangle(start, extent, size), 0.0)


@dataclass(frozen=True)
class HideAndSeek:
    """Each cell of a grid (rows, columns) hidden with a probability (Singh & Lee 2017)."""

    grid: Pair = (4, 4)
    probability: float = 0.5
    mixes: ClassVar[bool] = False

    def mask(self, key: Array, size: Pair) -> Float[Array, "h w"]:
        hidden = jax.random.bernoulli(key, self.probability, self.grid)
        row, col = (jnp.arange(side) * cells // side for side, cells in zip(size, self.grid))
        return hidden[row][:, col].astype(float)


@dataclass(frozen=True)
class GridMask:
    """Squares hidden at regular places (Chen et al. 2020): a random period and phase.

    `period` holds the least and largest, as shares of the shorter side; of each period the share `keep` stays visible
    along an axis, so that about `(1 - keep)**2` of the image is hidden.
    """

    period: tuple[float, float] = (0.25, 0.6)
    keep: float = 0.4
    mixes: ClassVar[bool] = False

    def mask(self, key: Array, size: Pair) -> Float[Array, "h w"]:
        periods, *phases = jax.random.split(key, 3)
        period = jax.random.uniform(periods, minval=self.period[0], maxval=self.period[1]) * min(size)
        row, col = (
            (jnp.arange(side) / period + jax.random.uniform(phase)) % 1 < 1 - self.keep
            for side, phase in zip(size, phases)
        )
        return jnp.outer(row, col).astype(float)


@dataclass(frozen=True)
class Structured:
    """Masks of a family (`saliency.robustness.masks`) at a coverage drawn uniformly between two shares."""

    family: Family
    coverage: tuple[float, float] = (0.0, 0.8)
    mixes: ClassVar[bool] = False

    def mask(self, key: Array, size: Pair) -> Float[Array, "h w"]:
        shape, amount = jax.random.split(key)
        coverage = jax.random.uniform(amount, minval=self.coverage[0], maxval=self.coverage[1])
        return hide(self.family.field(shape, size, 1)[0], coverage).astype(float)


@dataclass(frozen=True)
class MixUp:
    """The whole image blended with another; its weight is drawn from Beta(alpha, alpha) (Zhang et al. 2018)."""

    alpha: float = 0.4
    mixes: ClassVar[bool] = True

    def mask(self, key: Array, size: Pair) -> Float[Array, "h w"]:
        return jnp.full(size, 1 - jax.random.beta(key, self.alpha, self.alpha))


@dataclass(frozen=True)
class CutMix:
    """A rectangle of another image around a random pixel, cut off at the border (Yun et al. 2019).

    Before the cut its share of the image is drawn from Beta(alpha, alpha), and its aspect is the image's.
    """

    alpha: float = 1.0
    mixes: ClassVar[bool] = True

    def mask(self, key: Array, size: Pair) -> Float[Array, "h w"]:
        share, *centres = jax.random.split(key, 3)
        scale = jnp.sqrt(jax.random.beta(share, self.alpha, self.alpha))
        extent = [jnp.round(scale * side).astype(int) for side in size]
        start = [jax.random.randint(k, (), 0, side) - e // 2 for k, side, e in zip(centres, size, extent)]
        return _rectangle(start, extent, size)


AUGMENTATIONS: dict[str, Augmentation] = {
    "cutout": CutOut(),
    "random_erasing": RandomErasing(),
    "hide_and_seek": HideAndSeek(),
    "grid_mask": GridMask(),
    "mixup": MixUp(),
    "cutmix": CutMix(),
    "bernoulli": Structured(Bernoulli()),
    "life": Structured(Life()),
    "perlin": Structured(Perlin()),
    "triangles": Structured(Triangles()),
}


class Augmented(NamedTuple):
    """A batch after augmentation.

    `weight` is the share of each label that is the image's own, `partner` the index of the image that shows in the
    mask (its own for occlusions). `boxes` are the image's own and, for mixers, the partner's; `visible` the share of
    each that shows.
    """

    images: Float[Array, "n h w c"]
    labels: Float[Array, "n k"]
    mask: Float[Array, "n h w"]
    weight: Float[Array, " n"]
    partner: Int[Array, " n"]
    boxes: Float[Array, "n own_and_partner 4"] | None = None
    visible: Float[Array, "n own_and_partner"] | None = None

    @property
    def coverage(self) -> Float[Array, " n"]:
        """The share of each image that was replaced."""
        return self.mask.mean((1, 2))


@partial(jax.jit, static_argnames="augmentation")
def augment(
    augmentation: Augmentation,
    key: Array,
    images: Float[Array, "n h w c"],
    labels: Float[Array, "n k"],
    boxes: Float[Array, "n 4"] | None = None,
    *,
    fill: float | Array = 0.0,
) -> Augmented:
    """A batch augmented, each image with a mask of its own. `fill`, in normalised units, must broadcast to `images`."""
    if images.ndim != 4 or labels.ndim != 2 or len(images) != len(labels):
        raise InputError(f"images must be [n, h, w, c] and labels [n, k], not {images.shape} and {labels.shape}")
    n, height, width, _ = images.shape
    masks, partners = jax.random.split(key)
    mask = jax.vmap(lambda key: augmentation.mask(key, (height, width)))(jax.random.split(masks, n))
    partner, shown, weight = jnp.arange(n), jnp.asarray(fill, images.dtype), jnp.ones(n)
    if augmentation.mixes:
        partner = jax.random.permutation(partners, n)
        shown = images[partner]
        weight = 1 - mask.mean((1, 2))
        labels = weight[:, None] * labels + (1 - weight)[:, None] * labels[partner]
    opacity = mask[..., None].astype(images.dtype)
    mixed = jnp.where(opacity == 1, shown, images * (1 - opacity) + shown * opacity)
    visible = None
    if boxes is not None:
        visible = visible_share(mask, boxes)[:, None]
        boxes = boxes[:, None]
        if augmentation.mixes:
            visible = jnp.concatenate([visible, visible_share(1 - mask, boxes[partner, 0])[:, None]], 1)
            boxes = jnp.concatenate([boxes, boxes[partner]], 1)
    return Augmented(mixed, labels, mask, weight, partner, boxes, visible)


def visible_share(mask: Float[Array, "n h w"], boxes: Float[Array, "n 4"]) -> Float[Array, " n"]:
    """The share of each box that its mask leaves visible; pixels on a box's edge count by the part inside."""
    x0, y0, x1, y1 = jnp.asarray(boxes, float).T
    rows, cols = (_overlap(*edges, side) for edges, side in (((y0, y1), mask.shape[1]), ((x0, x1), mask.shape[2])))
    return 1 - jnp.einsum("nhw,nh,nw->n", mask, rows, cols) / (rows.sum(1) * cols.sum(1))


def as_augmentation(name: str) -> Augmentation | None:
    """An augmentation by name ("plain": none), or InputError naming those that there are."""
    if name != "plain" and name not in AUGMENTATIONS:
        raise InputError(f"unknown augmentation {name!r}; choose of plain, {', '.join(AUGMENTATIONS)}")
    return AUGMENTATIONS.get(name)


def _overlap(low: Array, high: Array, side: int) -> Float[Array, "n side"]:
    """How much of each pixel lies between two edges."""
    pixel = jnp.arange(side)
    return (jnp.minimum(pixel + 1, high[:, None]) - jnp.maximum(pixel, low[:, None])).clip(0, 1)


def _rectangle(start: list[Array], extent: tuple[int | Array, ...] | list[Array], size: Pair) -> Float[Array, "h w"]:
    rows, cols = ((jnp.arange(n) >= s) & (jnp.arange(n) < s + e) for n, s, e in zip(size, start, extent))
    return jnp.outer(rows, cols).astype(float)
