"""The colours of everything but the skin: eyes, ears, hair, brows, lashes, cloth, teeth and the inside of the mouth."""

from __future__ import annotations

import numpy as np

from studio.heads.procedural import eyes
from studio.heads.procedural.canvas import Canvas, mix, shade
from studio.heads.procedural.skull import Array, smoothstep


def paint_eye(canvas: Canvas) -> Array:
    """Colours [N, 3] of both eyeballs: veined sclera, fibrous iris with a dark rim, pupil, and the window's glint."""
    color = np.zeros((len(canvas.texels.face), 3))
    for side in ("eye_left", "eye_right"):
        here = canvas.shows(side)
        color[here] = _eyeball(canvas.part(here), side)
    return color


def _eyeball(canvas: Canvas, side: str) -> Array:
    radius, angle = canvas.polar(side)
    polar = radius * eyes.EYEBALL_EXTENT
    r = polar / eyes.IRIS_RADIANS
    veins = np.abs(np.sin(9 * angle + 2.2 * np.sin(5 * polar + 3 * angle) + 3.0 * np.sin(2 * angle)))
    sclera = shade(np.array([0.89, 0.87, 0.85]), 0.03 * r.clip(0, 3), (0.4, 1.0, 1.0))
    sclera = shade(sclera, 0.16 * smoothstep(0.16, 0.0, veins) * smoothstep(1.3, 2.4, r), (0.1, 1.0, 1.0))
    color = mix(sclera, _iris(canvas, r, angle), smoothstep(1.06, 0.97, r))
    color = mix(color, (0.015, 0.012, 0.012), smoothstep(0.44, 0.38, r))
    x, y = r * np.cos(angle), r * np.sin(angle)
    window, reflex = np.hypot(x + 0.34, y - 0.40), np.hypot(x - 0.36, y + 0.34)
    glint = smoothstep(0.20, 0.13, window) + 0.35 * smoothstep(0.12, 0.06, reflex)
    return mix(color, (1.0, 1.0, 1.0), 0.92 * np.clip(glint, 0, 1))


def _iris(canvas: Canvas, r: Array, angle: Array) -> Array:
    phases = np.random.default_rng(canvas.look.seed + 7).uniform(0, 6, 4)
    fibers = sum(np.sin(n * angle + phase + 2.0 * r) for n, phase in zip((17, 29, 43, 61), phases)) / 4.0
    base = np.array(canvas.look.iris)
    ring = np.exp(-(((r - 0.52) / 0.11) ** 2))[:, None] * (base * 0.45 + [0.10, 0.06, 0.0])
    return shade(base * (0.95 + 0.38 * fibers + 0.05 * canvas.grain)[:, None] + ring, 0.72 * smoothstep(0.80, 1.0, r))


def paint_ear(canvas: Canvas) -> Array:
    """Redder than the face, dark in the canal and the grooves."""
    color = np.zeros((len(canvas.texels.face), 3))
    look = canvas.look
    base = np.array(look.skin) * (1.0 - 0.14 * look.redness * np.array([0.05, 0.8, 0.7]))
    for side in ("ear_left", "ear_right"):
        here = canvas.shows(side)
        radius, _ = canvas.part(here).polar(side)
        hollow = np.interp(radius, (0.0, 0.12, 0.28, 0.36, 0.46, 0.52, 0.6), (0.85, 0.75, 0.42, 0.12, 0.08, 0.18, 0.0))
        color[here] = shade(base * (1.0 + 0.02 * canvas.grain[here])[:, None], hollow, (0.75, 0.9, 0.92))
    return color


def _strands(canvas: Canvas, position: Array, count: int) -> Array:
    """Noise [N] of unit variance that is constant along strands, by a strand coordinate in 0..1 (periodic)."""
    table = canvas.rng.standard_normal(count)
    place = position % 1.0 * count
    index = place.astype(int) % count
    share = place - np.floor(place)
    return table[index] * (1.0 - share) + table[(index + 1) % count] * share


def paint_hair(canvas: Canvas) -> Array:
    """Strands: noise by strand number in three widths, bent a little along their way; a sheen and a dark edge."""
    across, along = canvas.uv("hair").T
    bent = across + 0.006 * np.sin(9 * along + 12 * across)
    strand = sum(strength * _strands(canvas, bent, count) for count, strength in ((90, 0.10), (260, 0.10), (620, 0.09)))
    sheen = 0.45 * np.exp(-(((along - 0.42 - 0.02 * np.sin(60 * across)) / 0.13) ** 2))
    sheen = sheen + 0.2 * np.exp(-(((along - 0.8) / 0.1) ** 2))
    level = (0.95 + strand + 0.04 * canvas.grain) * (1.0 + sheen) * (1.0 - 0.35 * smoothstep(0.90, 1.0, along))
    return np.array(canvas.look.hair) * np.clip(level, 0.25, 2.2)[:, None]


