"""What an argument must be. Each check names the argument and the allowed range in one InputError."""

import reprlib
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import ml_dtypes
import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from saliency._cores import cores
from saliency.errors import InputError

Pair = tuple[int, int]  # height, width
LARGE = 2**22  # numbers from which threads pay

# What the doors take: an array of any library, a tensor, or rows of numbers, which they bring to these shapes
ImagesLike = Annotated[ArrayLike, "n h w c"]
MapsLike = Annotated[ArrayLike, "n h w"]
StackedMapsLike = Annotated[ArrayLike, "n *k h w"]  # of k methods, or of one
BoxesLike = Annotated[ArrayLike, "n 4"]

PerImage = Float[np.ndarray, " n"]  # what measures give: one figure for each image


def described(value: object) -> str:
    """What a value is, on one line: an array by its dtype and shape, anything else in few letters."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        return f"{getattr(value, 'dtype', type(value).__name__)} {list(shape)}"
    if isinstance(value, list | tuple) and any(getattr(one, "shape", ()) for one in value):
        return f"a {type(value).__name__} of {len(value)}, the first {described(value[0])}"
    return " ".join(reprlib.repr(value).split())


def as_array(name: str, value: object, what: str = "numbers of one shape") -> np.ndarray:
    """Arrays of any library, lists and tuples of them, as NumPy's numbers; a masked number is NaN.

    Floats that NumPy does not know itself (bfloat16) become float32. Raises InputError for what holds no numbers, for
    rows of unequal length, and for what `jax.jit` or `jax.grad` trace.
    """
    if "jax" in sys.modules and isinstance(value, sys.modules["jax"].core.Tracer):
        raise InputError(f"{name} is being traced: call this outside of jax.jit, jax.grad and jax.vmap")
    try:
        array = np.asarray(_in_memory(value))
    except (TypeError, ValueError):
        raise InputError(f"{name} must be {what}, not {described(value)}") from None
    if array.dtype.kind not in "fiub":
        if not _is_float(array.dtype):
            raise InputError(f"{name} must be {what}, not {described(value)}")
        array = array.astype(np.float32)
    return array


def _in_memory(value: object) -> object:
    """Tensors of PyTorch, which NumPy takes only from the CPU and without a gradient, and NaN for what is masked."""
    if hasattr(value, "detach"):
        tensor = value.detach().cpu()
        return tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor
    if isinstance(value, np.ma.MaskedArray):
        return np.ma.filled(value.astype(float), np.nan) if np.ma.is_masked(value) else value.data
    if isinstance(value, list | tuple) and any(hasattr(one, "detach") or np.ma.isMaskedArray(one) for one in value):
        return [_in_memory(one) for one in value]
    return value


def _is_float(dtype: np.dtype) -> bool:
    """Whether these are floats that NumPy itself does not know."""
    try:
        return dtype.kind == "V" and bool(ml_dtypes.finfo(dtype))
    except ValueError:
        return False


def _wide() -> np.dtype:
    """float64 where JAX has it enabled."""
    import jax

    return np.dtype(jax.dtypes.canonicalize_dtype(np.float64))


def as_images(
    name: str,
    value: object,
    dtype: np.dtype | None = None,
    *,
    channels: int | None = None,
    normalised: bool = False,
    within: tuple[float, float] | None = None,
) -> np.ndarray:
    """Images `[n, h, w, c]` as finite floats of `dtype`, or InputError with what is wrong with them.

    `dtype` None: float32, or float64 for images that are, where JAX has it enabled.
    `channels`: how many there must be. `normalised`: they must be floats, as `net.preprocess` gives them; `within`:
    between these bounds.
    """
    wanted = f"[n, h, w, {channels or 'c'}]{' as net.preprocess gives it' * normalised}"
    if isinstance(value, list | tuple) and len({np.shape(one) for one in value if hasattr(one, "shape")}) > 1:
        remedy = "; photos of any sizes go through net.preprocess first" if normalised else ""
        raise InputError(f"{name} must be {wanted}, images of one size, not {described(value)}{remedy}")
    array = as_array(name, value, f"{wanted}, numbers")
    if normalised and array.dtype.kind != "f":
        raise InputError(f"{name} must be float, normalised by net.preprocess, not {array.dtype}")
    shape = array.shape
    if len(shape) != 4 or (channels and shape[-1] != channels):
        raise InputError(f"{name} must be {wanted}, not {list(shape)}{_misplaced(shape, channels)}")
    if 0 in shape[1:]:
        raise InputError(f"{name} must be images of at least one pixel, not {list(shape)}")
    if dtype is None:
        dtype = _wide() if array.dtype == np.float64 else np.dtype(np.float32)
    with np.errstate(over="ignore"):  # what the precision cannot hold is infinite, and told below
        images = array.astype(dtype, copy=False)
    low, high = _extent(images) if images.size else (0.0, 0.0)
    if not (np.isfinite(low) and np.isfinite(high)):  # as cheap as a check can be: one that passes looks no further
        bad = np.flatnonzero(~np.isfinite(images).all((1, 2, 3)))
        raise InputError(f"{name} holds NaN or infinite values in image {bad[0]} ({len(bad)} of {shape[0]} images)")
    if within and not within[0] <= low <= high <= within[1]:
        raise InputError(
            f"{name} holds {low:.4g} to {high:.4g}, far from what net.preprocess makes of photos: pass them through it"
        )
    return images


def _extent(images: np.ndarray) -> tuple[float, float]:
    """The smallest and largest value, NaN where there is one; image by image, which a cache holds, and in threads where
    there is much to look at: an accelerator waits for nothing else."""

    def ends(some: np.ndarray) -> list[tuple[float, float]]:
        return [(float(one.min()), float(one.max())) for one in some]

    if images.size < LARGE:
        found = ends(images)
    else:
        threads = min(cores(), len(images), 16)
        with ThreadPoolExecutor(threads) as pool:
            found = [one for some in pool.map(ends, np.array_split(images, threads)) for one in some]
    low, high = np.array(found).T
    return float(low.min()), float(high.max())


def _misplaced(shape: tuple[int, ...], channels: int | None) -> str:
    """Where the channels or the images' axis may be, for those who have them elsewhere."""
    few = (channels,) if channels else (1, 3)
    if len(shape) == 4 and shape[1] in few:
        return "; the channels come last: transpose by (0, 2, 3, 1)"
    if len(shape) == 3 and shape[-1] in few:
        return "; one image is x[None]"
    return ""


