"""The painted texture: every texel coloured by where it lies on the head, plus hair strokes stamped one by one."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.heads.procedural import eyes, mouth
from studio.heads.procedural.appearance import Appearance
from studio.heads.procedural.atlas import ISLANDS, place, skin_chart
from studio.heads.procedural.covering import hairline
from studio.heads.procedural.mesh import REGIONS, Mesh
from studio.heads.procedural.skull import Array, front_coordinates, gaussian, smoothstep
from studio.heads.procedural.uvmap import Texels, rasterize_uv

Image = NDArray[Any]  # of reals
_SKIN = tuple(REGIONS.index(name) for name in ("face", "scalp", "neck"))


def build_texture(mesh: Mesh, appearance: Appearance, size: int = 1024) -> NDArray[np.uint8]:
    """The head's texture [size, size, 3], sRGB.

    Args:
        mesh: the neutral head.
        appearance: the subject.
        size: edge length in texels.
    """
    texels = _texels(mesh, size)
    rng = np.random.default_rng(appearance.seed)
    image = np.zeros((size * size, 3), np.float32)
    image[:] = np.array(appearance.skin) * 0.6
    grain = _grain(rng, size)
    region = mesh.face_region[texels.face]
    for names, paint in _PAINTERS:
        chosen = np.isin(region, [REGIONS.index(name) for name in names])
        part = Texels(texels.index[chosen], texels.face[chosen], texels.bary[chosen])
        image[part.index] = paint(mesh, part, appearance, grain.ravel()[part.index], rng)
    picture = image.reshape(size, size, 3)
    _brow_strokes(picture, appearance, rng)
    return (np.clip(_bleed(picture, texels, size), 0, 1) * 255 + 0.5).astype(np.uint8)


@lru_cache(maxsize=2)
def _cached_texels(key: bytes, size: int) -> Texels:
    uvs, faces_uv = _ATLASES[key]
    return rasterize_uv(uvs, faces_uv, size)


_ATLASES: dict[bytes, tuple[Array, NDArray[np.int64]]] = {}


def _texels(mesh: Mesh, size: int) -> Texels:
    """The atlas rasterised; remembered, since all subjects share it."""
    key = str((mesh.uvs.shape, mesh.faces_uv.shape)).encode()
    _ATLASES.setdefault(key, (mesh.uvs, mesh.faces_uv))
    return _cached_texels(key, size)


def _grain(rng: np.random.Generator, size: int) -> Image:
    """White noise [size, size], blurred a little, of unit variance."""
    noise = rng.standard_normal((size, size), dtype=np.float32)
    soft = noise + 0.6 * (np.roll(noise, 1, 0) + np.roll(noise, 1, 1) + np.roll(noise, -1, 0) + np.roll(noise, -1, 1))
    return soft / soft.std()


def _waves(points: Image, wavelength: float, rng: np.random.Generator, count: int = 10) -> Image:
    """Smooth noise [N] of about unit variance over space: a sum of plane waves of random direction."""
    direction = rng.standard_normal((count, points.shape[1])).astype(np.float32)
    direction *= (
        rng.uniform(0.6, 1.4, (count, 1)) * 2 * np.pi / wavelength / np.linalg.norm(direction, axis=1, keepdims=True)
    ).astype(np.float32)
    phase = rng.uniform(0, 2 * np.pi, count).astype(np.float32)
    total = np.zeros(len(points), np.float32)
    for k in range(count):
        total += np.sin(points @ direction[k] + phase[k])
    return total * np.float32(np.sqrt(2.0 / count))


def _mix(color: Array, other: Array | tuple[float, float, float], amount: Array) -> Array:
    return color + np.asarray(amount)[:, None] * (np.asarray(other) - color)


def _vertex_field(mesh: Mesh, loops: list[NDArray[np.int64]], first: int, last: int, ramp: tuple[float, ...]) -> Array:
    """A field [V] that rises over consecutive loops from ``ramp[0]`` at ``first``, and is ``ramp[-1]`` up to ``last``."""
    field = np.zeros(len(mesh.vertices))
    for ring in loops:
        for k in range(first, min(last, len(ring) - 1) + 1):
            field[ring[k]] = ramp[min(k - first, len(ramp) - 1)]
    return field


def _skin(mesh: Mesh, part: Texels, look: Appearance, grain: Image, rng: np.random.Generator) -> Array:
    point = part.interpolate(mesh.vertices, mesh.faces)
    x, y = np.abs(point[:, 0]), point[:, 1]
    facing = smoothstep(-60.0, -10.0, point[:, 2])
    color = np.tile(np.array(look.skin, np.float32), (len(x), 1))
    color = color * (1.0 + 0.013 * _waves(point, 22.0, rng) + 0.007 * _waves(point, 6.0, rng) + 0.014 * grain)[:, None]
    blush = (
        gaussian(x, y, (41, -33), (14, 12))
        + 0.9 * gaussian(x, y, (0, -37), (13, 8))
        + 0.5 * gaussian(x, y, (0, -101), (14, 8))
    )
    blush = blush + 0.35 * gaussian(x, y, (32, 8), (15, 5))
    blush = blush * facing * (0.9 + 0.13 * _waves(point, 12.0, rng, 6))
    color = color * (1.0 - 0.28 * look.redness * blush[:, None] * [0.05, 0.55, 0.5])
    shadow = (
        0.5 * gaussian(x, y, (29, -12), (13, 5), -0.15)
        + 0.5 * gaussian(x, y, (18, 4), (5, 9))
        + 0.35 * gaussian(x, y, (30, 10), (15, 4))
    )
    color = color * (1.0 - 0.22 * (shadow * facing)[:, None] * [0.7, 1.0, 0.85])
    color = _lines(color, x, y, facing, look)
    color = _freckles_and_stubble(color, point, x, y, facing, look, rng, grain)
    nostril = gaussian(x, y, (6.6, -45.6), (3.0, 2.0), -0.45) * smoothstep(20.0, 26.0, point[:, 2])
    color = color * (1.0 - 0.85 * np.clip(1.5 * nostril, 0, 1)[:, None] * [0.85, 0.95, 0.97])
    color = _lips(mesh, part, color, point, look, grain)
    color = _lid_edges(mesh, part, color)
    return _scalp(mesh, part, color, look, grain)


def _lines(color: Array, x: Array, y: Array, facing: Array, look: Appearance) -> Array:
    """Forehead lines, nasolabial folds and crow's feet, as dark as the subject is old."""
    forehead = sum(np.exp(-(((y - h - 2.0 * np.cos(x / 17.0)) / 0.9) ** 2)) for h in (33.0, 42.0, 50.0)) * smoothstep(
        46.0, 26.0, x
    )
    fold = (
        np.exp(-(((x - 17.0 - 0.42 * (-43.0 - y)) / 1.5) ** 2))
        * smoothstep(-40.0, -46.0, y)
        * smoothstep(-72.0, -62.0, y)
    )
    feet = (
        sum(np.exp(-(((y - 0.45 * s * (x - 48.0) - s) / 0.7) ** 2)) for s in (-1.0, 0.2, 1.2))
        * smoothstep(48.0, 51.0, x)
        * smoothstep(62.0, 54.0, x)
    )
    depth = look.age * facing * (0.10 * forehead + 0.16 * fold + 0.10 * feet)
    return color * (1.0 - depth[:, None] * [0.8, 1.0, 1.0])


