"""A binary glTF 2.0 file, piece by piece."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from studio.media.whole_files import whole_file

FLOAT, UINT, USHORT, UBYTE = 5126, 5125, 5123, 5121
_TYPES = {np.dtype("<f4"): FLOAT, np.dtype("<u4"): UINT, np.dtype("<u2"): USHORT, np.dtype("u1"): UBYTE}
_SHAPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
VERTICES, INDICES = 34962, 34963  # what a buffer view is for


class GltfFile:
    """Collects accessors and their bytes; ``document`` is the JSON that refers to them."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {"accessors": [], "bufferViews": []}
        self._data = bytearray()

    def view(self, data: bytes, target: int | None = None) -> int:
        """A buffer view of these bytes."""
        self._data += bytes(-len(self._data) % 4)
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(self._data), "byteLength": len(data)}
        if target is not None:
            view["target"] = target
        self._data += data
        self.document["bufferViews"].append(view)
        return len(self.document["bufferViews"]) - 1

    def accessor(
        self,
        values: np.ndarray,  # [N] or [N, C]
        target: int | None = None,
        *,
        bounds: bool = False,
    ) -> int:
        """An accessor of all these values; ``bounds`` says their smallest and largest too."""
        values = np.ascontiguousarray(values)
        view = self.view(values.tobytes(), target)
        return self._add({"bufferView": view, **_described(values)}, values if bounds else None)

    def sparse(
        self,
        values: np.ndarray,  # [N, 3] float32, mostly zero
    ) -> int:
        """An accessor of these values that stores those that are not zero (one at least, as glTF wants)."""
        moved = np.flatnonzero(np.abs(values).max(axis=1) > 0)
        moved = moved if len(moved) else np.zeros(1, np.int64)
        kind = np.dtype("<u2") if len(values) <= 65535 else np.dtype("<u4")
        indices = {"bufferView": self.view(moved.astype(kind).tobytes()), "componentType": _TYPES[kind]}
        stored = {"bufferView": self.view(np.ascontiguousarray(values[moved]).tobytes())}
        sparse = {"count": len(moved), "indices": indices, "values": stored}
        return self._add({**_described(values), "sparse": sparse}, values)

    def _add(self, accessor: dict[str, Any], bounded: np.ndarray | None) -> int:
        if bounded is not None:
            rows = bounded.reshape(len(bounded), -1)
            accessor |= {"min": rows.min(axis=0).tolist(), "max": rows.max(axis=0).tolist()}
        self.document["accessors"].append(accessor)
        return len(self.document["accessors"]) - 1

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        document = {**self.document, "buffers": [{"byteLength": len(self._data)}]}
        text = json.dumps(document, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        data = bytes(self._data) + bytes(-len(self._data) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(data), b"BIN\0") + data
        with whole_file(path) as temporary:
            temporary.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)


def _described(values: np.ndarray) -> dict[str, Any]:
    width = values.shape[1] if values.ndim > 1 else 1
    return {"componentType": _TYPES[values.dtype], "count": len(values), "type": _SHAPES[width]}
