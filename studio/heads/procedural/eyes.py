"""Eyes: the almond of the lids, the lids' motion round the eyeball, and the eyeballs.

Lengths in millimetres, head frame. All contours are for the left eye; the right one is its mirror image.
Lid points live in cylinder coordinates: ``dx`` from the eye's centre along x, and the elevation round the x axis.
"""

from __future__ import annotations

import numpy as np

from studio.heads.procedural.parts import Part, disk_faces
from studio.heads.procedural.skull import Array

EYE_CENTER: Array = np.array([32.0, 0.0, 0.0])
EYE_RADIUS = 13.0
IRIS_RADIANS, EYEBALL_EXTENT = 0.465, 2.3  # half angles of the iris and of the modelled ball from the eye's centre
_HALF_WIDTH, _CREASE_HALF_WIDTH = 15.0, 17.5
LID_CLEARANCE = 1.4
# Loops of an eye's patch, outermost first: skin, fold, lid plate, margin, inside.
SKIN_STEPS = (0.3, 0.58, 0.82)  # from the block's border to the crease
LID_STEPS = (0.0, 0.12, 0.45, 0.8, 1.0)  # from the crease to the margin
FOLD_LOOP = 1 + len(SKIN_STEPS)
MARGIN_LOOP = FOLD_LOOP + len(LID_STEPS) - 1


def loop_fractions(count: int) -> Array:
    """Position [count] along a lid or lip: 0 at the first corner, 1 at the second, back to 0 on the other side."""
    s = np.arange(count) / count
    return 1.0 - np.abs(1.0 - 2.0 * s)


def is_upper(count: int) -> Array:
    """1 on the upper half of a loop, -1 on the lower, 0 at the two corners: [count]."""
    index = np.arange(count)
    return np.where(index % (count // 2) == 0, 0.0, np.where(index < count // 2, 1.0, -1.0))


def _almond(count: int, half_width: float, upper: float, lower: float, skew: float) -> Array:
    """A closed contour [count, 2] round the eye's centre, with the outer corner a little higher."""
    x = -np.cos(np.pi * loop_fractions(count)) * half_width
    u = x / half_width
    shape = np.clip(1.0 - np.abs(u) ** 2.3, 0.0, None) * (1.0 - skew * u * is_upper(count))
    return np.stack((x, np.where(is_upper(count) > 0, upper, -lower) * shape + 0.07 * x), axis=-1)


def margin_contour(count: int) -> Array:
    """The edge of the open lids [count, 2], relative to the eye's centre."""
    return _almond(count, _HALF_WIDTH, 4.8, 5.3, 0.12)


def crease_contour(count: int) -> Array:
    """The fold above the upper lid and the groove under the lower one [count, 2]."""
    return _almond(count, _CREASE_HALF_WIDTH, 10.0, 9.5, -0.05)


def lid_radius(dx: Array, clearance: float | Array = LID_CLEARANCE) -> Array:
    """Distance of a lid from the eye's x axis; an ellipsoid that clears the eyeball and reaches the corners."""
    return (EYE_RADIUS + clearance) * np.sqrt(np.clip(1.0 - (dx / (_CREASE_HALF_WIDTH + 0.8)) ** 2, 0.02, None))


def lid_point(dx: Array, elevation: Array, clearance: float | Array = LID_CLEARANCE) -> Array:
    """Points [N, 3] relative to the eye's centre; the outer corner lies further back than the inner one."""
    radius = lid_radius(dx, clearance)
    return np.stack((dx, radius * np.sin(elevation), radius * np.cos(elevation) - 0.11 * dx), axis=-1)


def lid_elevation(contour: Array, clearance: float = LID_CLEARANCE) -> Array:
    """Elevation [N] at which the lid surface has the contour's height."""
    return np.arcsin(np.clip(contour[:, 1] / lid_radius(contour[:, 0], clearance), -0.98, 0.98))


def lid_loops(count: int, margin: Array, crease: Array) -> Array:
    """Lid surface [5 + 2, count, 3] relative to the eye's centre, for elevations [count] of margin and crease.

    From the crease over the lid plate to the margin's outer edge, then its inner edge on the eyeball and the lining
    behind it.
    """
    margin_x, crease_x = margin_contour(count)[:, 0], crease_contour(count)[:, 0]
    loops = []
    for step in LID_STEPS:
        dx = crease_x + (margin_x - crease_x) * step
        clearance = LID_CLEARANCE + 0.5 * np.sin(np.pi * step) - 0.6 * np.exp(-(((step - 0.12) / 0.1) ** 2))
        loops.append(lid_point(dx, crease + (margin - crease) * step, clearance))
    inward = np.sign(is_upper(count))
    behind = lid_elevation(margin_contour(count)) + 0.45 * inward  # the lining stays where no lid motion uncovers it
    for elevation, radius, shrink in ((margin, EYE_RADIUS + 0.12, 0.97), (behind, EYE_RADIUS + 0.5, 0.93)):
        lined = lid_point(margin_x * shrink, elevation, 0.0)
        distance = np.linalg.norm(lined, axis=-1, keepdims=True)
        loops.append(lined * np.clip(radius / distance, None, 1.06))
    return np.array(loops)


def eyeball(side: float, region: str) -> Part:
    """A sphere with its pole at the pupil; its uv is an azimuthal unwrapping, so that the iris is a disk."""
    rings, spokes = 13, 24
    polar = np.concatenate(
        (np.linspace(0.12, IRIS_RADIANS, 4), np.linspace(IRIS_RADIANS + 0.14, EYEBALL_EXTENT, rings - 4))
    )
    around = np.arange(spokes) * 2 * np.pi / spokes
    theta, phi = np.meshgrid(polar, around, indexing="ij")
    direction = np.stack((np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)), axis=-1)
    points = np.concatenate(([[0.0, 0.0, 1.0]], direction.reshape(-1, 3))) * EYE_RADIUS
    disk = np.stack((theta * np.cos(phi), -theta * np.sin(phi)), axis=-1).reshape(-1, 2) / polar[-1]
    uv = 0.5 + 0.5 * np.concatenate((np.zeros((1, 2)), disk))
    center = EYE_CENTER * (side, 1.0, 1.0)
    return Part(region, points + center, disk_faces(rings, spokes), uv)


def opening_profile(dx: Array) -> Array:
    """How far along the lid a motion of its middle reaches: 1 in the middle, 0 at the corners."""
    return np.clip(1.0 - (dx / _HALF_WIDTH) ** 2, 0.0, 1.0)
