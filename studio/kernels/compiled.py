"""Compiling and caching: the ``kernel`` and ``inlined`` decorators.

numba's cache looks only at the file a function stands in and freezes the globals it saw, so a change in a helper module
would leave stale machine code behind. Here the cache folder's name is a hash of the module's source and of every
``studio.kernels`` module it imports. numba itself keys the entries by processor.
"""

from __future__ import annotations

import functools
import gc
import hashlib
import inspect
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import event as numba_events
from numba.core.caching import FunctionCache
from numba.core.runtime import rtsys

from studio.kernels.compile_helper import start_helper
from studio.logs import say

_PACKAGE = "studio.kernels."
# "from studio.kernels.module import …" or "from studio.kernels import module, …", with or without brackets.
_IMPORTS = re.compile(r"^[ \t]*from studio\.kernels(?:\.(\w+))? import (\([^)]*\)|.*)", re.MULTILINE)
_HELPED = (f"{_PACKAGE}splat_", f"{_PACKAGE}drive_")  # what is compiled with a helper, see ``warmup``

# Without "nnan" and "ninf" comparisons with NaN stay false (bad input is culled, not undefined behaviour); without
# "reassoc" vector intrinsics mean what they say.
_OPTIONS: dict[str, Any] = {
    "fastmath": {"nsz", "arcp", "contract", "afn"},
    "error_model": "numpy",
    "boundscheck": False,
    "nogil": True,
}
_decorating = threading.Lock()
settings: Any = numba.core.config


class _Cache(FunctionCache):
    """numba's cache, but what is compiled already is loaded without all that numba knows of types and functions.

    That takes longer than loading the kernels themselves. Where something has to be compiled, numba asks for it again.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


def inlined(function: Callable[..., Any]) -> Any:
    """A helper that becomes part of every kernel that calls it."""
    return numba.njit(inline="always", **_OPTIONS)(function)


def kernel(function: Callable[..., Any]) -> Any:
    """A function compiled at its first call, without the interpreter lock, and kept on disk for the next process."""
    folder = cache_folder() / _digest(Path(inspect.getfile(function)))
    with _decorating:
        previous, settings.CACHE_DIR = settings.CACHE_DIR, str(folder)
        try:
            dispatcher = numba.njit(**_OPTIONS)(function)
            if _is_writable(folder):
                dispatcher._cache = _Cache(function)
        finally:
            settings.CACHE_DIR = previous
    _announcer.dispatchers.add(dispatcher)
    return dispatcher


@functools.cache
def cache_folder() -> Path:
    """Where compiled kernels are kept: STUDIO_CACHE, or the user's cache folder, or a temporary one."""
    if "STUDIO_CACHE" in os.environ:
        return Path(os.environ["STUDIO_CACHE"]).expanduser() / "kernels"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", "~/AppData/Local"))
    elif sys.platform == "darwin":
        base = Path("~/Library/Caches")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    try:
        folder = base.expanduser() / "head-avatar-studio" / "kernels"
    except RuntimeError:  # a user without a home
        folder = Path(tempfile.gettempdir()) / "head-avatar-studio" / "kernels"
    return folder if _is_writable(folder) else Path(tempfile.gettempdir()) / "head-avatar-studio" / "kernels"


@functools.cache
def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


@functools.cache
def _digest(source: Path) -> str:
    """Hash of a module and of the kernel modules it imports, however far down."""
    digest, waiting, seen = hashlib.sha256(numba.__version__.encode()), [source.resolve()], set()
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            text, imported = _read(path)
            digest.update(text)
            waiting += imported
    return digest.hexdigest()[:16]


@functools.cache
def _read(path: Path) -> tuple[bytes, tuple[Path, ...]]:
    """A module's source and the files of the kernel modules that it imports (parsing it would take a second in all)."""
    text = path.read_bytes()
    names = {
        name
        for module, listed in _IMPORTS.findall(text.decode())
        for name in ([module] if module else re.findall(r"\w+", listed))
    }
    files = (Path(__file__).resolve().parent / f"{name}.py" for name in sorted(names))
    return text, tuple(file for file in files if file.is_file())


class _Announcer(numba_events.Listener):
    """Says once that a cold compile is under way, because the first call then takes seconds instead of milliseconds.

    Where it is one of the kernels that every render needs, a helper process takes half of the work.
    """

    def __init__(self) -> None:
        self.dispatchers: set[Any] = set()
        self.announced = False
        self.helper: Any = None
        self.depth, self.collecting = 0, True

    def on_start(self, event: Any) -> None:
        """numba holds its compiler lock, so one thread at a time comes here."""
        if self.depth == 0:
            self.collecting = gc.isenabled()
            gc.disable()  # a seventh of the time: compiling makes millions of objects and little garbage
        self.depth += 1
        dispatcher = event.data["dispatcher"]
        if dispatcher not in self.dispatchers:
            return
        if not self.announced:
            self.announced = True
            say("compiling CPU kernels for this processor (once, about 10 s) …")
        if self.helper is None and dispatcher.py_func.__module__.startswith(_HELPED) and _is_writable(cache_folder()):
            self.helper = start_helper() or False

    def on_end(self, event: Any) -> None:
        """The outermost compile is over."""
        self.depth -= 1
        if self.depth == 0 and self.collecting:
            gc.enable()


_announcer = _Announcer()
numba_events.register("numba:compile", _announcer)
