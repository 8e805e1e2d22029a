"""Shapes of jaw, lips, cheeks and tongue."""

from __future__ import annotations

import numpy as np

from studio.heads.procedural import mouth
from studio.heads.procedural.mesh import JOINTS
from studio.heads.procedural.skull import Array, gaussian, smoothstep
from studio.heads.procedural.stage import Stage, turn_about_x

# The jaw turns, and its joint slides forwards and down as the mouth opens wide.
JAW_OPEN_RADIANS, JAW_OPEN_SLIDE = 0.33, np.array([0.0, -3.0, 8.0])
_JAW = 2  # column of the weights


def _jaw(stage: Stage) -> Array:
    return stage.mesh.weights[:, _JAW]


def _taper(stage: Stage) -> Array:
    """1 in the middle of the mouth, 0 at and beyond its corners: [V]."""
    return np.sqrt(np.clip(1.0 - (stage.at[:, 0] / (mouth.CORNER_X + 0.5)) ** 2, 0.0, 1.0))


def _vector(amount: Array, x: float | Array, y: float | Array, z: float | Array) -> Array:
    return amount[:, None] * np.stack(np.broadcast_arrays(np.asarray(x, float), y, z, amount)[:3], axis=-1)


def _opened(points: Array) -> Array:
    """Motion [N, 3] of points of the lower jaw as it opens."""
    return turn_about_x(points, np.array(JOINTS["jaw"]), JAW_OPEN_RADIANS) + JAW_OPEN_SLIDE - points


def jaw_open(stage: Stage, sign: float = 0.0) -> Array:
    drop = _jaw(stage)[:, None] * _opened(stage.mesh.vertices)
    corner = gaussian(np.abs(stage.at[:, 0]), stage.at[:, 1], (27, -70), (13, 16)) * stage.soft
    cheek = gaussian(np.abs(stage.at[:, 0]), stage.at[:, 1], (44, -60), (14, 20)) * stage.soft
    hand = np.sign(stage.at[:, 0])
    lips = stage.lips * _taper(stage)
    return (
        drop
        + _vector(corner, -2.6 * hand, 0, -1.5)
        + _vector(cheek, -2.5 * hand, 0, -1.0)
        + _vector(lips, 0, np.where(stage.upper > 0.5, 0.8, 1.6), 0)
    )


def jaw_forward(stage: Stage, sign: float = 0.0) -> Array:
    return _vector(_jaw(stage), 0, -0.8, 5.5)


def jaw_sideways(stage: Stage, sign: float) -> Array:
    return _vector(_jaw(stage), 7.0 * sign, -0.5, 0)


def mouth_close(stage: Stage, sign: float = 0.0) -> Array:
    """What closes the lips again when the jaw is open (jawOpen = mouthClose = 1)."""
    y = stage.at[:, 1]
    reach = np.where(stage.upper > 0.5, smoothstep(-49.0, -61.0, y), smoothstep(-101.0, -80.0, y))
    reach = reach * smoothstep(38.0, 24.0, np.abs(stage.at[:, 0])) * np.minimum(stage.soft * 1.6, 1.0)
    contact = _opened(stage.at)
    goal = 0.4 * contact - jaw_open(stage) + _vector(np.ones(len(y)), 0, 0, 0.8 + 0.02 * contact[:, 1])
    return reach[:, None] * goal


def funnel(stage: Stage, sign: float = 0.0) -> Array:
    x, taper = stage.at[:, 0], _taper(stage)
    forward = stage.lips * gaussian(x, stage.at[:, 1], (0, -70), (22, 17))
    opening = np.where(stage.upper > 0.5, 3.0, -4.4)
    return (
        _vector(stage.lips, -0.32 * x, 0, 0)
        + _vector(forward, 0, 0, 8.5)
        + _vector(stage.lips * taper, 0, opening, 0.8)
    )


def pucker(stage: Stage, sign: float = 0.0) -> Array:
    x, y = stage.at[:, 0], stage.at[:, 1]
    forward = stage.lips * gaussian(x, y, (0, -70), (17, 15))
    return _vector(stage.lips, -0.36 * x, -0.06 * (y - mouth.MOUTH_LINE), -1.0) + _vector(forward, 0, 0, 10.0)


