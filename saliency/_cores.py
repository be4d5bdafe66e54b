"""How many threads pay on this machine."""

import os


def cores() -> int:
    """The cores that this process may use; where the system does not say (macOS, Windows), those of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
