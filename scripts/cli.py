"""What every script shares: clear errors with exit code 2, and when to be silent."""

import ctypes
import errno
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn, TypeVar

from saliency.errors import InputError
from saliency.models.preprocessing import Preprocessing

Options = TypeVar("Options")

ROOM = "make room and run the same command again"
REMEDIES = {
    errno.ENOSPC: ROOM,
    errno.EDQUOT: ROOM,
    errno.EFBIG: ROOM,
    errno.EROFS: "choose another --out",
    errno.ENOENT: "it or its folder was taken away meanwhile; run the same command again",
}


@dataclass(frozen=True)
class Entry:
    """How photos enter the network, where not as the checkpoint says."""

    resize: Literal["checkpoint", "stretch", "crop", "letterbox"] = "checkpoint"
    """How photos become input; a crop hides what lies at the border."""
    input: int | None = None
    """Side of the input in pixels, where the network takes any (default: the checkpoint's)."""

    def of(self, own: Preprocessing) -> Preprocessing:
        if self.input is not None and self.input < 16:
            raise InputError(f"--input must be at least 16, not {self.input}")
        return own.changed(None if self.resize == "checkpoint" else self.resize, self.input)


def run(main: Callable[[Options], int], options: Options) -> NoReturn:
    """Run a script's `main`: bad input ends in one sentence on stderr and exit code 2, an interrupt in 130."""
    try:
        code = main(options)
    except (InputError, OSError) as error:
        print(f"error: {_sentence(error)}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        code = 130
    sys.exit(code)


def command() -> str:
    """The command line that runs, for the record of a result; no path of the script itself."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


def silent(quiet: bool) -> bool:
    """Whether progress bars stay away: on request, or where nobody watches."""
    return quiet or not sys.stdout.isatty()


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        remedy = REMEDIES.get(error.errno or 0)
        return f"{error.filename}: {error.strerror or error}" + (f"; {remedy}" if remedy else "")
    return " ".join(str(error).split())


def reset_peak_memory() -> None:
    """Forget this process's largest resident size so far, where the kernel lets us (Linux).

    What has been freed goes back first: a compiler's leavings are not what the next computation takes.
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc's alone; Windows names no library None
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
