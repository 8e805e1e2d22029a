"""Shapes of lids and brows: blink, wide, squint, the lids that follow the gaze, brows up and down."""

from __future__ import annotations

import numpy as np

from studio.heads.procedural import covering, eyes
from studio.heads.procedural.skull import Array
from studio.heads.procedural.stage import Stage

_MIRROR = np.array([-1.0, 1.0, 1.0])


def _lids(stage: Stage, sign: float, margin: Array, crease: Array) -> Array:
    """Motion [V, 3] of one eye's lids and lashes to the elevations [P] of margin and crease (in radians)."""
    count = len(margin)
    rest = eyes.lid_elevation(eyes.margin_contour(count)), eyes.lid_elevation(eyes.crease_contour(count))
    side = "left" if sign > 0 else "right"
    hand = np.ones(3) if sign > 0 else _MIRROR
    moved = (eyes.lid_loops(count, margin, crease) - eyes.lid_loops(count, *rest)) * hand
    loops = stage.mesh.skin.eye_loops[0 if sign > 0 else 1]
    delta = np.zeros_like(stage.at)
    delta[loops[eyes.FOLD_LOOP :]] = moved
    for loop, share in zip(loops[1 : eyes.FOLD_LOOP], (0.12, 0.35, 0.7)):
        delta[loop] = share * moved[0]
    delta[stage.mesh.spans[f"lashes_{side}"]] = (
        covering.lashes(margin).vertices - covering.lashes(rest[0]).vertices
    ) * hand
    return delta


def _rest(stage: Stage) -> tuple[Array, Array, Array, Array, Array]:
    """Loop data: elevation of margin and crease, opening profile, mask of the upper lid, closed elevation."""
    count = stage.mesh.skin.eye_loops[0].shape[1]
    contour = eyes.margin_contour(count)
    margin, crease = eyes.lid_elevation(contour), eyes.lid_elevation(eyes.crease_contour(count))
    upper = eyes.is_upper(count) > 0
    partner = margin[-np.arange(count) % count]
    low, high = np.minimum(margin, partner), np.maximum(margin, partner)
    return margin, crease, eyes.opening_profile(contour[:, 0]), upper, low + 0.2 * (high - low)


def blink(stage: Stage, sign: float) -> Array:
    _, crease, profile, upper, closed = _rest(stage)
    target = np.where(upper, closed - 0.03 * profile, closed)
    return _lids(stage, sign, target, crease - np.where(upper, 0.10, -0.02) * profile)


def wide(stage: Stage, sign: float) -> Array:
    margin, crease, profile, upper, _ = _rest(stage)
    lids = _lids(
        stage, sign, margin + np.where(upper, 0.15, -0.05) * profile, crease + np.where(upper, 0.08, -0.03) * profile
    )
    return lids + stage.brush((32, 20), (16, 8), (0, 1.5, 0), sign)


def squint(stage: Stage, sign: float) -> Array:
    margin, crease, profile, upper, closed = _rest(stage)
    share = np.where(upper, 0.14, 0.75)
    lids = _lids(stage, sign, margin + share * (closed - margin), crease + np.where(upper, -0.05, 0.12) * profile)
    return lids + stage.brush((34, -17), (15, 6), (0, 2.2, 1.2), sign)


def look_down(stage: Stage, sign: float) -> Array:
    margin, crease, profile, upper, _ = _rest(stage)
    return _lids(
        stage, sign, margin - np.where(upper, 0.42, 0.08) * profile, crease - np.where(upper, 0.08, 0.05) * profile
    )


def look_up(stage: Stage, sign: float) -> Array:
    margin, crease, profile, upper, _ = _rest(stage)
    lids = _lids(
        stage, sign, margin + np.where(upper, 0.15, 0.09) * profile, crease + np.where(upper, 0.08, 0.03) * profile
    )
    return lids + stage.brush((32, 18), (15, 7), (0, 1.2, 0), sign)


def look_sideways(stage: Stage, sign: float, outward: float) -> Array:
    """The cornea lifts the lids where it lies: towards the outer (1) or the inner (-1) corner."""
    margin, crease, profile, upper, _ = _rest(stage)
    x = eyes.margin_contour(len(margin))[:, 0] / 15.0
    lift = np.where(upper, 0.15, -0.09) * profile * outward * x
    return _lids(stage, sign, margin + lift, crease)


def brow_down(stage: Stage, sign: float) -> Array:
    inner = stage.brush((15, 15), (11, 9), (-2.8, -5.0, 1.0), sign)
    return (
        inner
        + stage.brush((33, 19), (14, 9), (-1.2, -4.2, 0.6), sign)
        + stage.brush((5, 13), (4, 8), (-0.5, -1.5, 1.0), sign)
    )


def brow_inner_up(stage: Stage, sign: float) -> Array:
    return stage.brush((13, 18), (12, 11), (-0.6, 8.0, -0.8), sign) + stage.brush((24, 22), (10, 10), (0, 2.0, 0), sign)


def brow_outer_up(stage: Stage, sign: float) -> Array:
    return stage.brush((38, 19), (13, 11), (0.5, 7.5, -1.6), sign) + stage.brush((26, 22), (10, 10), (0, 2.0, 0), sign)


def cheek_squint(stage: Stage, sign: float) -> Array:
    margin, crease, profile, upper, closed = _rest(stage)
    share = np.where(upper, 0.0, 0.35)
    lids = _lids(stage, sign, margin + share * (closed - margin), crease + np.where(upper, 0.0, 0.14) * profile)
    return lids + stage.brush((38, -22), (16, 9), (0.5, 4.5, 2.5), sign)


def sneer(stage: Stage, sign: float) -> Array:
    wing = stage.brush((13, -38), (8, 9), (1.0, 3.6, 0.3), sign)
    fold = stage.brush((17, -20), (9, 12), (0.3, 2.4, 1.3), sign) + stage.brush((7, -2), (6, 7), (0.0, 0.9, 1.0), sign)
    lip = stage.brush((13, -60), (10, 8), (0.5, 3.0, 0.6), sign) * stage.upper[:, None]
    return wing + fold + lip + stage.brush((15, 15), (9, 6), (-1.0, -1.6, 0.6), sign)
