"""What every operator is: the shape it gives, how it is computed, how a changed window spreads, how the change is
computed, and how many multiplications it takes.

Activations are float `[n, h, w, c]` (a map), `[n, d]` (a vector) or `[n, t, d]` (tokens); shapes are stated without
the batch axis. Engines ask an operator and look at no type. The defaults are those of a function that works at each
place on its own, or of one of which nothing is known: all of it may change, and is computed anew. Exact in any case:
an operator's own rules only make it cheaper.
"""

from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jax import Array
from jaxtyping import Float

from saliency._checks import Pair
from saliency.errors import InputError
from saliency.models.operators import backward
from saliency.models.operators.backward import Rules
from saliency.models.operators.regions import Interval, Parameters, Region, Shape, is_map


class Sliding(NamedTuple):
    """Output line i reads `window` lines of the input from `i * stride - before` on; height and width each."""

    window: Pair
    stride: Pair
    before: Pair  # lines of padding at top and left


STILL = Sliding((1, 1), (1, 1), (0, 0))


class Operator:
    """A hashable description (a frozen dataclass) of one layer."""

    local: ClassVar[bool] = False  # map in, map out, and a changed window changes a window
    linear: ClassVar[bool] = False  # but for a constant: a change needs no look at the untouched activations
    recomputed: ClassVar[bool] = False  # so cheap that its output is computed again rather than kept
    monotone: ClassVar[bool] = False  # elementwise and never falling: it may be moved after a maximum
    takes_maximum: ClassVar[bool] = False  # a maximum over places, after which monotone operators may be moved
    channelwise: ClassVar[bool] = False  # output channel i depends on input channel i alone
    selectable: ClassVar[bool] = False  # has `features`, any of which can be computed without the others
    rectifies: ClassVar[bool] = False  # a ReLU: guided backprop and deconvolution have rules of their own for it
    pools_globally: ClassVar[bool] = False  # one number a channel: CAM leaves it out
    elementwise: ClassVar[bool] = False  # one input, and each output is a function of its own place and channel
    rearranges: ClassVar[bool] = False  # each output is one of the inputs, or a constant
    maximizes: ClassVar[bool] = False  # each output is the largest of some inputs
    weighted: ClassVar[bool] = False  # multiplies its input by weights: networks are as deep as they have such layers
    unrolled: ClassVar[bool] = False  # compiled as one long loop of its own, which takes longer than a library's call
    feature: ClassVar[bool] = False  # its output is what is called a feature: that of a convolution or an activation
    attends: ClassVar[bool] = False  # multiplies what depends on the image by what does too, as attention does
    one_size: ClassVar[bool] = False  # ties the network to the size of image that it was made for
    ties: ClassVar[str] = "has a fully connected layer"  # why that is so

    def __repr__(self) -> str:
        return described(self)

    @property
    def slides(self) -> Sliding:
        """Which lines of its input a line of a map is computed from."""
        return STILL

    def shape(self, *shapes: Shape) -> Shape:
        """Of the output, for inputs of these shapes."""
        return shapes[0]

    def parameter_shapes(self, *shapes: Shape) -> dict[str, Shape]:
        """Parameter name -> shape; none where it has no parameters of a known shape."""
        return {}

    def __call__(self, parameters: Parameters, *xs: Array) -> Array:
        raise NotImplementedError

    def linear_part(self, parameters: Parameters, *xs: Array) -> Array:
        """A linear operator without its constant term: what it makes of changes."""
        return self(parameters, *xs)

    def for_training(self) -> "Operator":
        """The same function, in the form whose gradient is cheapest."""
        return self

    def with_bias(self) -> "Operator | None":
        """The same with a bias for each of its features; None where it takes none, or has it already."""
        return None

    def times(self, factor: float, *shapes: Shape) -> "Operator | None":
        """What gives this one's output times a factor, for inputs of these shapes, where there is such an operator."""
        return None

    def multipliers(
        self, parameters: Parameters, xs: Sequence[Array], references: Sequence[Array], up: Array
    ) -> tuple[Array, ...]:
        """DeepLIFT's, for each input: times the input's difference from its reference, summed, they are `up` times the
        output's. `up` are the output's own multipliers."""
        function = partial(self, parameters)
        if self.linear:
            return backward.derivative(partial(self.linear_part, parameters), xs, up)
        if self.elementwise:
            return (backward.rescaled(function, xs[0], references[0], up),)
        if self.maximizes:
            return (backward.of_maxima(function, xs[0], references[0], up),)
        return backward.mean_derivative(function, xs, references, up)

    @property
    def has_relevance(self) -> bool:
        """Whether there is an LRP rule for it."""
        return self.rearranges or self.elementwise or self.maximizes or self.linear

    def relevance(self, parameters: Parameters, xs: Sequence[Array], up: Array, rules: Rules) -> tuple[Array, ...]:
        """LRP's, of each input; `up` is the output's. What only arranges anew hands it on, elementwise functions pass
        it through, a maximum gives it to its place, and linear operators to what contributes."""
        if self.elementwise:
            return (up,)
        if self.rearranges or self.maximizes:
            return backward.derivative(partial(self.linear_part if self.linear else self, parameters), xs, up)
        linear = partial(self.linear_part, parameters)
        return backward.epsilon_rule(linear, xs, self(parameters, *xs), up, rules.epsilon)

    def boxed_relevance(
        self, parameters: Parameters, x: Array, low: Array, high: Array, up: Array, rules: Rules
    ) -> Array:
        """LRP's z-box rule of a weighted operator, for inputs between two bounds."""
        linear = partial(self._with_kernel, parameters)
        return backward.box_rule(linear, parameters["kernel"], x, low, high, up, rules.epsilon)

    def _with_kernel(self, parameters: Parameters, kernel: Array, x: Array) -> Array:
        return self.linear_part({**parameters, "kernel": kernel}, x)

    def in_torch(self, parameters: Parameters) -> Any:
        """The same in torch, a module or a function of maps `[n, c, h, w]`, vectors and tokens. It serves comparisons
        only, and is the one place where torch is imported. Raises InputError where there is none."""
        raise InputError(f"{type(self).__name__} has no twin in torch")

    def macs(self, shapes: Sequence[Shape], places: Shape) -> int:
        """Multiplications for `places` of the output (its shape without channels, or a window's)."""
        return 0

    def scratch(self) -> int:
        """Numbers that it holds at once for an image, beyond its inputs and its output."""
        return 0

    def reach(self, axis: int, size: int, *changed: Interval) -> Interval:
        """The lines of `size` that can change, when these lines of the (local) operator's inputs do; may stick out."""
        low = np.min([low for low, _ in changed], 0)
        high = np.max([high for _, high in changed], 0)
        window, stride, before = (pair[axis] for pair in self.slides)
        return -((window - 1 - before - low) // stride), (high + before) // stride

    def receptive_size(self, size: Pair, ready: Any = None) -> Pair:
        """Size of the part of the input, padding included, that a window of the output is computed from."""
        height, width = ((count - 1) * stride + window for count, window, stride, _ in zip(size, *self.slides))
        return height, width

    def origin(self, start: Any) -> Any:
        """Where that part starts, for windows that start there; int `[..., 2]`."""
        _, stride, before = (np.array(two, np.int32).reshape(*[1] * (start.ndim - 1), 2) for two in self.slides)
        return start * stride - before

    def prepare(self, parameters: Parameters, shapes: Sequence[Shape]) -> Any:
        """What is made of the parameters once for all positions, or None."""
        return None

    def prepares(self, shapes: Sequence[Shape]) -> bool:
        return False

    def transforms(self, shapes: Sequence[Shape]) -> bool:
        """Whether Winograd's algorithm computes this layer of one whole image: a program that takes long to compile."""
        return False

    def change(self, region: Region, *changes: Float[Array, "k _ _ _"]) -> Float[Array, "k _ _ _"]:
        """How the output's window changes with its inputs' changes, which cover what the region is computed from."""
        if self.linear:
            return self.linear_part(region.parameters, *changes)
        clean = [region.cut_before(i) for i in range(len(changes))]
        changed = self(region.parameters, *(x + d for x, d in zip(clean, changes)))
        return changed - (self(region.parameters, *clean) if self.recomputed else region.cut_after())

    def collapsed_change(self, region: Region, change: Float[Array, "k h w c"]) -> Float[Array, "k ..."] | None:
        """How a vector changes with a window (`region.start`, `region.size`) of the map that it is made of, or None:
        then the whole map's change is asked for."""
        return None

    def whole_change(self, region: Region, *changes: Array) -> Array:
        """How all of the output changes with all of its inputs."""
        if self.linear:
            return self.linear_part(region.parameters, *changes)
        clean = [region.before(i)[None] for i in range(len(changes))]
        changed = self(region.parameters, *(x + change for x, change in zip(clean, changes)))
        return changed - (self(region.parameters, *clean) if self.recomputed else region.after())


def described(value: Any) -> str:
    """A dataclass' `repr`, without fields that are QUIET and at their defaults: digests outlive new fields."""
    told = (f for f in fields(value) if not (f.metadata.get("quiet") and getattr(value, f.name) == f.default))
    return f"{type(value).__qualname__}({', '.join(f'{f.name}={getattr(value, f.name)!r}' for f in told)})"


def stays_local(operator: Operator, shapes: Sequence[Shape], output: Shape) -> bool:
    """Whether changed windows stay windows, for inputs of these shapes: a vector among them changes every place."""
    return operator.local and is_map(output) and all(map(is_map, shapes))


QUIET = {"quiet": True}  # metadata of a field that `repr` leaves out at its default
