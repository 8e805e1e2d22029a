"""The images of a capture as sequences that read one when it is asked for: memory does not grow with the clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

import numpy as np


class StoredImages(Sequence[np.ndarray]):
    """Images that are read, each time anew, by a function of their index."""

    def __init__(self, read: Callable[[int], np.ndarray], indices: Sequence[int]) -> None:
        """Args: read: gives the image of an index; indices: which ones, in order."""
        self._read, self._indices = read, indices

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, place: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, place: slice) -> StoredImages: ...
    def __getitem__(self, place: int | slice) -> np.ndarray | StoredImages:
        if isinstance(place, slice):
            return StoredImages(self._read, self._indices[place])
        return self._read(self._indices[place])
