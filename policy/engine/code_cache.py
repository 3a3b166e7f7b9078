"""Compiled functions that Python calls, and where their machine code is kept and found.

The code is named by a digest of all sources that it is made of and compiled for a portable target, so whatever lies in
a cache under its name is right: filled at image build, it serves from a folder that cannot be written. numba itself
looks only at the file of the entry point, and refuses a folder that it cannot write even for reading.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import CompileResultCacheImpl, FunctionCache, UserWideCacheLocator, _CacheLocator
from numba.core.runtime import rtsys

from policy.engine.jit import FOLDER, OPTIONS, SOURCES_DIGEST

CACHE_VARIABLE = "STACKMAC_CACHE"
"""Names another folder for compiled code."""


class NotCompiled(Exception):
    """The machine code is in no cache, and was only to be looked for."""


class EntryPoint:
    """What Python calls. Compiles only when it is told to."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        sources_digest: str = SOURCES_DIGEST,
        folder: Path = FOLDER,
        **options: Any,
    ) -> None:
        """By default part of the engine. folder: beside which its code is kept, if it may be written. options: numba's,
        where they are others than the engine's.
        """
        function.__qualname__ = f"{function.__name__}_{sources_digest}"
        self._sources_digest, self._folder = sources_digest, folder
        self.run: Any = njit(**{**OPTIONS, **options})(function)
        """Of arguments that were prepared for."""
        self._cache: _Cache | None = None
        self._lock = threading.Lock()

    def prepare(self, arguments: tuple[Any, ...], *, may_compile: bool) -> None:
        """Have machine code for arguments of these types. Raises NotCompiled if it is not to be compiled here.

        What was compiled is kept where there is a place for it. Raises numba's errors where it cannot compile.
        """
        signature = tuple(map(self.run.typeof_pyval, arguments))
        if signature in self.run.overloads:
            return
        if not self._lock.acquire(blocking=may_compile):
            raise NotCompiled  # another thread is at it
        try:
            if self._cache is None:
                self._cache = self.run._cache = _Cache(self.run.py_func, self._sources_digest, self._folder)
            self._cache.may_compile = may_compile
            self.run.compile(signature)
        finally:
            self._lock.release()

    @property
    def kept_in(self) -> str:
        """The folder that the code came from or went to; empty = it is in this process alone."""
        return self._cache.used if self._cache is not None else ""


def folders(beside: Path = FOLDER) -> Iterator[Path]:
    """Where compiled code may lie, the first choice first."""
    if named := os.environ.get(CACHE_VARIABLE):
        yield Path(named)
        return
    yield beside / "__pycache__"
    yield Path(UserWideCacheLocator(folders, __file__).get_cache_path())
    yield Path(tempfile.gettempdir()) / f"stackmac-{os.getuid()}"


class _Folder(_CacheLocator):
    """A place for the code of one function; it may be one that can only be read."""

    def __init__(self, path: Path, sources_digest: str) -> None:
        self._path = str(path)
        self._sources_digest = sources_digest
        self._py_file = __file__  # numba names it in a warning

    def get_cache_path(self) -> str:
        return self._path

    def get_source_stamp(self) -> str:
        return self._sources_digest

    def get_disambiguator(self) -> str:
        return ""


def _is_ours(path: Path) -> bool:
    """Whoever can write there can have us run anything: it must be our own, or the administrator's."""
    found = path.stat()
    return found.st_uid in (os.getuid(), 0) and not found.st_mode & 0o022


def _is_writable(path: Path) -> bool:
    try:
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError:
        return False
    return _is_ours(path)


class _FunctionInFolder(CompileResultCacheImpl):
    """numba's way of keeping a function, in a folder that is handed to it."""

    folder = FOLDER
    sources_digest = SOURCES_DIGEST

    def __init__(self, py_func: Callable[..., Any]) -> None:
        self._lineno = 0
        self._locator = _Folder(self.folder, self.sources_digest)
        self._filename_base = self.get_filename_base(py_func.__qualname__, "")


class RunOnlyCache(FunctionCache):
    """Loads code for what running it takes. numba makes ready to compile first: 75 modules, a tenth of a second."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        rtsys.initialize(target_context)  # what compiled code calls of numba's runtime
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


class _Cache(FunctionCache):
    """Looks through all folders; writes into the first that lets it."""

    def __init__(self, py_func: Callable[..., Any], sources_digest: str, beside: Path) -> None:
        self.may_compile = False
        self.used = ""
        self._caches = [_cache_in(path, py_func, sources_digest) for path in folders(beside)]

    @property
    def cache_path(self) -> str:
        return str(self._caches[0].cache_path)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        for cache in self._caches:
            folder = Path(cache.cache_path)
            if folder.is_dir() and _is_ours(folder) and (found := cache.load_overload(sig, target_context)) is not None:
                self.used = str(folder)
                return found
        if not self.may_compile:
            raise NotCompiled
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        for cache in self._caches:
            if _is_writable(Path(cache.cache_path)):
                try:
                    cache.save_overload(sig, data)
                except OSError:
                    continue  # full, or taken away meanwhile
                self.used = str(cache.cache_path)
                return


def _cache_in(folder: Path, py_func: Callable[..., Any], sources_digest: str) -> FunctionCache:
    found = {"folder": folder, "sources_digest": sources_digest}
    implementation = type("_InFolder", (_FunctionInFolder,), found)
    return type("_FolderCache", (RunOnlyCache,), {"_impl_class": implementation})(py_func)