def mouth_sideways(stage: Stage, sign: float) -> Array:
    bend = stage.lips * sign * stage.at[:, 0] / mouth.CORNER_X
    return _vector(stage.lips, 8.0 * sign, 0.0, -0.6) + _vector(bend, 0, 0.8, -1.6)


def _corner(stage: Stage, sign: float, power: float = 1.5) -> Array:
    """Pull [V] of the corner of one side: full there, fading along the lips to the midline and into the cheek."""
    side = np.clip(sign * stage.at[:, 0] / mouth.CORNER_X, 0.0, None)
    along = np.minimum(side, 1.0) ** power * smoothstep(54.0, 24.0, sign * stage.at[:, 0])
    down = smoothstep(-40.0, -62.0, stage.at[:, 1]) * smoothstep(-104.0, -80.0, stage.at[:, 1])
    return along * down * stage.soft


def smile(stage: Stage, sign: float) -> Array:
    corner = _vector(_corner(stage, sign, 1.3), 8.0 * sign, 0, -5.5) + _vector(_corner(stage, sign, 1.9), 0, 9.0, 0)
    cheek = stage.brush((37, -34), (13, 12), (1.5, 5.0, 3.5), sign) + stage.brush(
        (34, -17), (13, 6), (0, 1.6, 0.8), sign
    )
    lips = stage.lips * stage.side(sign) * _taper(stage)
    thin = _vector(lips, 0, np.where(stage.upper > 0.5, 2.0, -0.6), -2.0)
    return corner + cheek + thin + stage.brush((15, -42), (7, 7), (1.4, 0.8, 0), sign)


def frown(stage: Stage, sign: float) -> Array:
    return _vector(_corner(stage, sign, 2.0), 1.5 * sign, -10.0, -1.5) + stage.brush(
        (30, -88), (9, 8), (0.5, -2, 1.5), sign
    )


def dimple(stage: Stage, sign: float) -> Array:
    return _vector(_corner(stage, sign, 2.0), 5.0 * sign, 1.2, -4.5) + stage.brush(
        (35, -66), (7, 9), (1.0, 0.5, -1.2), sign
    )


def stretch(stage: Stage, sign: float) -> Array:
    neck = stage.brush((30, -108), (14, 14), (1.5, -2.0, 0.5), sign)
    return _vector(_corner(stage, sign, 1.2), 10.0 * sign, -3.0, -6.0) + neck


def _loops(stage: Stage, upper: bool, table: tuple[tuple[float, float], ...]) -> Array:
    """Motion [V, 3] of one lip given as (up, forward) for the border of the red, the steps over it and the inside."""
    loops = stage.mesh.skin.mouth_loops
    delta, taper = np.zeros_like(stage.at), _taper(stage) ** 2  # the lips are thin near the corners
    lip = (stage.upper[loops] > 0.5) if upper else (stage.upper[loops] < 0.5)
    for index, (up, forward) in enumerate(table):
        loop = loops[mouth.BORDER_LOOP + index]
        amount = lip[mouth.BORDER_LOOP + index] * taper[loop]
        delta[loop] = amount[:, None] * [0.0, up, forward]
    for index, share in ((1, 0.2), (2, 0.5), (3, 0.8), (4, 0.95)):
        loop = loops[index]
        amount = share * lip[index] * taper[loops[mouth.BORDER_LOOP]]
        delta[loop] = amount[:, None] * [0.0, table[0][0], table[0][1]]
    return delta


def roll_lower(stage: Stage, sign: float = 0.0) -> Array:
    steps = ((6.2, -2.6), (4.4, -5.6), (2.4, -6.0), (0.9, -5.0), (0.3, -4.4), (0.3, -4.0), (-0.5, -3.0))
    return _loops(stage, False, steps) + stage.brush((0, -88), (16, 7), (0, 2.5, 0.5), 0)