def paint_cloth(canvas: Canvas) -> Array:
    """Knitted cloth, plain or patterned, with a ribbed collar."""
    points, (across, along) = canvas.points, canvas.uv("torso").T
    look = canvas.look
    knit = 0.05 * np.sin(points[:, 0] * 2.2) * np.sin(points[:, 1] * 2.2)
    knit = knit + 0.04 * canvas.grain + 0.03 * canvas.waves(40.0)
    color, accent = np.array(look.cloth) * (1.0 + knit)[:, None], np.array(look.cloth) * 0.45 + 0.45
    if look.pattern == "stripes":
        color = mix(color, accent, 0.85 * smoothstep(0.55, 0.7, np.sin(points[:, 1] * 0.30)))
    elif look.pattern == "checks":
        bars = smoothstep(0.5, 0.6, np.sin(points[:, 1] * 0.22)) + smoothstep(0.5, 0.6, np.sin(points[:, 0] * 0.22))
        color = mix(color, accent, 0.4 * bars)
    rib = np.array(look.cloth) * (0.80 + 0.14 * np.sin(across * 2 * np.pi * 110))[:, None]
    return mix(color, rib, smoothstep(0.23, 0.20, along))


def paint_teeth(canvas: Canvas) -> Array:
    """Ivory, yellower at the gum, dark between the teeth and towards the back."""
    color = np.zeros((len(canvas.texels.face), 3))
    for row in ("teeth_upper", "teeth_lower"):
        here = canvas.shows(row)
        part = canvas.part(here)
        u, v = part.uv(row).T
        u = u * 7.0 % 1.0
        ivory = np.array([0.93, 0.90, 0.83]) - 0.10 * smoothstep(0.45, 0.0, v)[:, None] * [0.3, 0.7, 1.3]
        light = np.interp(part.points[:, 2], (-24.0, -4.0, 12.0), (0.25, 0.6, 1.0))
        gap = smoothstep(0.13, 0.02, np.minimum(u, 1 - u))
        color[here] = ivory * (light * (1.0 - 0.30 * gap) * (1.0 + 0.008 * part.grain))[:, None]
    return color


def paint_flesh(canvas: Canvas) -> Array:
    """Gums, tongue and the inside of the mouth, darker towards the throat."""
    points, tongue, socket = canvas.points, canvas.shows("tongue"), canvas.shows("mouth_interior")
    dark = np.interp(points[:, 2], (-45.0, -15.0, 10.0, 20.0), (0.12, 0.35, 0.75, 1.0))
    dark = np.where(tongue, np.interp(points[:, 2], (-38.0, -12.0, 4.0), (0.35, 0.8, 1.0)), dark)
    wet = 1.0 + 0.05 * canvas.grain + 0.05 * canvas.waves(5.0, 6)
    color = np.where(tongue[:, None], [0.78, 0.44, 0.43], [0.70, 0.36, 0.36])
    color = np.where(socket[:, None], [0.52, 0.20, 0.19], color)
    groove = np.exp(-((points[:, 0] / 1.6) ** 2)) * tongue
    return color * (wet * dark * (1.0 - 0.18 * groove))[:, None]


def paint_strands(canvas: Canvas) -> Array:
    """Brows as fine strokes that fray into the skin; lashes nearly black."""
    along, across = canvas.uv("brows").T
    look = canvas.look
    slant = 0.5 * along + (0.10 - 0.16 * along) * across
    stroke = np.clip(0.5 + 0.25 * _strands(canvas, slant, 100) + 0.15 * canvas.grain, 0.0, 1.0)
    brow = np.array(look.hair) * (0.58 + 0.4 * stroke)[:, None]
    edge = smoothstep(0.28, 0.0, np.minimum(across, 1 - across)) * (1.1 - 0.5 * look.brow_density)
    brow = mix(brow, np.array(look.skin) * 0.9, np.clip(edge, 0, 1) * (0.4 + 0.6 * (1 - stroke)))
    return np.where(canvas.shows("lashes")[:, None], np.array(look.hair) * 0.25, brow)
