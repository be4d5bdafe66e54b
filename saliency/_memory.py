"""What a computation takes of this process's memory, where the kernel says (Linux; elsewhere None)."""

import ctypes
import re
from contextlib import suppress
from pathlib import Path


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