def as_booleans(name: str, value: object, wanted: str) -> np.ndarray:
    """Masks of the shape `wanted`, of booleans or of two numbers, 0 and 1 or (as pictures have them) 0 and 255.

    Raises InputError for others: of a share, of a class's number or of NaN nobody knows which side it lies on.
    """
    found = as_array(name, value, f"booleans {wanted}")
    if found.dtype.kind != "b" and found.size:
        on = found[found != 0]
        if on.size and not ((on == 1).all() or (on == 255).all()):
            raise InputError(
                f"{name} must be booleans {wanted}, or 0 and 1, not {described(value)} with {on.min():g} to"
                f" {on.max():g} in it; say where it is: {name} > 0.5, say"
            )
    return found.astype(bool)


def check_forwards(name: str, boxes: np.ndarray) -> None:
    """InputError for boxes `[..., 4]` whose right edge lies before the left, or the lower before the upper."""
    if (boxes[..., 2:] < boxes[..., :2]).any():
        raise InputError(f"{name} run backwards: they must be x0 y0 x1 y1, not as x y width height would")


def numbers(
    name: str, values: object, *, least: float = -np.inf, above: float = -np.inf, below: float = np.inf
) -> list:
    """Several finite numbers between such bounds as `number` has, at least one, of any sequence."""
    if isinstance(values, str) or not np.iterable(values):
        raise InputError(f"{name} must be a list of numbers, not {described(values)}")
    found = list(values)  # type: ignore[call-overload]
    for one in found:
        number(name, one, least=least, above=above, below=below)
    if not found:
        raise InputError(f"{name} must be one number or more, not none")
    return found


def as_maps(name: str, value: object) -> np.ndarray:
    """Maps as numbers `[n, h, w]` of at least one pixel, or InputError. NaN may be among them: a status says so."""
    if isinstance(value, list | tuple) and not len(value):
        return np.empty((0, 1, 1))
    maps = as_array(name, value, "numbers [n, h, w]")
    if maps.ndim != 3 or 0 in maps.shape[1:]:
        raise InputError(f"{name} must be [n, h, w], of at least one pixel, not {list(maps.shape)}")
    return maps


def one_of(name: str, value: object, allowed: Iterable[str]) -> None:
    allowed = tuple(allowed)
    if not isinstance(value, str) or value not in allowed:
        raise InputError(f"{name} must be one of {', '.join(allowed)}, not {described(value)}")


def whole(name: str, value: object, least: int = 0, *, optional: bool = False, most: float = np.inf) -> None:
    """An integer of at least `least` and at most `most`; None as well, where that is `optional`."""
    if optional and value is None:
        return
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise InputError(f"{name} must be a whole number of at least {least}, not {described(value)}")
    if value > most:
        raise InputError(f"{name} must be at most {most:.0f} here, not {described(value)}")


def number(name: str, value: object, *, least: float = -np.inf, above: float = -np.inf, below: float = np.inf) -> None:
    """A finite number of at least `least`, above `above` and below `below`."""
    real = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not real or not least <= value or not above < value < below:  # type: ignore[operator]
        bounds = {"of at least": least, "above": above, "below": below}
        said = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if np.isfinite(bound))
        raise InputError(f"{name} must be {f'a finite number {said}'.strip()}, not {described(value)}")


def pair(name: str, value: int | Pair) -> Pair:
    """One number for both axes, or (height, width)."""
    values = tuple(value) if isinstance(value, tuple | list | np.ndarray) else (value, value)
    if len(values) != 2 or not all(isinstance(v, int | np.integer) and not isinstance(v, bool) for v in values):
        raise InputError(f"{name} must be a whole number of pixels or a pair (height, width), not {described(value)}")
    return int(values[0]), int(values[1])


def kind_of(name: str, value: object, kind: type, said: str) -> None:
    """A value of one class; `said` is what it holds, or where one comes from."""
    if not isinstance(value, kind):
        raise InputError(f"{name} must be a {kind.__name__}, {said}, not {described(value)}")


def function(name: str, value: object, of: str) -> None:
    """Something to call, or None; `of` says with what."""
    if value is not None and not callable(value):
        raise InputError(f"{name} must be a function of {of}, or None, not {described(value)}")


def text(name: str, value: object) -> None:
    """Words for a page."""
    if not isinstance(value, str):
        raise InputError(f"{name} must be text, not {described(value)}")


def texts(name: str, values: object) -> None:
    """Several, as a list or tuple."""
    if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
        raise InputError(f"{name} must be a list of texts, not {described(values)}")


def folder(name: str, value: object) -> Path | None:
    """A folder to write in, which need not exist, or None."""
    if value is None:
        return None
    if not isinstance(value, str | Path):
        raise InputError(f"{name} must be the path of a folder, or None, not {described(value)}")
    path = Path(value)
    if any(one.exists() and not one.is_dir() for one in (path, *path.parents)):
        raise InputError(
            f"{name} must be a folder, which need not exist, not {str(value)!r}, where a file is in the way"
        )
    return path
