"""The smooth form under a head: a surface lofted through horizontal sections, with facial relief on its front.

Everything here is in millimetres in the head frame (x to the subject's left, y up, z forward, origin between the eyes).
The loft maps (angle, level) to a point: the angle runs from 0 at the face's midline to ±pi at the back, the level
counts the sections of ``SECTIONS`` from the crown downwards.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # of reals

# One section per row: height at front, side and back; depth of front, widest place and back; half width;
# exponents of the front and back superellipse quadrants (2 is an ellipse, more is boxier).
SECTIONS: Array = np.array(
    [
        # y front, side, back   z front, side, back     width  n front, n back
        [122.0, 122.0, 122.0, -78.0, -80.0, -82.0, 0.01, 2.0, 2.0],  # 0 crown
        [118.5, 118.5, 118.5, -45.0, -80.0, -114.0, 33.0, 2.0, 2.0],
        [107.0, 106.0, 105.0, -15.0, -80.0, -141.0, 54.0, 2.1, 2.0],
        [90.0, 88.0, 85.0, 5.0, -80.0, -158.0, 67.0, 2.15, 2.0],  # 3 upper forehead
        [68.0, 66.0, 62.0, 15.5, -80.0, -167.0, 73.5, 2.2, 2.0],  # 4 hairline
        [44.0, 43.0, 38.0, 20.5, -80.0, -171.0, 75.5, 2.25, 2.0],
        [18.0, 18.0, 12.0, 20.5, -79.0, -170.0, 74.0, 2.4, 2.0],  # 6 brows
        [-17.0, -16.0, -18.0, 18.0, -79.0, -163.0, 71.5, 2.45, 2.0],  # 7 cheekbones
        [-34.0, -30.0, -34.0, 20.0, -78.0, -154.0, 69.5, 2.3, 2.0],
        [-52.0, -46.0, -48.0, 22.0, -76.0, -144.0, 66.0, 2.12, 2.0],  # 9 under the nose
        [-71.0, -61.0, -61.0, 21.5, -74.0, -135.0, 62.5, 2.0, 2.0],  # 10 mouth
        [-90.0, -75.0, -73.0, 17.5, -71.0, -128.0, 58.5, 1.95, 2.0],
        [-103.0, -84.0, -82.0, 16.0, -68.0, -124.0, 54.5, 1.9, 2.0],  # 12 chin
        [-112.0, -90.0, -89.0, 9.0, -66.0, -121.5, 51.0, 1.9, 2.0],
        [-117.5, -96.0, -95.0, -10.0, -68.0, -120.0, 48.5, 1.95, 2.0],  # 14 under the chin
        [-122.0, -104.0, -102.0, -32.0, -72.0, -119.0, 49.0, 2.0, 2.0],  # 15 throat
        [-142.0, -124.0, -119.0, -38.0, -76.0, -119.5, 52.0, 2.0, 2.0],
        [-165.0, -146.0, -138.0, -39.0, -79.0, -124.0, 56.0, 2.0, 2.0],
        [-186.0, -164.0, -156.0, -34.0, -81.0, -132.0, 71.0, 2.0, 2.0],  # 18 base of the neck
        [-202.0, -177.0, -174.0, -24.0, -82.0, -143.0, 107.0, 2.1, 2.1],
        [-221.0, -196.0, -198.0, -10.0, -82.0, -154.0, 158.0, 2.3, 2.3],  # 20 shoulders
        [-250.0, -232.0, -235.0, 4.0, -82.0, -162.0, 190.0, 2.4, 2.4],
        [-300.0, -300.0, -300.0, 14.0, -82.0, -166.0, 200.0, 2.4, 2.4],  # 22 chest
    ]
)
BROW_LEVEL, CHEEK_LEVEL, SUBNASAL_LEVEL, SULCUS_LEVEL = 6.0, 7.0, 9.0, 11.0


def gaussian(x: Array, y: Array, center: tuple[float, float], radii: tuple[float, float], turn: float = 0.0) -> Array:
    """A smooth bump of height 1 over the plane, its axes turned counter-clockwise by ``turn`` radians."""
    dx, dy = x - center[0], y - center[1]
    along, across = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
    return np.exp(-0.5 * ((along / radii[0]) ** 2 + (across / radii[1]) ** 2))


def smooth_max(a: Array, b: Array, width: float) -> Array:
    """The larger of two values with the corner rounded over ``width`` (polynomial, exact away from the corner)."""
    overlap = np.maximum(width - np.abs(a - b), 0.0) / width
    return np.maximum(a, b) + overlap**3 * width / 6.0


def smoothstep(low: float, high: float, x: Array) -> Array:
    """0 below ``low``, 1 above ``high``, cubic between (``low`` may be the larger one)."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def spline(knots: Array, values: Array, x: Array) -> Array:
    """Cubic Hermite interpolation of values [K, ...] at x [N], with finite-difference tangents: [N, ...]."""
    tangents = np.gradient(values, knots, axis=0)
    index = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(knots) - 2)
    width = (knots[index + 1] - knots[index]).reshape(-1, *[1] * (values.ndim - 1))
    t = (x - knots[index]).reshape(width.shape) / width
    left = (1 + 2 * t) * (1 - t) ** 2 * values[index] + t * (1 - t) ** 2 * width * tangents[index]
    return left + t * t * (3 - 2 * t) * values[index + 1] + t * t * (t - 1) * width * tangents[index + 1]


