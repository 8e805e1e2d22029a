"""A file laid out exactly as FLAME's (keys, shapes, types, pickled classes), made from the built-in head.

FLAME itself may not be passed on. The skin is a sphere of 3,931 vertices shrunk onto the procedural head, the eyeballs
are spheres of 546; the first shape and expression directions are those of the procedural head, the rest are zero.
"""

from __future__ import annotations

import pickle
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import scipy.sparse
from scipy.spatial import ConvexHull, cKDTree

from studio.heads import load_head
from studio.heads.model import JOINTS

SKIN, EYE, FACES = 3931, 546, 9976
ORIGIN = np.array([0.0, 0.03, 0.02])  # FLAME's lies elsewhere than ours


class Ch:
    """Stands for chumpy's variable, which pickles its fields."""

    def __init__(self, x: np.ndarray) -> None:
        self.x, self._dirty_vars, self._itr = x, set(), None


Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"


def sphere(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vertices [count, 3], evenly spread, and triangles [2 count - 4, 3] counter-clockwise from outside."""
    index = np.arange(count) + 0.5
    polar, turn = np.arccos(1 - 2 * index / count), np.pi * (1 + 5**0.5) * index
    points = np.stack((np.cos(turn) * np.sin(polar), np.cos(polar), np.sin(turn) * np.sin(polar)), axis=1)
    faces = ConvexHull(points).simplices
    a, b, c = points[faces].transpose(1, 0, 2)
    inward = (np.cross(b - a, c - a) * a).sum(1) < 0
    faces[inward] = faces[inward][:, ::-1]
    return points, faces


@lru_cache(maxsize=1)
def arrays() -> dict[str, np.ndarray]:
    """FLAME's arrays by name, dense."""
    head = load_head("procedural")
    used = np.unique(head.faces[head.region_faces("face", "scalp", "neck", "ear_left", "ear_right")].numpy())
    skin = head.template.numpy()[used]
    joints = head.joint_positions.numpy()
    ball, faces = sphere(SKIN)
    center = np.array([0.0, -0.04, -0.06])
    away = skin - center
    _, near = cKDTree(away / np.linalg.norm(away, axis=1, keepdims=True)).query(ball)
    vertices, source = skin[near].astype(np.float64), used[near]
    vertices += 1e-4 * ball  # no two in one place
    faces = faces[np.argsort(-vertices[faces][..., 1].min(1), kind="stable")][: FACES - 2 * (2 * EYE - 4)]
    eye, eye_faces = sphere(EYE)
    parts, shown = [vertices], [faces]
    weights = np.zeros((SKIN + 2 * EYE, 5))
    order = [JOINTS.index(name) for name in ("torso", "head", "jaw", "eye_left", "eye_right")]
    pivots = joints[[JOINTS.index(name) for name in ("torso", "torso", "jaw", "eye_left", "eye_right")]]
    pivots[0] -= (0.0, 0.06, 0.01)  # FLAME's root is below its neck
    weights[:SKIN] = head.skin_weights.numpy()[source][:, order]
    directions = np.zeros((SKIN + 2 * EYE, 3, 400))
    directions[:SKIN, :, : head.num_identity] = head.identity_basis.numpy()[:, source].transpose(1, 2, 0)
    directions[:SKIN, :, 300 : 300 + len(head.space)] = head.expression_basis.numpy()[:, source].transpose(1, 2, 0)
    for number, name in enumerate(("eye_left", "eye_right")):
        part = slice(SKIN + number * EYE, SKIN + (number + 1) * EYE)
        shown.append(eye_faces + part.start)
        parts.append(joints[JOINTS.index(name)] + 0.012 * eye)
        weights[part, 3 + number] = 1.0
        moved = head.joint_identity_basis.numpy()[:, JOINTS.index(name)]
        directions[part, :, : head.num_identity] = moved.T[None]
    vertices = np.concatenate(parts)
    correctives = np.random.default_rng(0).normal(0, 1e-4, (len(vertices), 3, 36))
    return {
        "v_template": vertices + ORIGIN,
        "f": np.concatenate(shown).astype(np.uint32),
        "shapedirs": directions,
        "posedirs": correctives,
        "J_regressor": _regressor(vertices, pivots),
        "J": pivots + ORIGIN,
        "weights": weights / weights.sum(1, keepdims=True),
        "kintree_table": np.array([[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.int64),
    }


def _regressor(vertices: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """[5, V] whose rows sum to one and give the joints (least norm over some vertices)."""
    made = np.zeros((5, len(vertices)))
    for row, joint in enumerate(joints):
        near = np.argsort(np.linalg.norm(vertices - joint, axis=1))[: EYE if row > 2 else 200]
        if row > 2:
            near = np.arange(SKIN + (row - 3) * EYE, SKIN + (row - 2) * EYE)
        system = np.concatenate((vertices[near].T, np.ones((1, len(near)))))
        made[row, near] = np.linalg.lstsq(system, np.r_[joint, 1.0], rcond=None)[0]
    return made


def write_pickle(path: Path, chumpy: bool) -> dict[str, np.ndarray]:
    """Write the model as its authors did: Python 2's protocol, a sparse regressor, chumpy's variables in 2020."""
    made = arrays()
    stored: dict[str, object] = {**made, "bs_style": "lbs", "bs_type": "lrotmin"}
    stored["J_regressor"] = scipy.sparse.csc_matrix(made["J_regressor"])
    if chumpy:
        stored |= {name: Ch(made[name]) for name in ("v_template", "shapedirs", "posedirs", "weights", "J")}
    with _modules():
        path.write_bytes(pickle.dumps(stored, protocol=2))
    return made


def write_hostile(path: Path, touched: Path) -> None:
    """Write a file that would create another one if it were unserialised as Python does."""

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (touched,))

    path.write_bytes(pickle.dumps({"v_template": Evil()}, protocol=2))


@contextmanager
def _modules() -> Iterator[None]:
    module = types.ModuleType("chumpy.ch")
    module.Ch = Ch  # type: ignore[attr-defined]
    names = {"chumpy": types.ModuleType("chumpy"), "chumpy.ch": module}
    sys.modules.update(names)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