def _freckles_and_stubble(
    color: Array,
    point: Image,
    x: Array,
    y: Array,
    facing: Array,
    look: Appearance,
    rng: np.random.Generator,
    grain: Image,
) -> Array:
    spots = smoothstep(1.2, 2.2, _waves(point, 3.4, rng, 14)) * (gaussian(x, y, (24, -20), (24, 15)) + 0.25) * facing
    color = color * (1.0 - 0.45 * look.freckles * spots[:, None] * [0.5, 0.8, 1.0])
    beard = smoothstep(-46.0, -56.0, y) * smoothstep(-132.0, -112.0, y) * facing * smoothstep(70.0, 60.0, x)
    cheek_line = smoothstep(-40.0 - 0.55 * x.min(), -62.0, y + 0.35 * np.maximum(x - 25.0, 0.0))
    beard = np.maximum(beard * cheek_line, 0.8 * gaussian(x, y, (12, -56), (12, 4)) * facing) * (
        0.55 + 0.45 * smoothstep(-0.4, 1.2, grain)
    )
    return _mix(color, np.array(look.hair) * 0.5 + np.array(look.skin) * 0.25, 0.42 * look.stubble * beard)


def _lips(mesh: Mesh, part: Texels, color: Array, point: Image, look: Appearance, grain: Image) -> Array:
    loops, b = [mesh.skin.mouth_loops], mouth.BORDER_LOOP
    red = part.interpolate(_vertex_field(mesh, loops, b - 1, 99, (0.0, 0.55, 1.0)), mesh.faces)
    inside = part.interpolate(_vertex_field(mesh, loops, b + 2, 99, (0.0, 0.5, 1.0)), mesh.faces)
    base = np.array(look.skin) * (1.0 - look.lip_color * np.array([0.10, 0.36, 0.30]))
    creases = 0.5 + 0.5 * np.sin(point[:, 0] * 3.6 + 1.5 * np.sin(point[:, 0] * 0.9) + 0.05 * grain)
    tint = (
        base
        * (1.0 - 0.09 * creases[:, None] + 0.03 * grain[:, None])
        * (1.0 - 0.45 * inside[:, None] ** 2 * [0.8, 1.0, 1.0])
    )
    return color + smoothstep(0.25, 0.75, red)[:, None] * (tint - color)


