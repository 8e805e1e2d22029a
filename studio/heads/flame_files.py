"""Reading FLAME (2020, 2023, 2023 Open): the user's own file, as downloaded or an npz of its arrays.

Li et al., "Learning a model of facial shape and expression from 4D scans", 2017; flame.is.tue.mpg.de (own licences).
Nothing in the file is executed (``studio.unpickler``): chumpy's and scipy's objects are read as the arrays they hold.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from studio.errors import StudioError
from studio.unpickler import Record, read_serialised

EXPRESSIONS = 100  # the last ones of shapedirs
JOINTS = ("root", "neck", "jaw", "eye_left", "eye_right")
_PARENTS = (0, 1, 1, 1)  # of all joints but the root


@dataclass(frozen=True)
class FlameFiles:
    """The model as it is stored: metres, y up, z out of the face.

    Args:
        vertices: [V, 3].
        faces: [F, 3] int64.
        shapes: [S, V, 3] offsets for one standard deviation.
        expressions: [E, V, 3] the same.
        correctives: [36, V, 3] offsets by the rotation matrices (less the identity) of the four turning joints.
        regressor: [5, V] joints from vertices.
        weights: [V, 5] skin weights of ``JOINTS``.
        edition: "2020" or "2023".
    """

    vertices: np.ndarray
    faces: np.ndarray
    shapes: np.ndarray
    expressions: np.ndarray
    correctives: np.ndarray
    regressor: np.ndarray
    weights: np.ndarray
    edition: str


def read_flame(path: Path) -> FlameFiles:
    """Read a FLAME model.

    Raises:
        StudioError: missing, damaged, another model (SMPL …), or it would have to execute something.
    """
    stored = _stored(path)
    needed = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")
    missing = [name for name in needed if name not in stored]
    if missing:
        raise _refused(path, f"no {', '.join(missing)}")
    old = any(isinstance(value, Record) and value.name.startswith("chumpy") for value in stored.values())
    arrays = {name: _dense(stored[name], f"{name} in {path}") for name in needed}
    vertices, faces, directions = arrays["v_template"], arrays["f"].astype(np.int64), arrays["shapedirs"]
    count = len(vertices)
    expected = {
        "v_template": (count, 3),
        "f": (len(faces), 3),
        "shapedirs": (count, 3, directions.shape[-1]),
        "posedirs": (count, 3, 9 * (len(JOINTS) - 1)),
        "J_regressor": (len(JOINTS), count),
        "weights": (count, len(JOINTS)),
        "kintree_table": (2, len(JOINTS)),
    }
    wrong = [f"{name} {arrays[name].shape}" for name, shape in expected.items() if arrays[name].shape != shape]
    if wrong or directions.shape[-1] <= EXPRESSIONS or count == 0 or len(faces) == 0:
        raise _refused(path, ", ".join(wrong) or f"{directions.shape[-1]} shape directions")
    if tuple(arrays["kintree_table"][0, 1:].astype(np.int64)) != _PARENTS:
        raise _refused(path, f"joints {arrays['kintree_table'][0].tolist()}")
    if not (faces.min() >= 0 and faces.max() < count):
        raise _refused(path, "faces of vertices that are not there")
    if not all(np.isfinite(value).all() for value in arrays.values()):
        raise _refused(path, "numbers that are not finite")
    moved = directions.transpose(2, 0, 1).astype(np.float32)
    return FlameFiles(
        vertices.astype(np.float32),
        faces,
        moved[:-EXPRESSIONS],
        moved[-EXPRESSIONS:],
        arrays["posedirs"].transpose(2, 0, 1).astype(np.float32),
        arrays["J_regressor"].astype(np.float32),
        arrays["weights"].astype(np.float32),
        "2020" if old or "2020" in path.name or path.name == "generic_model.pkl" else "2023",
    )


def _stored(path: Path) -> Mapping[str, Any]:
    if path.suffix == ".npz":
        try:
            with np.load(path, allow_pickle=False) as data:
                return {name: data[name] for name in data.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise _refused(path, str(error)) from error
    stored = read_serialised(path)
    if not isinstance(stored, dict):
        raise _refused(path, type(stored).__name__)
    return stored


def _refused(path: Path, got: str) -> StudioError:
    return StudioError(
        f"{path} is not a FLAME model",
        got=got,
        expected="FLAME 2020, 2023 or 2023 Open as downloaded (.pkl), or its arrays in an .npz",
        next="see docs/heads.md",
    )


def _dense(value: Any, what: str) -> np.ndarray:
    """The array of a plain array, of one of chumpy's variables, or of a sparse matrix of scipy (by columns or rows)."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
        return value
    state = value.state if isinstance(value, Record) else None
    if isinstance(state, dict):
        if "x" in state:
            return _dense(state["x"], what)
        if {"data", "indices", "indptr"} <= state.keys():
            return _from_sparse(value.name, state, what)
        if {"a", "idxs", "preferred_shape"} <= state.keys():  # a selection of a variable
            chosen = _dense(state["a"], what).ravel()[_dense(state["idxs"], what).astype(np.int64)]
            return chosen.reshape(tuple(state["preferred_shape"]))
    raise StudioError(f"{what} is not an array", got=getattr(value, "name", type(value).__name__))


def _from_sparse(name: str, state: Mapping[str, Any], what: str) -> np.ndarray:
    shape = tuple(int(size) for size in state.get("_shape", state.get("shape", ())))
    by_columns = "csc" in name
    if len(shape) != 2 or not ("csc" in name or "csr" in name) or max(shape) > 1 << 20 or min(shape) < 1:
        raise StudioError(f"{what} is a sparse matrix of another kind", got=f"{name} {shape}")
    pointers = _dense(state["indptr"], what).astype(np.int64)
    across = shape[1] if by_columns else shape[0]
    inner, data = _dense(state["indices"], what).astype(np.int64), _dense(state["data"], what)
    counts = np.diff(pointers)
    if len(pointers) != across + 1 or counts.min() < 0 or counts.sum() != len(inner) or len(inner) != len(data):
        raise StudioError(f"{what} is a damaged sparse matrix", got=f"{len(data)} numbers")
    outer = np.repeat(np.arange(across), counts)
    limit = shape[0] if by_columns else shape[1]
    if len(inner) and not (inner.min() >= 0 and inner.max() < limit):
        raise StudioError(f"{what} is a damaged sparse matrix", got=f"indices up to {inner.max()}")
    made = np.zeros(shape, np.float64)
    made[(inner, outer) if by_columns else (outer, inner)] = data
    return made
