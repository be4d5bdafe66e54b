"""Flax models, nnx and linen, as networks: their functions are traced in inference mode; modules name layers."""

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax

from saliency.errors import InputError
from saliency.models.from_jax import check_options, from_function
from saliency.models.network import Network
from saliency.models.preprocessing import Preprocessing

if TYPE_CHECKING:  # flax takes as long to import as all the rest, and only these functions need it
    from flax import linen, nnx

# what modules call the switch between training and inference, and its position for inference
SWITCHES = {"train": False, "training": False, "is_training": False, "deterministic": True, "use_running_average": True}


def from_flax(
    model: "nnx.Module | linen.Module",
    variables: Any = None,
    *,
    size: int | tuple[int, int],
    channels: int = 3,
    preprocess: Preprocessing | None = None,
    classes: Sequence[str] = (),
) -> Network:
    """A network of an nnx module, or of a linen module and its `variables`; other arguments are `from_function`'s.

    Inference is set: nnx modules as by `model.eval()`, on a copy; an argument of the call named train, training,
    is_training, deterministic or use_running_average is given. Layers bear the modules' paths. Raises InputError for
    other things, for linen without variables, and whatever `from_function` does.

    >>> import numpy as np, saliency
    >>> from flax import nnx
    >>> rngs = nnx.Rngs(0)
    >>> model = nnx.Sequential(nnx.Conv(3, 4, (3, 3), rngs=rngs), nnx.relu, lambda x: x.mean((1, 2)))
    >>> net = saliency.from_flax(model, size=(8, 6))
    >>> saliency.gradient_maps(net, np.ones((1, 8, 6, 3), np.float32)).shape
    (1, 8, 6)
    """
    from flax import linen, nnx

    check_options(size, channels, preprocess, classes)
    if isinstance(model, nnx.Module):
        if variables is not None:
            raise InputError("variables belong to a linen module; an nnx module holds its own")
        apply, variables = _nnx(model)
    elif isinstance(model, linen.Module):
        if variables is None:
            raise InputError("a linen module needs its variables, as model.init gives them and training changes them")
        apply = _linen(model)
    else:
        raise InputError(f"model must be a flax module (nnx or linen), not {type(model).__name__}")
    name = type(model).__name__.lower()
    options: dict[str, Any] = {"channels": channels, "preprocess": preprocess, "classes": classes, "name": name}
    return from_function(apply, variables, size=size, **options)


def _inference(function: Callable) -> dict[str, bool]:
    """The switch as the function has it."""
    try:
        names = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
    return {name: value for name, value in SWITCHES.items() if name in names}


def _linen(model: "linen.Module") -> Callable:
    switch = _inference(model.__call__)  # type: ignore[operator]
    return lambda variables, x: model.apply(variables, x, **switch)  # type: ignore[arg-type]


def _nnx(model: "nnx.Module") -> tuple[Callable, Any]:
    from flax import nnx

    graph, state = nnx.split(model)
    copy = nnx.merge(graph, state)
    copy.eval()
    graph, state = nnx.split(copy)
    switch = _inference(type(model).__call__)  # type: ignore[operator]

    def apply(state: Any, x: jax.Array) -> jax.Array:
        merged = nnx.merge(graph, state)
        _name_modules(merged)
        return merged(x, **switch)  # type: ignore[operator]

    return apply, state


def _name_modules(model: "nnx.Module") -> None:
    """Every submodule runs within a scope that bears its name within the module that holds it."""
    from flax import nnx

    modules = {
        path: node
        for path, node in nnx.iter_graph(model)
        if path and isinstance(node, nnx.Module) and callable(node) and not isinstance(node, nnx.List | nnx.Dict)
    }
    for path, module in modules.items():
        holder = max((len(other) for other in modules if other == path[: len(other)] and other != path), default=0)
        kind, name = type(module), ".".join(map(str, path[holder:]))

        def call(self: Any, *args: Any, _kind: Any = kind, _name: str = name, **options: Any) -> Any:
            with jax.named_scope(_name):
                return _kind.__call__(self, *args, **options)

        object.__setattr__(module, "__class__", type(kind.__name__, (kind,), {"__call__": call}))