def roll_upper(stage: Stage, sign: float = 0.0) -> Array:
    steps = ((-5.0, -2.4), (-3.4, -4.6), (-1.8, -5.0), (-0.5, -4.4), (-0.2, -4.0), (-0.2, -3.6), (0.5, -3.0))
    return _loops(stage, True, steps) + stage.brush((0, -56), (16, 6), (0, -1.0, 0), 0)


def shrug_lower(stage: Stage, sign: float = 0.0) -> Array:
    x, y = stage.at[:, 0], stage.at[:, 1]
    wide = gaussian(x, y, (0, -70), (22, 60)) * stage.lips
    steps = np.where(stage.upper > 0.5, 3.2 * smoothstep(-50.0, -66.0, y), 4.4)
    chin = stage.brush((0, -97), (16, 8), (0, 4.5, 1.6), 0)
    return _vector(wide, 0, steps, np.where(stage.upper > 0.5, 0.6, 2.6)) + chin


def shrug_upper(stage: Stage, sign: float = 0.0) -> Array:
    wide = gaussian(stage.at[:, 0], stage.at[:, 1], (0, -70), (18, 60)) * stage.lips
    return _vector(wide, 0, np.where(stage.upper > 0.5, 3.4, 2.2), np.where(stage.upper > 0.5, 2.6, 0.6))


def press(stage: Stage, sign: float) -> Array:
    mask = stage.side(sign)[:, None]
    upper = ((-2.2, -1.2), (-1.4, -2.2), (-0.7, -2.4), (-0.2, -1.8), (0, -1.2), (0, -1.0), (0, -0.6))
    lower = ((2.6, -1.2), (1.7, -2.4), (0.9, -2.6), (0.3, -1.8), (0, -1.2), (0, -1.0), (0, -0.6))
    corner = _vector(_corner(stage, sign, 2.5), 1.2 * sign, 0.4, -1.5)
    return (_loops(stage, True, upper) + _loops(stage, False, lower)) * mask + corner


def lower_down(stage: Stage, sign: float) -> Array:
    taper = _taper(stage) * stage.lips * stage.side(sign) * (1.0 - stage.upper)
    focus = gaussian(sign * stage.at[:, 0], stage.at[:, 1], (10, -76), (13, 40))
    return _vector(taper * focus, 1.6 * sign, -8.5, 0.2) + _vector(_corner(stage, sign, 2.0), 1.0 * sign, -1.5, 0)


def upper_up(stage: Stage, sign: float) -> Array:
    taper = _taper(stage) * stage.lips * stage.side(sign) * stage.upper
    focus = gaussian(sign * stage.at[:, 0], stage.at[:, 1], (10, -64), (13, 40))
    nose = stage.brush((15, -44), (8, 8), (0.8, 1.6, 0.8), sign) + stage.brush(
        (26, -44), (10, 12), (0.5, 2.6, 1.6), sign
    )
    return _vector(taper * focus, 0.6 * sign, 6.8, 0.6) + nose


def cheek_puff(stage: Stage, sign: float = 0.0) -> Array:
    cheek = stage.brush((43, -64), (14, 15), (8.0, 0.0, 8.0), 0) + stage.brush((52, -62), (12, 16), (3.0, 0, 0), 0)
    return cheek + _vector(stage.lips * _taper(stage), 0, 0, 2.0) + stage.brush((0, -84), (14, 6), (0, 0, 2.5), 0)


def tongue_out(stage: Stage, sign: float = 0.0) -> Array:
    """The tongue over the lower lip; the jaw opens as far as it needs."""
    share = 0.42
    delta = share * jaw_open(stage)
    span = stage.mesh.spans["tongue"]
    points = stage.mesh.vertices[span]
    length = smoothstep(-34.0, 8.0, points[:, 2])
    reach = 38.0 * length
    droop = 5.0 * length - 15.0 * smoothstep(0.55, 1.0, length) ** 2
    flat = -0.35 * length * (points[:, 1] + 75.0)
    delta[span] += np.stack((0.12 * points[:, 0] * length, droop + flat, reach), axis=-1)
    return delta + _loops(stage, False, ((-2.0, 1.0),) * 6)