def _lid_edges(mesh: Mesh, part: Texels, color: Array) -> Array:
    loops = list(mesh.skin.eye_loops)
    edge = part.interpolate(_vertex_field(mesh, loops, eyes.MARGIN_LOOP, 99, (0.35, 1.0)), mesh.faces)
    plate = part.interpolate(_vertex_field(mesh, loops, eyes.FOLD_LOOP + 1, 99, (0.6, 0.5, 0.4, 0.3)), mesh.faces)
    color = color * (1.0 - 0.16 * plate[:, None] * [0.6, 1.0, 0.9])
    return _mix(color, color * [0.95, 0.70, 0.66] + [0.02, 0.0, 0.0], 0.9 * smoothstep(0.2, 1.0, edge))


def _scalp(mesh: Mesh, part: Texels, color: Array, look: Appearance, grain: Image) -> Array:
    """Hair roots under the cap of hair, thinning out just below the hairline."""
    angle, level = mesh.skin.angle, mesh.skin.level
    padded = np.zeros(len(mesh.vertices))
    padded[mesh.spans["skin"]] = np.clip(level - hairline(angle), -2.0, 2.0)
    below = part.interpolate(padded, mesh.faces)
    return _mix(color, np.array(look.hair) * 0.9, smoothstep(0.30, -0.02, below + 0.06 * grain) * 0.92)


def _polar(part: Texels, mesh: Mesh, island: str) -> tuple[Array, Array, Image]:
    """Radius (1 at the rim) and angle of texels in a round island, and their uv in it."""
    left, top, width, height = ISLANDS[island]
    uv = (part.interpolate(mesh.uvs, mesh.faces_uv) - [left, top]) / [width, height]
    dx, dy = 2 * uv[:, 0] - 1, 1 - 2 * uv[:, 1]
    return np.hypot(dx, dy), np.arctan2(dy, dx), uv


def _eye(mesh: Mesh, part: Texels, look: Appearance, grain: Image, rng: np.random.Generator) -> Array:
    color = np.zeros((len(part.face), 3))
    for side in ("eye_left", "eye_right"):
        here = mesh.face_region[part.face] == REGIONS.index(side)
        own = Texels(part.index[here], part.face[here], part.bary[here])
        radius, angle, _ = _polar(own, mesh, side)
        color[here] = _eyeball(radius * 2.3, angle, look, grain[here], np.random.default_rng(look.seed + 7))
    return color


