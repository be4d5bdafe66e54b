"""What a computation takes of this process's memory, where the kernel says (Linux; elsewhere None), keeping it, and
giving it back."""

import ctypes
import mmap
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

ALIGNMENT = 64  # bytes: XLA takes an array of the host's that begins at a multiple of it as it lies

KEPT = 2**30  # bytes at most that stay with the process once they are freed
_MMAP_THRESHOLD, _TRIM_THRESHOLD, _ARENA_MAX = -3, -1, -8  # as malloc.h has them


def keep_freed() -> None:
    """Let this process keep the memory that a computation frees for the next one, instead of giving it back.

    A compiled program takes all its activations at once and frees them at once; glibc returns so much to the kernel,
    which hands it out again a page at a time, zeroed: a tenth to a quarter of a gradient map's time. It has to be said
    before JAX starts its threads, and does nothing where the C library is another.
    """
    with suppress(OSError, AttributeError, TypeError):
        tune = ctypes.CDLL(None).mallopt
        for setting, value in ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, KEPT), (_TRIM_THRESHOLD, KEPT)):
            tune(setting, value)


def reset_peak_memory() -> None:
    """Forget this process's largest resident size so far, where the kernel lets us (Linux).

    What has been freed goes back first: a compiler's leavings are not what the next computation takes.
    """
    with suppress(OSError, AttributeError, TypeError):  # no libc by that way on Windows
        ctypes.CDLL(None).malloc_trim(0)  # glibc has it
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int | None:
    """Largest resident size in bytes since the last reset; None where the kernel does not say."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else None


def aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array, not yet written, that begins where XLA needs no copy of it."""
    size = int(np.prod(shape)) * dtype.itemsize
    buffer = np.empty(size + ALIGNMENT, np.uint8)
    first = -buffer.ctypes.data % ALIGNMENT
    return buffer[first : first + size].view(dtype).reshape(shape)


def maps_of(arrays: Iterable[np.ndarray]) -> set[mmap.mmap]:
    """The files mapped into memory in which the numbers of these arrays lie."""
    found = set()
    for array in arrays:
        base: object = array
        while base is not None and not isinstance(base, mmap.mmap):  # strided views have an object of their own between
            base = base.obj if isinstance(base, memoryview) else getattr(base, "base", None)
        if isinstance(base, mmap.mmap):
            found.add(base)
    return found


def let_go(maps: Iterable[mmap.mmap]) -> None:
    """Give back the pages that have been read of files mapped read-only: they are there again when they are needed."""
    with suppress(AttributeError, OSError):  # Windows has no madvise
        for each in maps:
            each.madvise(mmap.MADV_DONTNEED)
