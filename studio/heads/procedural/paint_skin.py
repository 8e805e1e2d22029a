"""The skin's colours: tone, blush, freckles, stubble, lines, lips, lids, hair roots, hairs of the brows."""

from __future__ import annotations

import numpy as np

from studio.heads.procedural import eyes, mouth
from studio.heads.procedural.appearance import Appearance
from studio.heads.procedural.atlas import place, skin_chart
from studio.heads.procedural.canvas import Canvas, loop_field, mix, shade
from studio.heads.procedural.covering import brow_line, hairline
from studio.heads.procedural.skull import Array, front_coordinates, gaussian, smoothstep


def paint_skin(canvas: Canvas) -> Array:
    """Colours [N, 3] of face, scalp and neck."""
    look, points = canvas.look, canvas.points
    x, y = np.abs(points[:, 0]), points[:, 1]
    facing = smoothstep(-60.0, -10.0, points[:, 2])
    mottling = 0.013 * canvas.waves(22.0) + 0.007 * canvas.waves(6.0) + 0.014 * canvas.grain
    color = np.array(look.skin) * (1.0 + mottling)[:, None]
    color = shade(
        color, 0.28 * look.redness * facing * _blush(x, y) * (0.9 + 0.13 * canvas.waves(12.0, 6)), (0.05, 0.55, 0.5)
    )
    color = shade(color, 0.22 * facing * _hollows(x, y), (0.7, 1.0, 0.85))
    color = shade(color, look.age * facing * _lines(x, y), (0.8, 1.0, 1.0))
    color = shade(color, 0.45 * look.freckles * facing * _freckles(canvas, x, y), (0.5, 0.8, 1.0))
    color = mix(
        color,
        np.array(look.hair) * 0.5 + np.array(look.skin) * 0.25,
        0.42 * look.stubble * facing * _beard(canvas, x, y),
    )
    nostril = gaussian(x, y, (7.4, -45.6), (3.0, 2.0), -0.45) * smoothstep(20.0, 26.0, points[:, 2])
    color = shade(color, 0.85 * np.clip(1.5 * nostril, 0, 1), (0.85, 0.95, 0.97))
    return _scalp(canvas, _lid_edges(canvas, _lips(canvas, color, points[:, 0])))


def _blush(x: Array, y: Array) -> Array:
    """Where blood shows: cheeks, nose, chin and upper lids."""
    cheeks, nose = gaussian(x, y, (41, -33), (14, 12)), gaussian(x, y, (0, -37), (13, 8))
    return cheeks + 0.9 * nose + 0.5 * gaussian(x, y, (0, -101), (14, 8)) + 0.35 * gaussian(x, y, (32, 8), (15, 5))


def _hollows(x: Array, y: Array) -> Array:
    """Thin, darker skin round the eyes."""
    under, inner = gaussian(x, y, (29, -12), (13, 5), -0.15), gaussian(x, y, (18, 4), (5, 9))
    return 0.5 * under + 0.5 * inner + 0.35 * gaussian(x, y, (30, 10), (15, 4))


def _lines(x: Array, y: Array) -> Array:
    """Forehead lines, nasolabial folds and crow's feet."""
    brow = y - 2.0 * np.cos(x / 17.0)
    forehead = sum(np.exp(-(((brow - height) / 0.9) ** 2)) for height in (33.0, 42.0, 50.0)) * smoothstep(46.0, 26.0, x)
    fold = np.exp(-(((x - 17.0 - 0.42 * (-43.0 - y)) / 2.0) ** 2))
    fold *= smoothstep(-40.0, -46.0, y) * smoothstep(-72.0, -62.0, y)
    feet = sum(np.exp(-(((y - 0.45 * s * (x - 48.0) - s) / 0.7) ** 2)) for s in (-1.0, 0.2, 1.2))
    feet = feet * smoothstep(48.0, 51.0, x) * smoothstep(62.0, 54.0, x)
    return 0.10 * forehead + 0.10 * fold + 0.10 * feet


def _freckles(canvas: Canvas, x: Array, y: Array) -> Array:
    return smoothstep(1.2, 2.2, canvas.waves(3.4, 14)) * (gaussian(x, y, (24, -20), (24, 15)) + 0.25)


def _beard(canvas: Canvas, x: Array, y: Array) -> Array:
    """Density of the shaved beard: jaw, chin and upper lip, up to a line across the cheeks."""
    jaw = smoothstep(-44.0, -66.0, y + 0.35 * np.maximum(x - 25.0, 0.0)) * smoothstep(-132.0, -112.0, y)
    jaw *= smoothstep(70.0, 60.0, x)
    lip = 0.8 * gaussian(x, y, (12, -56), (12, 4))
    return np.maximum(jaw, lip) * (0.55 + 0.45 * smoothstep(-0.4, 1.2, canvas.grain))