def _eyeball(polar: Array, angle: Array, look: Appearance, grain: Image, rng: np.random.Generator) -> Array:
    """Colours [N, 3] by the angle from the pupil's axis and the angle round it."""
    r = polar / eyes.IRIS_RADIANS
    veins = np.abs(np.sin(9 * angle + 2.2 * np.sin(5 * polar + 3 * angle) + 3.0 * np.sin(2 * angle)))
    sclera = np.array([0.93, 0.915, 0.90]) * (1.0 - 0.03 * r[:, None].clip(0, 3) * [0.4, 1.0, 1.0])
    sclera = sclera * (1.0 - 0.16 * (smoothstep(0.16, 0.0, veins) * smoothstep(1.3, 2.4, r))[:, None] * [0.1, 1.0, 1.0])
    fibers = sum(np.sin(n * angle + p + 2.0 * r) for n, p in zip((17, 29, 43, 61), rng.uniform(0, 6, 4))) / 4.0
    iris = np.array(look.iris) * (0.95 + 0.38 * fibers + 0.05 * grain)[:, None]
    iris = iris + (np.array(look.iris) * 0.45 + [0.10, 0.06, 0.0]) * np.exp(-(((r - 0.52) / 0.11) ** 2))[:, None]
    iris = iris * (1.0 - 0.72 * smoothstep(0.80, 1.0, r))[:, None]
    color = (
        _mix(sclera, iris, smoothstep(1.06, 0.97, r))
        if r.ndim == 0
        else sclera + smoothstep(1.06, 0.97, r)[:, None] * (iris - sclera)
    )
    color = _mix(color, (0.015, 0.012, 0.012), smoothstep(0.44, 0.38, r))
    x, y = r * np.cos(angle), r * np.sin(angle)
    glint = np.clip(
        smoothstep(0.20, 0.13, np.hypot(x + 0.34, y - 0.40))
        + 0.35 * smoothstep(0.12, 0.06, np.hypot(x - 0.36, y + 0.34)),
        0,
        1,
    )
    return _mix(color, (1.0, 1.0, 1.0), 0.92 * glint)


def _ear(mesh: Mesh, part: Texels, look: Appearance, grain: Image, rng: np.random.Generator) -> Array:
    color = np.zeros((len(part.face), 3))
    for side in ("ear_left", "ear_right"):
        here = mesh.face_region[part.face] == REGIONS.index(side)
        own = Texels(part.index[here], part.face[here], part.bary[here])
        radius, _, _ = _polar(own, mesh, side)
        base = np.array(look.skin) * (1.0 - 0.14 * look.redness * np.array([0.05, 0.8, 0.7]))
        hollow = np.interp(radius, (0.0, 0.12, 0.28, 0.36, 0.46, 0.52, 0.6), (0.85, 0.75, 0.42, 0.12, 0.08, 0.18, 0.0))
        color[here] = base * (1.0 + 0.02 * grain[here])[:, None] * (1.0 - hollow[:, None] * [0.75, 0.9, 0.92])
    return color


def _hair(mesh: Mesh, part: Texels, look: Appearance, grain: Image, rng: np.random.Generator) -> Array:
    """Strands: noise by strand number, in three widths, bent a little along their way; a sheen and dark partings."""
    left, top, width, height = ISLANDS["hair"]
    uv = (part.interpolate(mesh.uvs, mesh.faces_uv) - [left, top]) / [width, height]
    along = uv[:, 1]
    strand = np.zeros(len(along))
    for count, strength in ((90, 0.10), (260, 0.10), (620, 0.09)):
        table = rng.standard_normal(count + 2)
        position = (uv[:, 0] + 0.006 * np.sin(9 * along + 12 * uv[:, 0])) % 1.0 * count
        index = position.astype(int)
        strand += strength * (table[index] + (position - index) * (table[index + 1] - table[index]))
    sheen = 0.45 * np.exp(-(((along - 0.42 - 0.02 * np.sin(60 * uv[:, 0])) / 0.13) ** 2)) + 0.2 * np.exp(
        -(((along - 0.8) / 0.1) ** 2)
    )
    shade = (0.95 + strand + 0.04 * grain) * (1.0 + sheen) * (1.0 - 0.35 * smoothstep(0.90, 1.0, along))
    return np.array(look.hair) * np.clip(shade, 0.25, 2.2)[:, None]


