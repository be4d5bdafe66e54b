"""Programs that a second process finds ready: neither traced nor compiled again.

JAX finds a compiled program by its text, for which a function is traced and lowered first: of a network of sixty layers
that takes longer than an image. `kept` finds it by what decides the text: the function, salbox's own source, its static
arguments and the shapes of the others, versions, settings and the processor. What cannot be told by its value (a
function of the user's own, a network that was traced from one) is left to JAX, and so is everything without a folder of
salbox's own (`saliency.cache`), on an accelerator and on several devices. So is a program that calls a function outside
of it, such as LAPACK's eigenvectors: JAX readies that function while it lowers, and in a process that only loads the
program the call would go to nowhere.

An entry is machine code and a pickle beside it, so it is read from a folder alone that nobody else may write to.
"""

import hashlib
import os
import pickle
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache, update_wrapper
from pathlib import Path
from threading import Lock
from typing import Any

import jax
import numpy as np
from jax.experimental import serialize_executable
from jax.stages import Compiled

from saliency._cores import cores
from saliency.cache import Entries, in_use
from saliency.devices import on_cpu

# JAX's settings that decide a program, which a context may change for one thread, and those that watch over each step
_STATED = ("enable_x64", "default_matmul_precision", "default_device", "numpy_dtype_promotion", "numpy_rank_promotion")
_WATCHING = ("disable_jit", "debug_nans", "debug_infs")
# Compiled by ourselves, not taken from what JAX has loaded: a program that was read from a file and is written again
# computes other numbers (jaxlib 0.10.2, CPU). The option's value is its default; that it is stated keeps the two apart.
EMPTY: Mapping[str, str | bool] = {}
_OWN: dict[str, str | bool] = {"xla_embed_ir_in_executable": False}


def kept(*static: str, compiled: Mapping[str, str | bool] = EMPTY) -> Callable[[Callable[..., Any]], "Kept"]:
    """A decorator: `jax.jit` with these static arguments, which are given by keyword, all others by position, and XLA's
    options `compiled`."""
    return lambda function: Kept(function, static, compiled)


class Kept:
    """A function whose programs are found again; `jitted` is what JAX makes of it."""

    def __init__(self, function: Callable[..., Any], static: Sequence[str], compiled: Mapping[str, str | bool]):
        update_wrapper(self, function)
        self.jitted = jax.jit(function, static_argnames=static, compiler_options=dict(compiled) or None)
        self._compiled = dict(compiled)
        self._name = f"{function.__module__}.{function.__qualname__}"
        self._known: dict[Any, Compiled | None] = {}
        self._turns: dict[Any, Lock] = {}

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        entries = in_use()
        if entries is None or not on_cpu() or jax.local_device_count() > 1 or any(_set(_WATCHING)):
            return self.jitted(*arguments, **settings)
        leaves, tree = jax.tree.flatten(arguments)
        shapes = tuple(map(_shape, leaves))
        if None in shapes:
            return self.jitted(*arguments, **settings)
        key = (tree, shapes, tuple(settings.items()), _set(_STATED))
        if key not in self._known:
            with self._turns.setdefault(key, Lock()):  # one thread loads or compiles it, the others wait
                if key not in self._known:
                    self._known[key] = self._program(entries, arguments, settings, (str(tree), shapes))
        program = self._known[key]
        return self.jitted(*arguments, **settings) if program is None else program(*arguments)

    def _program(
        self, entries: Entries, arguments: tuple[Any, ...], settings: dict[str, Any], asked: tuple[Any, ...]
    ) -> Compiled | None:
        """The program from the folder, or compiled and put there; None where it is left to JAX."""
        try:
            told = "".join(_told((self._name, self._compiled, settings, asked, tuple(map(str, _set(_STATED))))))
            name = "program-" + hashlib.sha256((_surroundings() + told).encode()).hexdigest()[:48]
        except (TypeError, OSError):
            return None
        if (content := entries.get(name)) is not None:
            try:
                payload, out = pickle.loads(content)
                return serialize_executable.deserialize_and_load(payload, jax.tree.structure((arguments, {})), out)
            except Exception:  # of another version after all, or of another machine: compiled as without it
                pass
        lowered = self.jitted.lower(*arguments, **settings)
        if "custom_call" in lowered.as_text():
            return None
        with entries.passed_over():
            compiled = lowered.compile(compiler_options=_OWN | self._compiled)
        try:
            payload, _, out = serialize_executable.serialize(compiled)
            entries.put(name, pickle.dumps((payload, out)), anew=True)
        except Exception:  # what JAX cannot write out is compiled anew by each process, as it is
            pass
        return compiled


def _shape(value: Any) -> tuple[Any, ...] | None:
    """What a program knows of an argument; None of what it cannot be asked for with."""
    if isinstance(value, jax.core.Tracer):
        return None
    if isinstance(value, jax.Array):
        return value.shape, value.dtype, value.weak_type  # type: ignore[attr-defined]
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype
    return (type(value).__name__,) if type(value) in (bool, int, float) or isinstance(value, np.generic) else None


def _set(names: Sequence[str]) -> tuple[Any, ...]:
    """What JAX's settings are in this thread."""
    return tuple(getattr(jax.config, f"jax_{name}") for name in names)


@cache
def _surroundings() -> str:
    """All that decides a program beside its own arguments: our source, versions, XLA's flags, JAX's settings and the
    processor. OSError where our source cannot be read."""
    folder = Path(__file__).parent
    source = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        source.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    settings = sorted(
        (name, repr(value)) for name, value in jax.config.values.items() if not ("cache" in name or "log" in name)
    )
    flags = {name: value for name, value in os.environ.items() if name.startswith(("XLA_", "JAX_", "OMP_"))}
    versions = jax.__version__, jax.lib.__version__, np.__version__, platform.python_version()
    device = jax.local_devices()[0]
    machine = platform.platform(), platform.machine(), _processor(), device.client.platform_version, cores()
    return repr((source.hexdigest(), settings, sorted(flags.items()), versions, machine))


def _processor() -> str:
    """What the processor is and is able to do, for machine code is made for it."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    wanted = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU ")
    return "".join(sorted({line for line in text.splitlines() if line.startswith(wanted)}))


def _told(value: Any) -> Iterator[str]:
    """A value in words that another one of the same meaning alone has. TypeError for what has no such words."""
    kind = type(value)
    if value is None or kind in (bool, int, float, str, bytes):
        yield f"{value!r},"
    elif isinstance(value, np.dtype | np.generic):
        yield f"{kind.__name__} {value!r},"
    elif isinstance(value, dict):
        yield "{"
        for name, own in value.items():
            yield from _told(name)
            yield from _told(own)
        yield "},"
    elif isinstance(value, tuple | list):
        yield f"{kind.__name__}("
        for own in value:
            yield from _told(own)
        yield "),"
    elif is_dataclass(value) and kind.__module__.startswith("saliency."):
        yield f"{kind.__module__}.{kind.__qualname__}("
        for one in fields(value):
            yield f"{one.name}="
            yield from _told(getattr(value, one.name))
        yield "),"
    else:
        raise TypeError(f"{kind.__name__} has no words of its own")
