"""Worker threads for kernels that release the interpreter lock.

numba's own ``parallel=True`` is not used: its fallback layer aborts the process when two Python threads enter it, its
OpenMP layer kills forked children, and it compiles three times slower.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from studio.errors import StudioError


class _Pool:
    """The process's threads, started at first use; the lock only guards their creation."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.executor: ThreadPoolExecutor | None = None
        self.size = 0

    def threads(self, count: int) -> ThreadPoolExecutor:
        with self.lock:
            if self.executor is None or self.size < count:
                self.executor = ThreadPoolExecutor(count, thread_name_prefix="kernel")
                self.size = count
            return self.executor


_pool = _Pool()


def _forget_threads() -> None:
    """A forked child has none of its parent's threads, and perhaps a lock that one of them held."""
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


_own = threading.local()


@contextlib.contextmanager
def undivided() -> Iterator[None]:
    """Kernels that this thread calls inside are not split over workers: other threads have whole tasks of their own."""
    before = getattr(_own, "undivided", False)
    _own.undivided = True
    try:
        yield
    finally:
        _own.undivided = before


def worker_count() -> int:
    """How many workers a kernel is split over: STUDIO_THREADS, or the cores this process may use; 1 in ``undivided``.

    Raises:
        StudioError: STUDIO_THREADS is not a positive whole number.
    """
    if getattr(_own, "undivided", False):
        return 1
    wish = os.environ.get("STUDIO_THREADS", "").strip()
    if not wish:
        return _available_cores()
    if not wish.isdigit() or int(wish) < 1:
        raise StudioError(
            "STUDIO_THREADS", got=repr(wish), expected="a whole number from 1", next="unset it to use every core"
        )
    return int(wish)


@functools.cache
def _available_cores() -> int:
    """Cores of the affinity mask, or fewer where a container's quota (cgroup v2) allows fewer."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return cores if quota == "max" else max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):
        return cores


def run(kernel: Callable[..., object], workers: int, *args: object) -> None:
    """Call ``kernel(worker, workers, *args)`` for every worker and wait for all of them.

    The calling thread is worker 0. Shares that no thread has begun by the time it is free are done by itself, so any
    number of Python threads may call this at once, and a busy machine costs time but never a deadlock.
    """
    shares: list[Future[object]] = []
    with contextlib.suppress(RuntimeError):  # no new work for threads while the interpreter shuts down
        for worker in range(1, workers):
            shares.append(_pool.threads(workers - 1).submit(kernel, worker, workers, *args))  # noqa: PERF401 (those before an error stay)
    try:
        kernel(0, workers, *args)
    finally:
        for worker in range(1, workers):
            if worker > len(shares) or shares[worker - 1].cancel():
                kernel(worker, workers, *args)
    for share in shares:
        if not share.cancelled():
            share.result()
