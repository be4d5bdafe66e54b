"""Atomic writes: nothing half-written is found under its final name, and leftovers of a kill are cleaned up.

Linux and macOS are supported in full. Windows has no `flock`: there files are written whole all the same, but what a
kill left behind stays, and two runs in one folder are not kept apart.
"""

import glob
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from saliency.errors import InputError

try:
    import fcntl
except ImportError:  # not a POSIX system: what a kill leaves behind stays
    fcntl = None  # type: ignore[assignment]

_finished: ContextVar[list[Path] | None] = ContextVar("files finished in the `require_all` block", default=None)


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """A temporary path beside `path`; renamed to it when the block ends well, removed when it does not.

    An OSError names `path`, not the temporary one.
    """
    path = Path(path)
    handle = temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear(path)
        temporary, handle = _partial(path)
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.fsync(handle)
        if fcntl is None:  # Windows renames no file that is open; the handle is there for the lock, which it has not
            os.close(handle)
            handle = None
        os.replace(temporary, path)
        if (finished := _finished.get()) is not None:
            finished.append(path)
    except OSError as error:
        if error.filename is None or Path(error.filename).name.startswith(_prefix(path)):
            error.filename = str(path)
        raise
    finally:
        if handle is not None:
            os.close(handle)
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_tensors(path: Path | str, tensors: Mapping[str, np.ndarray], header: Mapping[str, str]) -> None:
    """A safetensors file; a full disk is an OSError, which it is not where the library opens the file itself."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(save(dict(tensors), metadata=dict(header) or None))


def write_arrays(path: Path | str, arrays: Mapping[str, np.ndarray]) -> None:
    """An uncompressed .npz file, as `saliency._reading` reads it."""
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


@contextmanager
def require_all() -> Iterator[None]:
    """Files that make sense together: all that this thread writes in the block are there when it ends.

    InputError where one has been removed meanwhile, by someone who cleans up under the run: `atomic_write` makes a
    folder again, and so the later files alone would pass for all of them. The last one, by which a run is known to be
    complete, then goes too.
    """
    finished: list[Path] = []
    token = _finished.set(finished)
    try:
        yield
    finally:
        _finished.reset(token)
    for path in finished:
        if not path.exists():
            finished[-1].unlink(missing_ok=True)
            raise InputError(f"{path}: was removed while the run went on; run the same command again")


def check_writable(folder: Path) -> None:
    """InputError before hours of work, not after them, where nothing can be written in `folder`, which need not exist.

    Nothing is made.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise InputError(f"{existing}: is a file where a folder is needed; choose another folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: nothing can be written there; choose another folder")


@contextmanager
def exclusive_lock(folder: Path) -> Iterator[None]:
    """The one run that writes in `folder`, which is made; InputError where another one does.

    The lock goes with the process. Where the file system has no locks nobody is kept out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        if _lock(handle, wait=False) is False:
            raise InputError(f"{folder}: another run writes there; wait for its end, or choose another folder")
        yield
    finally:
        os.close(handle)


def _prefix(path: Path) -> str:
    """How the names of this file's temporary ones begin."""
    return f".partial-{path.stem}-"


def _partial(path: Path) -> tuple[Path, int]:
    """A new file, locked for as long as its writer lives: what is not locked was left behind by a kill."""
    while True:
        handle, name = tempfile.mkstemp(prefix=_prefix(path), suffix=path.suffix, dir=path.parent)
        _lock(handle, wait=True)
        if os.fstat(handle).st_nlink:  # else another process took it for a leftover just before it was locked
            return Path(name), handle
        os.close(handle)


def _clear(path: Path) -> None:
    """Remove what killed writers of this file left behind, and nothing that another process is writing."""
    for leftover in path.parent.glob(f"{glob.escape(_prefix(path))}????????{glob.escape(path.suffix)}"):
        with suppress(OSError), open(leftover, "rb") as file:
            if _lock(file.fileno(), wait=False):
                leftover.unlink()


def _lock(handle: int, wait: bool) -> bool | None:
    """Whether the file is ours now, or another's; None where the file system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
