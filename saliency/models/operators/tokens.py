"""What a vision transformer adds: tokens of a map's places, attention among them, and the class token."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import isqrt, prod
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from saliency.devices import precision
from saliency.models.operators.backward import Rules, at_the_middle, epsilon_rule, of_softmax
from saliency.models.operators.base import Operator
from saliency.models.operators.regions import Parameters, Shape


@dataclass(frozen=True)
class Tokens(Operator):
    """The places of a map as tokens, after `before` tokens of their own (the class token first, then registers), with
    an embedding of each position added: `[n, h, w, d]` becomes `[n, before + h * w, d]`."""

    before: int = 1

    one_size: ClassVar[bool] = True
    ties: ClassVar[str] = "has position embeddings"
    has_relevance: ClassVar[bool] = True

    def shape(self, *shapes: Shape) -> Shape:
        height, width, features = shapes[0]
        return self.before + height * width, features

    def parameter_shapes(self, *shapes: Shape) -> dict[str, Shape]:
        return {"tokens": (self.before, shapes[0][-1]), "positions": self.shape(*shapes)}

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        places = xs[0].reshape(xs[0].shape[0], -1, xs[0].shape[-1])
        first = jnp.broadcast_to(parameters["tokens"][None], (len(places), *parameters["tokens"].shape))
        return jnp.concatenate([first, places], 1) + parameters["positions"][None]

    def relevance(self, parameters: Parameters, xs: Sequence[Array], up: Array, rules: Rules) -> tuple[Array, ...]:
        """A place gets what it contributes beside its position's embedding."""
        without = {name: jnp.zeros_like(value) for name, value in parameters.items()}
        return epsilon_rule(partial(self, without), xs, self(parameters, *xs), up, rules.epsilon)

    def in_torch(self, parameters: Parameters) -> Any:
        from saliency.models.operators import torch_modules

        return torch_modules.tokens(parameters)


@dataclass(frozen=True)
class Attention(Operator):
    """How far each token looks at each, per head: softmax of query times key, over the root of their length. It reads
    queries, keys and values side by side `[n, t, 3 d]`; its output is flat, `heads * t * t` (`attention_of`)."""

    heads: int

    has_relevance: ClassVar[bool] = True

    def shape(self, *shapes: Shape) -> Shape:
        return (self.heads * shapes[0][0] ** 2,)

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        return jax.nn.softmax(self._logits(xs[0]), -1).reshape(len(xs[0]), -1)

    def _logits(self, joint: Array) -> Array:
        query, key, _ = split_heads(joint, self.heads)
        return jnp.einsum("nqhd,nkhd->nhqk", query, key, precision=precision()) / query.shape[-1] ** 0.5

    def multipliers(
        self, parameters: Parameters, xs: Sequence[Array], references: Sequence[Array], up: Array
    ) -> tuple[Array, ...]:
        one, other = map(self._logits, (xs[0], references[0]))
        return at_the_middle(self._logits, xs, references, of_softmax(one, other, up.reshape(one.shape)))

    def macs(self, shapes: Sequence[Shape], places: Shape) -> int:
        return shapes[0][0] ** 2 * shapes[0][1] // 3

    def relevance(self, parameters: Parameters, xs: Sequence[Array], up: Array, rules: Rules) -> tuple[Array, ...]:
        """None: attention counts as a constant, which weights the values (Ali et al. 2022, section 3.2)."""
        return (jnp.zeros_like(xs[0]),)

    def in_torch(self, parameters: Parameters) -> Any:
        from saliency.models.operators import torch_modules

        return torch_modules.Function(lambda x: torch_modules.attention(x, self.heads))


@dataclass(frozen=True)
class Mix(Operator):
    """Each token's values, weighted by attention: of `Attention`'s output and what it reads, `[n, t, d]`."""

    heads: int

    has_relevance: ClassVar[bool] = True

    def shape(self, *shapes: Shape) -> Shape:
        return shapes[1][0], shapes[1][1] // 3

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        attention, joint = xs
        *_, values = split_heads(joint, self.heads)
        weights = attention_of(attention, self.heads)
        return jnp.einsum("nhqk,nkhd->nqhd", weights, values, precision=precision()).reshape(*joint.shape[:2], -1)

    def macs(self, shapes: Sequence[Shape], places: Shape) -> int:
        return shapes[1][0] ** 2 * shapes[1][1] // 3

    def multipliers(
        self, parameters: Parameters, xs: Sequence[Array], references: Sequence[Array], up: Array
    ) -> tuple[Array, ...]:
        return at_the_middle(partial(self, parameters), xs, references, up)

    def relevance(self, parameters: Parameters, xs: Sequence[Array], up: Array, rules: Rules) -> tuple[Array, ...]:
        """The values get all of it."""
        attention, joint = xs
        linear = partial(self, parameters, attention)
        return jnp.zeros_like(attention), *epsilon_rule(linear, [joint], linear(joint), up, rules.epsilon)

    def in_torch(self, parameters: Parameters) -> Any:
        from saliency.models.operators import torch_modules

        return torch_modules.Function(lambda a, x: torch_modules.mixed(a, x, self.heads))


@dataclass(frozen=True)
class Token(Operator):
    """One token."""

    index: int = 0

    linear: ClassVar[bool] = True
    rearranges: ClassVar[bool] = True

    def shape(self, *shapes: Shape) -> Shape:
        return shapes[0][1:]

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        return xs[0][:, self.index]

    def in_torch(self, parameters: Parameters) -> Any:
        from saliency.models.operators import torch_modules

        return torch_modules.Function(lambda x: x[:, self.index])


def split_heads(joint: Array, heads: int) -> tuple[Array, Array, Array]:
    """Queries, keys and values of `[n, t, 3 d]`, each `[n, t, heads, d / heads]`."""
    query, key, value = jnp.split(joint, 3, -1)
    shape = (*query.shape[:2], heads, -1)
    return query.reshape(shape), key.reshape(shape), value.reshape(shape)


def attention_of(flat: Array, heads: int) -> Array:
    """Flat attention `[n, heads * t * t]` as `[n, heads, t, t]`: each row adds up to 1."""
    tokens = isqrt(prod(flat.shape[1:]) // heads)
    return flat.reshape(len(flat), heads, tokens, tokens)