def loft(
    angle: Array,  # [N] radians, 0 at the front midline, positive to the subject's left
    level: Array,  # [N] index into SECTIONS, fractional
) -> Array:
    """Points [N, 3] of the smooth head, neck and shoulders, without facial relief."""
    y_front, y_side, y_back, z_front, z_side, z_back, width, n_front, n_back = spline(
        np.arange(len(SECTIONS), dtype=float), SECTIONS, level
    ).T
    sine, cosine = np.sin(angle), np.cos(angle)
    front = cosine >= 0
    power = 2.0 / np.where(front, n_front, n_back)
    x = width * np.sign(sine) * np.abs(sine) ** power
    z = z_side + np.where(front, z_front - z_side, z_back - z_side) * np.abs(cosine) ** power
    y = y_side + np.where(front, y_front - y_side, y_back - y_side) * cosine**2
    return np.stack((x, y, z), axis=-1)


def front_coordinates(
    xy: Array,  # [N, 2] mm
    angle: Array,  # [N] first guess
    level: Array,  # [N] first guess
) -> tuple[Array, Array]:
    """(angle, level) of the points of the loft's front that are seen at ``xy`` from ahead (Newton's method)."""
    step = 1e-4
    for _ in range(12):
        here = loft(angle, level)[:, :2]
        to_angle = (loft(angle + step, level)[:, :2] - here) / step
        to_level = (loft(angle, level + step)[:, :2] - here) / step
        error = xy - here
        determinant = to_angle[:, 0] * to_level[:, 1] - to_level[:, 0] * to_angle[:, 1]
        angle = angle + (error[:, 0] * to_level[:, 1] - to_level[:, 0] * error[:, 1]) / determinant
        level = level + (to_angle[:, 0] * error[:, 1] - error[:, 0] * to_angle[:, 1]) / determinant
    return angle, level


# Height, depth of the ridge and half width of the nose from its root to its base.
_NOSE_RIDGE: Array = np.array(
    [
        [20.0, 15.0, 6.0],
        [12.0, 19.0, 6.0],
        [5.0, 20.5, 5.0],
        [-4.0, 24.0, 4.5],
        [-14.0, 30.0, 5.0],
        [-24.0, 36.0, 6.0],
        [-32.0, 40.5, 7.0],
        [-40.0, 40.0, 7.0],
        [-45.0, 31.0, 6.0],
        [-54.0, 6.0, 6.0],
    ]
)


def _dome(x: Array, y: Array, center: tuple[float, float, float], radii: tuple[float, float, float]) -> Array:
    """Depth of a paraboloid that touches the ellipsoid at its foremost point."""
    return center[2] + radii[2] * (1.0 - 0.9 * (((x - center[0]) / radii[0]) ** 2 + ((y - center[1]) / radii[1]) ** 2))


