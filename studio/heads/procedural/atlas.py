"""The texture atlas: where each part's island lies, and the unwrapping of the skin."""

from __future__ import annotations

import numpy as np

from studio.heads.procedural.layout import Ints
from studio.heads.procedural.mouth import CONTACT_LOOP
from studio.heads.procedural.skin import Skin
from studio.heads.procedural.skull import SECTIONS, Array

# Island rectangles: left, top, width, height as shares of the texture.
ISLANDS: dict[str, tuple[float, float, float, float]] = {
    "skin": (0.004, 0.004, 0.612, 0.992),
    "hair": (0.624, 0.004, 0.372, 0.300),
    "torso": (0.624, 0.312, 0.372, 0.240),
    "eye_left": (0.624, 0.560, 0.182, 0.182),
    "eye_right": (0.814, 0.560, 0.182, 0.182),
    "mouth": (0.624, 0.750, 0.120, 0.120),
    "ear_left": (0.752, 0.750, 0.120, 0.120),
    "ear_right": (0.876, 0.750, 0.120, 0.120),
    "tongue": (0.624, 0.878, 0.112, 0.112),
    "teeth_upper": (0.744, 0.878, 0.252, 0.036),
    "teeth_lower": (0.744, 0.918, 0.252, 0.030),
    "gums": (0.744, 0.952, 0.076, 0.038),
    "brows": (0.824, 0.952, 0.136, 0.038),
    "lashes": (0.964, 0.952, 0.032, 0.038),
}
# How generously each interval between two sections of the loft is shown, per millimetre of height.
_LEVEL_WEIGHT = (0.3, 0.35, 0.45, 0.6, 0.8, 1.0, 1.1, 1.05, 1.05, 1.1, 1.1, 1.0, 1.0, 0.8, 0.5, 0.4, 0.4, 0.4)


def place(island: str, uv: Array) -> Array:
    """Coordinates [V, 2] within an island's rectangle as coordinates in the texture."""
    left, top, width, height = ISLANDS[island]
    return np.array([left, top]) + uv * np.array([width, height])


def skin_chart(angle: Array, level: Array) -> Array:
    """The outer skin's coordinates [V, 2] in its island: a cylinder cut at the back, the face shown largest."""
    knots = np.linspace(0.0, np.pi, 200)
    depth = SECTIONS[7, 3] - SECTIONS[7, 4], SECTIONS[7, 6]
    front = np.stack(
        (
            depth[1] * np.sin(knots) ** (2 / 2.45),
            depth[0] * np.sign(np.cos(knots)) * np.abs(np.cos(knots)) ** (2 / 2.45),
        )
    )
    arc = np.linalg.norm(np.diff(front, axis=1), axis=0) * np.interp(knots[1:], (0.7, 1.4, np.pi), (1.0, 0.55, 0.35))
    across = np.concatenate(([0.0], np.cumsum(arc)))
    u = 0.5 + 0.5 * np.sign(angle) * np.interp(np.abs(angle), knots, across / across[-1])
    heights = np.linalg.norm(np.diff(SECTIONS[: len(_LEVEL_WEIGHT) + 1, [0, 3]], axis=0), axis=1) * _LEVEL_WEIGHT
    down = np.concatenate(([0.0], np.cumsum(heights)))
    return np.stack((u, np.interp(level, np.arange(len(down)), down / down[-1])), axis=-1)


def skin_uv(skin: Skin) -> tuple[Array, Ints]:
    """Texture coordinates [U, 2] of the skin and faces_uv [F, 3]: outer skin, its seam at the back, mouth interior."""
    chart = skin_chart(skin.angle, skin.level)
    outer = place("skin", chart)
    seam = np.flatnonzero(skin.angle > np.pi - 1e-6)
    beyond = place("skin", chart[seam] * [0.0, 1.0])
    mouth, inside = _mouth_uv(skin)
    uvs = np.concatenate((outer, beyond, mouth))
    faces = skin.faces.copy()
    to_seam = np.arange(len(outer))
    to_seam[seam] = len(outer) + np.arange(len(seam))
    right_side = (skin.angle[faces] < -2.0).any(1)
    faces[right_side] = to_seam[faces[right_side]]
    to_mouth = np.arange(len(outer))
    to_mouth[inside] = len(outer) + len(seam) + np.arange(len(inside))
    faces[skin.inner_faces] = to_mouth[skin.faces[skin.inner_faces]]
    return uvs, faces


def _mouth_uv(skin: Skin) -> tuple[Array, Ints]:
    """Polar coordinates of the mouth's inside, the contact line outermost, and the vertices they are of."""
    loops = skin.mouth_loops[CONTACT_LOOP:]
    count = loops.shape[1]
    turn = np.arange(count) / count * 2 * np.pi
    radius = np.linspace(1.0, 0.12, len(loops))[:, None]
    disk = np.stack((0.5 - 0.5 * radius * np.cos(turn), 0.5 - 0.5 * radius * np.sin(turn)), axis=-1)
    throat = np.setdiff1d(skin.faces[skin.inner_faces], loops)
    uv = np.concatenate((disk.reshape(-1, 2), np.full((len(throat), 2), 0.5)))
    return place("mouth", uv), np.concatenate((loops.ravel(), throat))