def _cloth(mesh: Mesh, part: Texels, look: Appearance, grain: Image, rng: np.random.Generator) -> Array:
    point = part.interpolate(mesh.vertices, mesh.faces)
    left, top, width, height = ISLANDS["torso"]
    uv = (part.interpolate(mesh.uvs, mesh.faces_uv) - [left, top]) / [width, height]
    knit = 0.05 * np.sin(point[:, 0] * 2.2) * np.sin(point[:, 1] * 2.2) + 0.04 * grain + 0.03 * _waves(point, 40.0, rng)
    color = np.array(look.cloth) * (1.0 + knit)[:, None]
    accent = np.array(look.cloth) * 0.45 + 0.45
    if look.pattern == "stripes":
        color = _mix(color, accent, 0.85 * smoothstep(0.55, 0.7, np.sin(point[:, 1] * 0.30)))
    elif look.pattern == "checks":
        bars = smoothstep(0.5, 0.6, np.sin(point[:, 1] * 0.22)) + smoothstep(0.5, 0.6, np.sin(point[:, 0] * 0.22))
        color = _mix(color, accent, 0.4 * bars)
    ribbed = smoothstep(0.23, 0.20, uv[:, 1])
    rib = np.array(look.cloth) * (0.80 + 0.14 * np.sin(uv[:, 0] * 2 * np.pi * 110))[:, None]
    return color + ribbed[:, None] * (rib - color)


def _teeth(mesh: Mesh, part: Texels, look: Appearance, grain: Image, rng: np.random.Generator) -> Array:
    uv = part.interpolate(mesh.uvs, mesh.faces_uv)
    color = np.zeros((len(uv), 3))
    for row in ("teeth_upper", "teeth_lower"):
        here = mesh.face_region[part.face] == REGIONS.index(row)
        left, top, width, height = ISLANDS[row]
        u, v = ((uv[here, 0] - left) / width * 7) % 1.0, (uv[here, 1] - top) / height
        ivory = np.array([0.93, 0.90, 0.83]) - 0.10 * smoothstep(0.45, 0.0, v)[:, None] * [0.3, 0.7, 1.3]
        gap = smoothstep(0.13, 0.02, np.minimum(u, 1 - u))
        color[here] = ivory * (1.0 - 0.30 * gap)[:, None] * (1.0 + 0.008 * grain[here])[:, None]
    return color


def _flesh(mesh: Mesh, part: Texels, look: Appearance, grain: Image, rng: np.random.Generator) -> Array:
    """Gums, tongue and the inside of the mouth, darker towards the throat."""
    point = part.interpolate(mesh.vertices, mesh.faces)
    region = mesh.face_region[part.face]
    dark = np.interp(point[:, 2], (-45.0, -15.0, 10.0, 20.0), (0.12, 0.35, 0.75, 1.0))
    wet = 1.0 + 0.05 * grain + 0.05 * _waves(point, 5.0, rng, 6)
    color = np.where((region == REGIONS.index("tongue"))[:, None], [0.74, 0.38, 0.38], [0.70, 0.36, 0.36])
    color = np.where((region == REGIONS.index("mouth_interior"))[:, None], [0.52, 0.20, 0.19], color)
    groove = np.exp(-((point[:, 0] / 1.6) ** 2)) * (region == REGIONS.index("tongue"))
    return color * (wet * dark * (1.0 - 0.18 * groove))[:, None]