def _lips(canvas: Canvas, color: Array, x: Array) -> Array:
    rings, look = (canvas.mesh.skin.mouth_loops,), canvas.look
    red = canvas.field(loop_field(canvas.mesh, rings, mouth.BORDER_LOOP - 1, (0.0, 0.55, 1.0)))
    inside = canvas.field(loop_field(canvas.mesh, rings, mouth.BORDER_LOOP + 2, (0.0, 0.5, 1.0)))
    creases = 0.5 + 0.5 * np.sin(x * 3.6 + 1.5 * np.sin(x * 0.9) + 0.05 * canvas.grain)
    tint = np.array(look.skin) * (1.0 - look.lip_color * np.array([0.10, 0.36, 0.30]))
    lips = shade(tint * (1.0 - 0.045 * creases + 0.03 * canvas.grain)[:, None], 0.45 * inside**2, (0.8, 1.0, 1.0))
    return mix(color, lips, smoothstep(0.25, 0.75, red))


def _lid_edges(canvas: Canvas, color: Array) -> Array:
    rings = canvas.mesh.skin.eye_loops
    edge = canvas.field(loop_field(canvas.mesh, rings, eyes.MARGIN_LOOP, (0.35, 1.0)))
    plate = canvas.field(loop_field(canvas.mesh, rings, eyes.FOLD_LOOP + 1, (0.6, 0.5, 0.4, 0.3)))
    color = shade(color, 0.16 * plate, (0.6, 1.0, 0.9))
    return mix(color, color * [0.95, 0.70, 0.66] + [0.02, 0.0, 0.0], 0.9 * smoothstep(0.2, 1.0, edge))


def _scalp(canvas: Canvas, color: Array) -> Array:
    """Hair roots under the cap of hair, thinning out just below the hairline."""
    mesh = canvas.mesh
    below = np.zeros(len(mesh.vertices))
    below[mesh.spans["skin"]] = np.clip(mesh.skin.level - hairline(mesh.skin.angle), -2.0, 2.0)
    roots = smoothstep(0.30, -0.02, canvas.field(below) + 0.06 * canvas.grain)
    return mix(color, np.array(canvas.look.hair) * 0.9, 0.92 * roots)


def draw_brow_hairs(picture: Array, look: Appearance, rng: np.random.Generator) -> None:
    """Draw single hairs into a texture [size, size, 3] round the brows' ridges, so that their outlines fray."""
    count, steps, size = int(900 * look.brow_density), 40, len(picture)
    t = rng.beta(1.1, 1.3, count)
    across = np.clip(rng.normal(0.0, 0.55, count), -1.4, 1.4) * smoothstep(-0.1, 0.15, t)
    root = brow_line(t) + np.stack((0 * t, 3.2 * across * (1.0 - 0.8 * t) - 0.4), axis=-1)
    lean = np.pi / 2 - 0.25 - 1.15 * t - 0.2 * across + rng.normal(0, 0.12, count)
    length = np.linspace(0, 1, steps)[:, None] * rng.uniform(2.5, 5.0, count) * (1.0 - 0.35 * t)
    x, y = (root[:, 0] + length * np.cos(lean)).ravel(), (root[:, 1] + length * np.sin(lean) * 0.7).ravel()
    guess = np.arcsin(np.clip(x / 75.0, 0, 1)), np.full(len(x), 6.0)
    angle, level = front_coordinates(np.stack((x, y), -1), *guess)
    ink = np.linspace(1.0, 0.35, steps).repeat(count) * 0.3 * (size / 1024)
    for hand in (1.0, -1.0):
        cover = _splat(place("skin", skin_chart(hand * angle, level)) * size - 0.5, ink, size)[..., None]
        picture += np.minimum(cover, 0.85) * (np.array(look.hair, np.float32) * 0.8 - picture)


def _splat(
    at: Array,  # [N, 2] texels, centres at integers
    ink: Array,  # [N]
    size: int,
) -> Array:
    """Coverage [size, size]: every point's ink shared among the four texels round it."""
    low = np.floor(at).astype(np.int64)
    share = at - low
    total = np.zeros(size * size)
    for dx in (0, 1):
        for dy in (0, 1):
            weight = np.abs(1 - dx - share[:, 0]) * np.abs(1 - dy - share[:, 1])
            total += np.bincount((low[:, 1] + dy) * size + low[:, 0] + dx, weight * ink, size * size)
    return total.reshape(size, size).astype(np.float32)
