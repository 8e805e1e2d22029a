"""Memory that is used again instead of being returned to the system.

A fresh array of a few megabytes costs a page fault for every 4 KiB it touches, which at 50,000 Gaussians is more than the
sort. Buffers come 64-byte aligned (a row of 16 floats is one cache line) and go back when their owner is dropped.
"""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from typing import Any

import numpy as np
import torch

_KEEP = 4  # free buffers kept for each name


class _Shelf:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.free: dict[str, list[np.ndarray]] = defaultdict(list)


_shelf = _Shelf()


class Lease:
    """Named arrays that return to the shelf when this object dies, so they must not outlive it."""

    def __init__(self) -> None:
        self._taken: list[tuple[str, np.ndarray]] = []

    def array(self, name: str, shape: int | tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
        """An uninitialised array of ``shape``."""
        shape = (shape,) if isinstance(shape, int) else shape
        size = math.prod(shape) * np.dtype(dtype).itemsize
        with _shelf.lock:
            free = _shelf.free[name]
            fitting = [index for index, buffer in enumerate(free) if size <= buffer.size <= 4 * size + 65536]
            buffer = free.pop(fitting[-1]) if fitting else None
        if buffer is None:
            buffer = torch.empty(size + size // 4 + 64, dtype=torch.uint8).numpy()  # torch aligns to 64 bytes
        self._taken.append((name, buffer))
        return buffer[:size].view(dtype).reshape(shape)

    def __del__(self) -> None:
        with _shelf.lock:
            for name, buffer in self._taken:
                free = _shelf.free[name]
                free.append(buffer)
                del free[:-_KEEP]