def _strand_color(mesh: Mesh, part: Texels, look: Appearance, grain: Image, rng: np.random.Generator) -> Array:
    """Brows as fine strokes across the island, lashes nearly black."""
    region = mesh.face_region[part.face]
    left, top, width, height = ISLANDS["brows"]
    uv = (part.interpolate(mesh.uvs, mesh.faces_uv) - [left, top]) / [width, height]
    stroke = 0.5 + 0.5 * np.sin(2 * np.pi * (26 * uv[:, 0] + 2.5 * uv[:, 1]) + 0.8 * grain)
    brow = np.array(look.hair) * (0.62 + 0.55 * stroke)[:, None]
    edge = smoothstep(0.28, 0.0, np.minimum(uv[:, 1], 1 - uv[:, 1])) * (1.1 - 0.5 * look.brow_density)
    brow = _mix(brow, np.array(look.skin) * 0.9, np.clip(edge, 0, 1) * (0.4 + 0.6 * (1 - stroke)))
    return np.where((region == REGIONS.index("lashes"))[:, None], np.array(look.hair) * 0.25, brow)


_PAINTERS = (
    (("face", "scalp", "neck"), _skin),
    (("eye_left", "eye_right"), _eye),
    (("ear_left", "ear_right"), _ear),
    (("hair",), _hair),
    (("torso",), _cloth),
    (("teeth_upper", "teeth_lower"), _teeth),
    (("mouth_interior", "gums", "tongue"), _flesh),
    (("brows", "lashes"), _strand_color),
)


def _brow_strokes(picture: Image, look: Appearance, rng: np.random.Generator) -> None:
    """Single hairs on the skin round the brow's ridge, so that its outline frays."""
    count, steps, size = int(900 * look.brow_density), 40, len(picture)
    t = rng.beta(1.1, 1.3, count)
    across = np.clip(rng.normal(0.0, 0.55, count), -1.4, 1.4)
    root_x = 9.0 + 39.0 * t
    root_y = 13.6 + 7.2 * np.sin(np.pi * 0.93 * t**0.85) ** 0.9 - t + 3.2 * across * (1.0 - 0.8 * t)
    lean = np.pi / 2 - 0.25 - 1.15 * t - 0.2 * across + rng.normal(0, 0.12, count)
    s = np.linspace(0, 1, steps)[:, None] * rng.uniform(2.5, 5.0, count) * (1.0 - 0.35 * t)
    x, y = (root_x + s * np.cos(lean)).ravel(), (root_y + s * np.sin(lean) * 0.7).ravel()
    angle, level = front_coordinates(np.stack((x, y), -1), np.arcsin(np.clip(x / 75.0, 0, 1)), np.full(len(x), 6.0))
    ink = np.linspace(1.0, 0.35, steps).repeat(count) * 0.3 * (size / 1024)
    for hand in (1.0, -1.0):
        cover = _splat(place("skin", skin_chart(hand * angle, level)) * size - 0.5, ink, size)[..., None]
        picture += np.minimum(cover, 0.85) * (np.array(look.hair, np.float32) * 0.8 - picture)


def _splat(
    at: Array,  # [N, 2] texels, centres at integers
    ink: Array,  # [N]
    size: int,
) -> Image:
    """Coverage [size, size]: every point's ink shared among the four texels round it."""
    low = np.floor(at).astype(np.int64)
    share = at - low
    total = np.zeros(size * size)
    for dx in (0, 1):
        for dy in (0, 1):
            weight = np.abs(1 - dx - share[:, 0]) * np.abs(1 - dy - share[:, 1])
            total += np.bincount((low[:, 1] + dy) * size + low[:, 0] + dx, weight * ink, size * size)
    return total.reshape(size, size).astype(np.float32)


def _bleed(picture: Image, texels: Texels, size: int) -> Image:
    """Carry the islands' rims a few texels outwards, so that filtering never meets the gaps."""
    known = np.zeros((size, size), bool)
    known.ravel()[texels.index] = True
    for _ in range(4):
        for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
            fresh = np.roll(known, step, axis) & ~known
            picture[fresh] = np.roll(picture, step, axis)[fresh]
            known |= fresh
    return picture
