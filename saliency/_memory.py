"""What a computation takes of this process's memory, where the kernel says (Linux; elsewhere None), and keeping it."""

import ctypes
import re
from contextlib import suppress
from pathlib import Path

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