def _nose(x: Array, y: Array, z: Array) -> Array:
    """Depth of the face with the nose on it; x is taken positive (both sides are alike)."""
    height = np.clip(y, -54.0, 20.0)
    ridge, round_off = spline(_NOSE_RIDGE[::-1, 0], _NOSE_RIDGE[::-1, 1:], height.ravel()).T.reshape(2, *y.shape)
    bridge = ridge - 1.75 * (np.sqrt(x**2 + round_off**2) - round_off) - 2.0 * np.maximum(np.abs(y - height), 0.0)
    nose = smooth_max(bridge, _dome(x, y, (0.0, -36.5, 30.0), (10.5, 9.5, 13.0)), 3.0)
    nose = smooth_max(nose, _dome(x, y, (12.5, -40.8, 20.5), (7.0, 7.2, 12.0)), 2.5)
    nose = smooth_max(nose, _dome(x, y, (0.0, -42.5, 25.0), (6.5, 7.0, 11.5)), 3.0)
    nose = nose - 5.5 * gaussian(x, y, (8.0, -45.0), (3.0, 2.2), -0.3)
    return smooth_max(z, nose, 3.5)


def relief(
    points: Array,  # [N, 3] of the loft
) -> Array:
    """The points [N, 3] with brow ridge, orbits, nose, cheekbones, philtrum and chin. Leaves the back alone."""
    side, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2].copy()
    front = smoothstep(-60.0, -20.0, z)

    def bump(height: float, x0: float, y0: float, rx: float, ry: float, turn: float = 0.0) -> Array:
        return height * gaussian(side, y, (x0, y0), (rx, ry), turn)

    z = z + bump(3.5, 24, 19, 15, 5.5, -0.1) + bump(1.5, 0, 21, 9, 7)  # brow ridge, glabella
    z = z + bump(-4.0, 30, 4, 16, 9) + bump(-7.0, 16, 1, 5.5, 9)  # orbit
    z = z + bump(3.0, 45, -22, 15, 9, 0.25) + bump(-1.5, 25, -19, 12, 7, -0.5)  # cheekbone, tear trough
    z = z + bump(-3.0, 47, -58, 12, 17, 0.5)  # hollow of the cheek
    z = z + bump(4.0, 0, -68, 19, 16)  # dental arch
    z = _nose(side, y, z)
    z = z + bump(-1.2, 0, -56, 2.6, 4.0) + bump(0.9, 4.8, -57, 2.2, 4.5)  # philtrum
    z = z + bump(-1.6, 24, -50, 3.0, 12, 0.45)  # nasolabial fold
    z = z + bump(-4.5, 0, -88, 15, 4.5) + bump(6.5, 0, -102, 13, 9)  # mentolabial sulcus, chin
    moved = points.copy()
    moved[:, 2] += front * (z - points[:, 2])
    outward = front * (bump(2.0, 58, -20, 10, 12) - bump(2.5, 70, 28, 12, 18))  # cheekbone, temple
    deep = points[:, 2]
    outward = outward + 2.2 * gaussian(deep, y, (-46.0, -82.0), (17.0, 11.0)) * smoothstep(
        20.0, 40.0, side
    )  # angle of the jaw
    outward = outward - 3.0 * gaussian(deep, y, (-50.0, -108.0), (20.0, 9.0)) * smoothstep(20.0, 40.0, side)
    moved[:, 0] += np.sign(points[:, 0]) * outward
    moved[:, 2] += _throat(side, y, deep)
    return moved


def _throat(side: Array, y: Array, z: Array) -> Array:
    """How far larynx and sternomastoid muscles stand out of the neck's front."""
    along = np.clip((-60.0 - y) / 128.0, 0.0, 1.0)
    muscle = np.exp(-(((side - (50.0 - 38.0 * along)) / 7.0) ** 2)) * smoothstep(-105.0, -125.0, y)
    larynx = gaussian(side, y, (0.0, -143.0), (7.0, 10.0))
    return (2.8 * muscle + 3.0 * larynx) * smoothstep(-95.0, -75.0, z)
