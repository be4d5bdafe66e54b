"""Compiled programs, kept on disk from one process to the next, so that a second start does not compile again.

JAX keeps them where `jax_compilation_cache_dir` says. Here that is a folder of salbox's own, bounded in size, whose
entries appear whole or not at all: JAX itself writes an entry in place, so that a full disk or a second process would
leave half of one for good. A cache never stops a run: what cannot be read or written is compiled, as without it.

Entries are machine code. A folder that others may write to is not used, for they could run theirs.
"""

import hashlib
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import get_ident, local

import jax
from jax._src import compilation_cache as jax_cache

from saliency._checks import described, whole
from saliency.errors import InputError

VERSION = 1  # of the folder's layout, in its name
MOST = 512 * 2**20  # bytes
DIGEST = 32  # bytes before each entry
KEPT = 0.9  # of the most bytes, after older entries were removed
VARIABLE = "SALBOX_CACHE"
OFF = ("off", "0", "no", "none", "false", "")


def use_cache(folder: Path | str | None = None, *, most: int = MOST) -> Path | None:
    """Keep what JAX compiles in a folder, and take it from there the next time.

    Args:
        folder: where; "off" for nowhere. Without it the environment variable SALBOX_CACHE says (a folder, or "off"),
            and without that it is `salbox/compiled-1` in the user's folder for caches ($XDG_CACHE_HOME or ~/.cache;
            ~/Library/Caches on macOS; %LOCALAPPDATA% on Windows).
        most: bytes that the entries may take; the longest unused ones go first.

    Returns:
        The folder in use, or None where there is none: it was turned off, or nothing can be written there.

    Where JAX has a cache of the user's own (JAX_COMPILATION_CACHE_DIR, `jax.config`), that one stays, as it is set.
    Scripts call this themselves (`--compile-cache`). Raises InputError for a `folder` that cannot be used, for one that
    others may write to, and for `most` below 1.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     kept = use_cache(place)
    """
    whole("most", most, least=1)
    if folder is not None and not isinstance(folder, str | Path):
        raise InputError(f'folder must be a path, or "off", not {described(folder)}')
    own = isinstance(getattr(jax_cache, "_cache", None), Entries)
    stated = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    if stated is not None and not own:
        return Path(stated)
    named = folder if folder is not None else os.environ.get(VARIABLE)
    if named is not None and str(named).lower() in OFF:
        if own:
            jax.config.update("jax_compilation_cache_dir", None)
            jax_cache.reset_cache()
        return None
    place = default_folder() if named is None else Path(named).expanduser()
    if problem := unusable(place):
        if folder is not None:
            raise InputError(f"{place}: {problem}; name another folder for compiled programs, or off")
        return None
    _set(place.absolute(), most)
    return place.absolute()


def default_folder(environment: Mapping[str, str] = os.environ, system: str = sys.platform) -> Path:
    """The folder of compiled programs where nobody names one."""
    home = Path(environment.get("HOME") or Path.home())
    if environment.get("XDG_CACHE_HOME"):
        caches = Path(environment["XDG_CACHE_HOME"])
    elif system == "darwin":
        caches = home / "Library" / "Caches"
    elif system == "win32" and environment.get("LOCALAPPDATA"):
        caches = Path(environment["LOCALAPPDATA"])
    else:
        caches = home / ".cache"
    return caches / "salbox" / f"compiled-{VERSION}"


def unusable(folder: Path) -> str:
    """Why compiled programs cannot be kept in a folder, which is made; "" where they can."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        state = folder.stat()
    except (OSError, RuntimeError) as error:
        return getattr(error, "strerror", None) or str(error)
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return "nothing can be written there"
    if hasattr(os, "getuid") and (state.st_uid != os.getuid() or state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
        return "other users may write there, and compiled programs are machine code"
    return ""


def in_use() -> "Entries | None":
    """The entries of the folder in use; None without one, and where JAX has a cache of the user's own."""
    entries = getattr(jax_cache, "_cache", None)
    return entries if isinstance(entries, Entries) else None


def counted(key: str) -> int:
    """What `count` added up under this key, in every process that shares the folder in use; 0 without such a folder."""
    entries = in_use()
    value = entries.get(key) if entries else None
    return int(value) if value and value.isdigit() else 0


def count(key: str, more: int) -> None:
    """Add to what the folder in use says of a key. Of two processes that add at once, one may be forgotten."""
    if entries := in_use():
        entries.put(key, str(counted(key) + more).encode(), anew=True)


class Entries:
    """The entries of a folder, a file each, as JAX asks for them: `get` and `put` by key. Neither ever fails.

    A file is the SHA-256 of what follows; one that was altered or cut off is removed, and compiled again.
    """

    def __init__(self, folder: Path, most: int):
        self._path = folder  # the name that JAX itself asks for
        self._most = most
        self._bytes = sum(size for _, size, _ in self._found())
        self._here = local()

    @contextmanager
    def passed_over(self) -> Iterator[None]:
        """Within it this thread finds nothing here, and leaves nothing."""
        self._here.passed_over = True
        try:
            yield
        finally:
            self._here.passed_over = False

    def get(self, key: str) -> bytes | None:
        if getattr(self._here, "passed_over", False):
            return None
        path = self._path / f"{key}-cache"
        try:
            content = path.read_bytes()
        except OSError:
            return None
        value = content[DIGEST:]
        with suppress(OSError):
            if hashlib.sha256(value).digest() != content[:DIGEST]:
                path.unlink()
                return None
            os.utime(path)  # used now: the longest unused go first
        return value

    def put(self, key: str, value: bytes, *, anew: bool = False) -> None:
        path = self._path / f"{key}-cache"
        if len(value) > self._most or getattr(self._here, "passed_over", False):
            return
        with suppress(OSError):
            if path.exists() and not anew:
                return
            if self._bytes + len(value) > self._most:
                self._make_room(len(value))
            temporary = path.with_name(f"{key}-{os.getpid()}-{get_ident()}-partial")
            try:
                temporary.write_bytes(hashlib.sha256(value).digest() + value)
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
            self._bytes += DIGEST + len(value)

    def clear(self) -> None:
        for _, _, path in self._found():
            with suppress(OSError):
                path.unlink()
        self._bytes = 0

    def _found(self) -> list[tuple[float, int, Path]]:
        """When each entry was last used, its bytes and its path; the longest unused first."""
        found = []
        with suppress(OSError):
            for path in (*self._path.glob("*-cache"), *self._path.glob("*-partial")):  # what a kill left behind, too
                with suppress(OSError):
                    state = path.stat()
                    found.append((state.st_mtime, state.st_size, path))
        return sorted(found)

    def _make_room(self, wanted: int) -> None:
        """Remove the longest unused entries; other processes' are counted too."""
        found = self._found()
        self._bytes = sum(size for _, size, _ in found)
        for _, size, path in found:
            if self._bytes + wanted <= KEPT * self._most:
                return
            with suppress(OSError):
                path.unlink()
            self._bytes -= size


def _set(folder: Path, most: int) -> None:
    """Tell JAX. Where its inner parts have other names, it keeps the folder in its own way, unbounded."""
    jax_cache.reset_cache()
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    if hasattr(jax_cache, "_cache") and hasattr(jax_cache, "_cache_initialized"):
        jax_cache._cache = Entries(folder, most)  # type: ignore[assignment]
        jax_cache._cache_initialized = True
