"""Ears: a polar sheet from the ear canal over concha, antihelix and helix to the back. Millimetres, head frame."""

from __future__ import annotations

import numpy as np

from studio.heads.procedural.parts import Part, disk_faces
from studio.heads.procedural.skull import Array, smoothstep, spline

_SPOKES = 36
_CANAL = np.array([10.0, -6.0])
# Outline as (backwards, up) from the point where the helix leaves the head, clockwise seen from the subject's left.
_OUTLINE: Array = np.array(
    [
        [2.0, 8.0],
        [4.0, 20.0],
        [11.0, 28.5],
        [20.0, 31.0],
        [28.5, 27.0],
        [33.0, 17.0],
        [32.5, 4.0],
        [28.0, -9.0],
        [21.0, -19.0],
        [15.0, -28.0],
        [8.0, -31.0],
        [3.0, -26.0],
        [1.5, -15.0],
        [1.0, -6.0],
        [1.0, 1.0],
    ]
)
# Rings from the canal outwards and round the rim to the back: share of the way to the outline, and the height over the
# ear's plane in its upper part, its lobe and its front edge.
_RINGS: Array = np.array(
    [
        [0.10, -10.5, -10.0, -10.0],
        [0.28, -9.5, -8.0, -9.0],
        [0.42, -8.0, -3.5, -6.0],
        [0.52, -3.0, -0.5, 0.0],
        [0.61, 1.2, 0.6, 2.4],
        [0.69, 1.4, 1.2, 2.6],
        [0.77, -0.9, 1.6, 1.4],
        [0.85, -0.6, 1.9, 0.2],
        [0.91, 2.6, 2.0, -0.8],
        [0.97, 3.3, 1.4, -1.8],
        [1.00, 1.6, 0.0, -3.0],
        [0.98, -0.8, -1.6, -4.0],
        [0.90, -2.6, -3.0, -6.0],
        [0.75, -6.5, -7.0, -9.0],
        [0.55, -15.0, -14.0, -13.0],
    ]
)
_ROOT: Array = np.array([72.5, -9.0, -73.0])
_FLARE, _TILT = np.radians(27.0), np.radians(11.0)


def ear() -> Part:
    """The left ear."""
    closed = np.concatenate((_OUTLINE[-2:], _OUTLINE, _OUTLINE[:3]))
    knots = np.arange(-2.0, len(_OUTLINE) + 3.0)
    outline = spline(knots, closed, np.arange(_SPOKES) * len(_OUTLINE) / _SPOKES)
    lobe = smoothstep(-15.0, -25.0, outline[:, 1])
    front = smoothstep(7.0, 2.5, outline[:, 0]) * smoothstep(24.0, 12.0, outline[:, 1])
    points = [np.append(_CANAL, -11.0)]
    for share, upper, low, forward in _RINGS:
        height = (upper * (1 - lobe) + low * lobe) * (1 - front) + forward * front
        points.extend(np.column_stack((_CANAL + share * (outline - _CANAL), height)))
    back, up, out = np.array(points).T
    up, back = up * np.cos(_TILT) - back * np.sin(_TILT) * 0.3, back * np.cos(_TILT) + up * np.sin(_TILT)
    world = _ROOT + np.column_stack(
        (back * np.sin(_FLARE) + out * np.cos(_FLARE), up, -back * np.cos(_FLARE) + out * np.sin(_FLARE))
    )
    radius = np.concatenate(([0.0], np.repeat(np.linspace(0.08, 1.0, len(_RINGS)), _SPOKES)))
    turn = np.concatenate(([0.0], np.tile(np.arange(_SPOKES) * 2 * np.pi / _SPOKES, len(_RINGS))))
    uv = np.stack((0.5 - 0.5 * radius * np.cos(turn), 0.5 - 0.5 * radius * np.sin(turn)), axis=-1)
    return Part("ear_left", world, disk_faces(len(_RINGS), _SPOKES)[:, ::-1].copy(), uv)
