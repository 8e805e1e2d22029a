"""Memory that is used again instead of being returned to the system.

A fresh array of a few megabytes costs a page fault for every 4 KiB it touches, which at 50,000 Gaussians is more than
the sort. Buffers come 64-byte aligned (a row of 16 floats is one cache line) and go back when their owner is dropped.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np
import torch

_KEEP = 4  # free buffers kept for each name

# No lock: the garbage collector may run Lease.__del__ in the middle of any statement, also of one that holds a lock.
# The deques' own append and pop are atomic.
_free: dict[str, deque[np.ndarray]] = {}


class Lease:
    """Named arrays that may be used again by others when this object dies, so they must not outlive it."""

    def __init__(self) -> None:
        self._taken: list[tuple[str, np.ndarray]] = []

    def array(self, name: str, shape: int | tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
        """An uninitialised array of ``shape``."""
        shape = (shape,) if isinstance(shape, int) else shape
        size = math.prod(shape) * np.dtype(dtype).itemsize
        buffer = _take(name, size)
        self._taken.append((name, buffer))
        return buffer[:size].view(dtype).reshape(shape)

    def __del__(self) -> None:
        for name, buffer in self._taken:
            free = _free.setdefault(name, deque())
            if len(free) < _KEEP:
                free.append(buffer)


def _take(name: str, size: int) -> np.ndarray:
    """A free buffer of at least ``size`` bytes, or a new one; one that does not fit is given up."""
    try:
        buffer = _free.setdefault(name, deque()).pop()
    except IndexError:
        buffer = np.empty(0, np.uint8)
    if size <= buffer.size <= 4 * size + 65536:
        return buffer
    return torch.empty(size + size // 4 + 64, dtype=torch.uint8).numpy()  # torch aligns to 64 bytes
