"""Identity: what makes one built-in head another person.

Each parameter is a smooth field over space, at one standard deviation; whatever lies in the field follows it (skin,
ears, hair, brows), while eyeballs and teeth move as rigid bodies.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from studio.heads.procedural import eyes, mouth
from studio.heads.procedural.mesh import JOINTS, Mesh
from studio.heads.procedural.skull import Array, gaussian, smoothstep

Field = Callable[[Array, Array, Array], tuple[Array, Array, Array]]  # (|x|, y, z) -> motion for the left side, mm


def _bump(
    amount: tuple[float, float, float], center: tuple[float, float], radii: tuple[float, float], turn: float = 0.0
) -> Field:
    """A brush on the front of the face, seen from ahead."""

    def field(x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
        weight = gaussian(x, y, center, radii, turn) * smoothstep(-60.0, -20.0, z)
        centered = weight * (np.minimum(x / center[0], 1.0) if center[0] else 1.0)
        return amount[0] * centered, amount[1] * weight, amount[2] * weight

    return field


def _head_width(x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
    return 0.035 * x * smoothstep(-190.0, -110.0, y), 0 * x, 0 * x


def _head_length(x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
    return 0 * x, 0 * x, -4.5 * smoothstep(-50.0, -150.0, z) * smoothstep(-120.0, -60.0, y)


def _cranium_height(x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
    return 0 * x, 4.5 * smoothstep(15.0, 105.0, y), 0 * x


def _face_length(x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
    return 0 * x, -4.8 * smoothstep(-5.0, -105.0, y), 0 * x


def _jaw_width(x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
    level = smoothstep(-35.0, -78.0, y) * smoothstep(-135.0, -100.0, y)
    return 4.4 * level * smoothstep(12.0, 48.0, x) * smoothstep(-110.0, -70.0, z), 0 * x, 0 * x


def _weight(x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
    cheek = gaussian(x, y, (46.0, -60.0), (17.0, 22.0)) * smoothstep(-80.0, -20.0, z)
    throat = gaussian(x, y, (0.0, -116.0), (34.0, 11.0)) * smoothstep(-60.0, -30.0, z)
    neck = smoothstep(-85.0, -130.0, y) * smoothstep(-260.0, -190.0, y)
    return 4.8 * cheek + 0.06 * x * neck, -4.5 * throat, 2.0 * cheek + 0.03 * (z + 78.0) * neck


def _shoulder_width(x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
    return 0.05 * x * smoothstep(-165.0, -215.0, y), 0 * x, 0 * x


def _sum(*fields: Field) -> Field:
    def field(x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
        moves = [part(x, y, z) for part in fields]
        return sum(m[0] for m in moves), sum(m[1] for m in moves), sum(m[2] for m in moves)  # type: ignore[return-value]

    return field


FIELDS: dict[str, Field] = {
    "head_width": _head_width,
    "head_length": _head_length,
    "cranium_height": _cranium_height,
    "face_length": _face_length,
    "jaw_width": _jaw_width,
    "chin_forward": _bump((0, -1.0, 3.4), (0, -102), (18, 12)),
    "chin_width": _bump((3.0, 0, 0.8), (15, -101), (11, 11)),
    "cheekbones": _sum(_bump((2.2, 0, 1.8), (50, -20), (14, 10)), _bump((-1.6, 0, -1.4), (44, -56), (12, 12))),
    "weight": _weight,
    "brow_ridge": _bump((0, -1.2, 2.2), (20, 18), (18, 6)),
    "brow_height": _bump((0, 2.2, 0), (27, 18), (20, 7)),
    "nose_length": _bump((0, -3.0, 0.8), (0, -40), (14, 12)),
    "nose_width": _bump((2.4, 0, 0), (13, -40), (8, 10)),
    "nose_bridge": _bump((0, 0, 2.4), (0, -8), (8, 14)),
    "nose_projection": _bump((0, 0.6, 2.8), (0, -35), (11, 12)),
    "eye_spacing": _bump((1.4, 0, 0), (32, 0), (22, 16)),
    "mouth_width": _bump((2.2, 0, -0.6), (25, -70), (13, 14)),
    "mouth_height": _bump((0, 1.8, 0), (0, -68), (34, 14)),
    "shoulder_width": _shoulder_width,
}


def _apply(field: Field, points: Array) -> Array:
    """Motion [N, 3] of points [N, 3], mirrored on the right side."""
    x, y, z = points.T
    moved = np.stack(np.broadcast_arrays(*field(np.abs(x), y, z), x)[:3], axis=-1)
    return moved * np.stack((np.sign(x), np.ones_like(x), np.ones_like(x)), axis=-1)


def _eye_blend(points: Array, side: float) -> Array:
    """How far points [N] belong to the eye of a side and move with its eyeball: 1 on the lids, 0 outside the orbit."""
    local = (points - eyes.EYE_CENTER * (side, 1.0, 1.0)) / (1.25, 1.0, 1.6)
    return smoothstep(21.0, 13.0, np.linalg.norm(local, axis=-1))


def _follow(field: Field, mesh: Mesh) -> Array:
    """The field on the whole head [V, 3], with eyeballs, lids and teeth kept in shape."""
    moved = _apply(field, mesh.vertices)
    for side, name in ((1.0, "eye_left"), (-1.0, "eye_right")):
        whole = _apply(field, (eyes.EYE_CENTER * (side, 1.0, 1.0))[None])
        blend = _eye_blend(mesh.vertices, side)[:, None]
        moved += blend * (whole - moved)
        moved[mesh.spans[name]] = whole
    bite = _apply(field, np.array([[0.0, mouth.MOUTH_LINE, 14.0]]))
    for name in ("teeth_upper", "teeth_lower", "gums_upper", "gums_lower", "tongue"):
        moved[mesh.spans[name]] = bite
    return moved


def _eye_size(mesh: Mesh) -> Array:
    moved = np.zeros_like(mesh.vertices)
    for side in (1.0, -1.0):
        local = mesh.vertices - eyes.EYE_CENTER * (side, 1.0, 1.0)
        moved += 0.03 * _eye_blend(mesh.vertices, side)[:, None] * local
    return moved


def _eye_tilt(mesh: Mesh) -> Array:
    moved = np.zeros_like(mesh.vertices)
    for side in (1.0, -1.0):
        local = mesh.vertices[:, 0] * side - eyes.EYE_CENTER[0]
        moved[:, 1] += 1.1 * np.clip(local / 15.0, -1.2, 1.2) * _eye_blend(mesh.vertices, side)
    moved[mesh.spans["eye_left"]] = moved[mesh.spans["eye_right"]] = 0.0
    return moved


def _lip_fullness(mesh: Mesh) -> Array:
    moved = np.zeros_like(mesh.vertices)
    loops = mesh.skin.mouth_loops
    taper = np.sqrt(np.clip(1.0 - mouth.loop_x(loops.shape[1]) ** 2, 0.0, 1.0))
    up = eyes.is_upper(loops.shape[1])
    steps = (
        (1, 0.3, 0),
        (2, 0.6, 0.1),
        (3, 0.9, 0.2),
        (4, 1.2, 0.4),
        (5, 1.3, 0.6),
        (6, 0.8, 1.2),
        (7, 0.4, 1.4),
        (8, 0.1, 1.0),
        (9, 0, 0.4),
    )
    for loop, outward, forward in steps:
        moved[loops[loop]] = np.stack((0 * up, outward * up * taper**2, forward * taper), axis=-1)
    return moved


def _ears(mesh: Mesh, scale: float, flare: float) -> Array:
    moved = np.zeros_like(mesh.vertices)
    for side, name in ((1.0, "ear_left"), (-1.0, "ear_right")):
        local = mesh.vertices[mesh.spans[name]] - np.array([70.0 * side, -9.0, -76.0])
        turned = np.stack((-local[:, 2] * side, 0 * local[:, 1], local[:, 0] * side), axis=-1)
        moved[mesh.spans[name]] = (
            scale * local + flare * turned * smoothstep(70.0, 80.0, mesh.vertices[mesh.spans[name], 0] * side)[:, None]
        )
    return moved


def _hair_volume(mesh: Mesh) -> Array:
    moved = np.zeros_like(mesh.vertices)
    span = mesh.spans["hair"]
    local = mesh.vertices[span] - np.array([0.0, 20.0, -78.0])
    grow = smoothstep(10.0, 90.0, mesh.vertices[span, 1])
    moved[span] = 4.0 * grow[:, None] * local / np.linalg.norm(local, axis=-1, keepdims=True)
    return moved


def _hair_length(mesh: Mesh) -> Array:
    """Sides and back of the hair reach further down the neck."""
    moved = np.zeros_like(mesh.vertices)
    _, y, z = mesh.vertices[mesh.spans["hair"]].T
    amount = smoothstep(60.0, -30.0, y) * smoothstep(-35.0, -85.0, z)
    moved[mesh.spans["hair"], 1] = -20.0 * amount
    moved[mesh.spans["hair"], 2] = -2.0 * amount
    return moved


def identity_basis(mesh: Mesh) -> tuple[tuple[str, ...], Array, Array]:
    """Names of the I parameters, their bases [I, V, 3] (mm per standard deviation), the joints' motion [I, 5, 3]."""
    rows = {name: _follow(field, mesh) for name, field in FIELDS.items()}
    still = np.zeros((len(JOINTS), 3))
    joints = {name: _apply(field, np.array(list(JOINTS.values()))) for name, field in FIELDS.items()}
    special = {
        "eye_size": _eye_size(mesh),
        "eye_tilt": _eye_tilt(mesh),
        "lip_fullness": _lip_fullness(mesh),
        "ear_size": _ears(mesh, 0.07, 0.0),
        "ear_flare": _ears(mesh, 0.0, 0.1),
        "hair_volume": _hair_volume(mesh),
        "hair_length": _hair_length(mesh),
    }
    names = (*rows, *special)
    basis = np.array([*rows.values(), *special.values()])
    return names, basis, np.array([joints.get(name, still) for name in names])
