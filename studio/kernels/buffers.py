"""Memory that is used again instead of being returned to the system.

A fresh array of a few megabytes costs a page fault for every 4 KiB it touches, which at 50,000 Gaussians is more than
the sort. Buffers come 64-byte aligned: a row of 16 floats is one cache line.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

_LINE = 64  # bytes of a cache line, to which every array is aligned
_KEEP = 4  # free buffers kept for each name


class _Memory(NamedTuple):
    owner: torch.Tensor
    address: int
    size: int  # bytes


# No lock: the garbage collector may run _Loan.__del__ in the middle of any statement, also of one that holds a lock.
# The deques' own append and pop are atomic.
_free: dict[str, deque[_Memory]] = {}


class _Loan:
    """What numpy keeps alive as long as any view of the memory; then the memory goes back."""

    def __init__(self, name: str, memory: _Memory, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.name, self.memory = name, memory
        self.__array_interface__ = {
            "shape": shape,
            "typestr": dtype.str,
            "data": (memory.address, False),
            "version": 3,
        }

    def __del__(self) -> None:
        free = _free.setdefault(self.name, deque())
        if len(free) < _KEEP:
            free.append(self.memory)


def borrow(name: str, shape: int | tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """An uninitialised array; when it and all its views are gone, the next to ask for ``name`` gets its memory."""
    shape = (shape,) if isinstance(shape, int) else shape
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    return np.asarray(_Loan(name, _take(name, size), shape, dtype))


def borrow_together(name: str, wanted: Mapping[str, tuple[int | tuple[int, ...], Any]]) -> dict[str, np.ndarray]:
    """Several uninitialised arrays of one lifetime, by name from shape and dtype, in one piece of borrowed memory.

    Borrowing them one by one takes Python longer than some kernels run.
    """
    places, size = [], 0
    for shape, dtype in wanted.values():
        length = (math.prod(shape) if isinstance(shape, tuple) else shape) * np.dtype(dtype).itemsize
        places.append((size, size + length))
        size += -(-length // _LINE) * _LINE
    memory = borrow(name, size, np.uint8)
    return {
        key: memory[first:end].view(dtype).reshape(shape)
        for (key, (shape, dtype)), (first, end) in zip(wanted.items(), places)
    }


def _take(name: str, size: int) -> _Memory:
    """A free buffer of at least ``size`` bytes, or a new one; one that does not fit is given up."""
    try:
        memory = _free.setdefault(name, deque()).pop()
        if size <= memory.size <= 4 * size + 65536:
            return memory
    except IndexError:
        pass
    owner = torch.empty(size + size // 4 + 64, dtype=torch.uint8)  # torch aligns to 64 bytes
    return _Memory(owner, owner.data_ptr(), owner.numel())
