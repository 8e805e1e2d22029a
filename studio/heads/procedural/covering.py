"""What covers the skin: hair, eyebrows, lashes and the garment. Millimetres, head frame."""

from __future__ import annotations

import numpy as np

from studio.heads.procedural import eyes
from studio.heads.procedural.layout import Ints
from studio.heads.procedural.parts import Part, strip_faces
from studio.heads.procedural.skull import Array, front_coordinates, loft, relief, smoothstep

# Level of the hairline (in sections of the loft) by angle from the front, in degrees.
_HAIRLINE: Array = np.array(
    [[0, 4.15], [18, 4.1], [32, 3.9], [44, 4.5], [54, 5.5], [62, 6.1], [70, 7.0], [77, 7.3], [84, 6.7], [94, 6.3],
     [108, 6.9], [120, 9.2], [135, 11.6], [160, 12.6], [180, 12.8]]
)  # fmt: skip


def hairline(angle: Array) -> Array:
    """Level of the hairline at an angle in radians."""
    return np.interp(np.abs(np.degrees(angle)), _HAIRLINE[:, 0], _HAIRLINE[:, 1])


def loft_normal(angle: Array, level: Array) -> Array:
    """Unit normals [N, 3] of the loft, outwards."""
    step = 1e-3
    to_angle = loft(angle + step, level) - loft(angle - step, level)
    to_level = loft(angle, level + step) - loft(angle, level - step)
    normal = np.cross(to_level, to_angle)
    return normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)


def _hair_surface(angle: Array, share: Array, lift: Array | float = 0.0) -> Array:
    """Points [N, 3] on the outside of the hair; share runs from the crown (0) to the hairline (1)."""
    level = np.clip(share * hairline(angle), 0.04, None)
    front, back = np.clip(np.cos(angle), 0.0, 1.0), np.clip(-np.cos(angle), 0.0, 1.0)
    volume = (
        10.5 + 5.0 * front**2 * smoothstep(0.1, 0.8, share) - 3.0 * np.abs(np.sin(angle)) * share - 5.0 * back * share
    )
    locks = np.sin(9 * angle + 3.0 * share + 0.7) + 0.7 * np.sin(21 * angle - 8.0 * share)
    volume = volume + 0.8 * locks * smoothstep(0.05, 0.4, share)
    edge = np.sqrt(np.clip(1.0 - np.clip(share, 0.0, 1.0) ** 7, 0.0, 1.0))
    offset = volume * edge - 0.6 * (1.0 - edge) + lift
    points = loft(angle, level) + loft_normal(angle, level) * offset[:, None]
    points[:, 1] += 3.0 * np.exp(-((share / 0.3) ** 2))
    return points


def _cap() -> tuple[Array, Ints, Array]:
    """Vertices, faces and uv of the cap of hair."""
    columns, rows = 73, 17  # the last column lies on the first: the texture is cut there
    around = np.linspace(-np.pi, np.pi, columns)
    share, angle = np.meshgrid(np.linspace(0.0, 1.0, rows + 1)[1:] ** 0.85, around, indexing="ij")
    points = np.concatenate((_hair_surface(angle.ravel(), share.ravel()), [[0.0, 135.5, -80.0]]))
    first = np.arange(columns - 1)
    fan = np.stack((np.full(columns - 1, len(points) - 1), first, first + 1), axis=-1)
    uv = np.stack(((angle.ravel() + np.pi) / (2 * np.pi), share.ravel()), axis=-1)
    return points, np.concatenate((strip_faces(rows, columns), fan)), np.concatenate((uv, [[0.5, 0.0]]))


def _locks() -> tuple[Array, Ints, Array]:
    """Tapering locks that lie on the cap, swept to one side at the front, their tips a little over the hairline."""
    rng = np.random.default_rng(5)
    number, steps = 64, 7
    angle = np.linspace(-np.pi, np.pi, number, endpoint=False) * 0.97 + rng.normal(0, 0.04, number)
    front = np.clip(np.cos(angle), 0.0, 1.0)
    start = rng.uniform(0.25, 0.6, number)
    end = rng.uniform(0.9, 1.0, number) + 0.07 * front * rng.uniform(0.3, 1.0, number)
    sweep = (0.42 * front + 0.05) * rng.uniform(0.5, 1.1, number)
    t = np.linspace(0.0, 1.0, steps)[:, None]
    share = start + (end - start) * t
    width = 0.085 * np.sin(np.pi * np.clip(0.12 + 0.88 * t, 0, 1)) ** 0.8 * rng.uniform(0.6, 1.2, number)
    lift = 1.6 * np.sin(np.pi * t) + rng.uniform(-0.3, 0.8, number) + 2.0 * np.clip(share - 0.93, 0, None) * 10
    points, uvs = [], []
    for side in (-1.0, 1.0):
        at = angle - sweep * t**1.5 + 0.5 * side * width
        points.append(_hair_surface(at.ravel(), share.ravel(), (lift - 0.9 * (side > 0)).ravel()))
        strand = (angle + np.pi) / (2 * np.pi) + 0.012 * side
        uvs.append(np.stack((np.broadcast_to(strand, share.shape), share), axis=-1).reshape(-1, 2))
    index = np.arange(2 * steps * number).reshape(2, steps, number)
    a, b, c, d = index[0, :-1], index[0, 1:], index[1, 1:], index[1, :-1]
    faces = np.concatenate([np.stack(corners, -1).reshape(-1, 3) for corners in ((a, b, c), (a, c, d))])
    return np.concatenate(points), faces, np.clip(np.concatenate(uvs), 0.0, 1.0)


def hair() -> Part:
    """Short hair: a cap with volume, and locks on it that break its outline."""
    cap, cap_faces, cap_uv = _cap()
    locks, lock_faces, lock_uv = _locks()
    faces = np.concatenate((cap_faces, lock_faces + len(cap)))
    return Part("hair", np.concatenate((cap, locks)), faces, np.concatenate((cap_uv, lock_uv)))


def brow_line(t: Array) -> Array:
    """The middle of the left brow seen from ahead [N, 2], from its inner (0) to its outer end (1)."""
    return np.stack((9.5 + 39.0 * t, 14.0 + 7.2 * np.sin(np.pi * 0.93 * t**0.85) ** 0.9 - t), axis=-1)


def brow() -> Part:
    """The left eyebrow: a low ridge that follows the brow."""
    t = np.linspace(0.0, 1.0, 13)
    middle = brow_line(t)
    half = 3.3 * np.clip((1.0 - t**2.2), 0.0, 1) * (0.3 + 0.7 * np.sqrt(np.minimum(t / 0.18, 1.0))) + 0.12
    rows = []
    for across, lift in ((1.0, -0.3), (0.5, 0.5), (-0.4, 0.55), (-1.0, -0.3)):
        xy = middle + np.stack((-0.25 * across * half, across * half), axis=-1)
        angle, level = front_coordinates(xy, np.arcsin(np.clip(xy[:, 0] / 75.0, 0, 1)), np.full(len(xy), 6.0))
        surface = relief(loft(angle, level))
        rows.append(surface + loft_normal(angle, level) * lift)
    v, u = np.meshgrid(np.linspace(0, 1, 4), t, indexing="ij")
    return Part("brows", np.concatenate(rows), strip_faces(4, len(t)), np.stack((u, v), -1).reshape(-1, 2))


_LASHES = ((1.0, 32, 6.0), (-1.0, 20, 2.8))  # upper and lower lid: how many, how long


def lashes(margin: Array | None = None) -> Part:
    """The left eye's lashes: a thin blade per lash, rooted on the lids' margins at elevations [P] (open if None)."""
    contour = eyes.margin_contour(400 if margin is None else len(margin))
    margin = eyes.lid_elevation(contour) if margin is None else margin
    half = len(contour) // 2
    points, faces, uvs, count = [], [], [], 0
    for upper, number, length in _LASHES:
        along = np.arange(half + 1) if upper > 0 else -np.arange(half + 1)
        dx = np.linspace(-0.84, 0.94, number) * 15.0
        root = np.interp(dx, contour[along, 0], margin[along])
        grow = length * (0.62 + 0.38 * np.sin(np.arange(number) * 2.4)) * (0.75 + dx / 60.0)
        for shift, tip in ((-0.17, 0.0), (0.17, 0.0), (0.0, 1.0)):
            lean = np.clip(dx + shift + tip * dx / 68.0 * grow, -17.0, 17.0)
            points.append(eyes.lid_point(lean, root + tip * upper * 0.037 * grow, 1.3 + tip * grow))
            uvs.append(np.tile([0.5 + shift, 0.9 - 0.8 * tip], (number, 1)))
        corners = count + np.arange(number)[:, None] + [[0, number, 2 * number]]
        faces.append(corners if upper > 0 else corners[:, ::-1])
        count += 3 * number
    return Part("lashes", np.concatenate(points) + eyes.EYE_CENTER, np.concatenate(faces), np.concatenate(uvs))


def garment() -> Part:
    """A crew-neck shirt over shoulders and chest, with a ribbed collar."""
    columns = 65  # the last one lies on the first: the texture is cut there
    angle = np.linspace(-np.pi, np.pi, columns)
    dip = 0.45 * np.clip(np.cos(angle), 0, 1) ** 2
    # level at the collar's back and how far the cloth stands off the skin
    rows = (
        (17.15, -2.5),
        (17.0, 0.5),
        (16.95, 2.6),
        (17.1, 4.2),
        (17.4, 4.6),
        (17.75, 4.4),
        (17.95, 2.6),
        (18.2, 3.0),
        (18.6, 3.4),
        (19.0, 3.6),
        (19.5, 4.0),
        (20.0, 4.5),
        (20.5, 5.0),
        (21.0, 5.0),
        (21.5, 5.0),
        (22.0, 5.0),
    )
    points = []
    for level, off in rows:
        here = level + dip * smoothstep(21.0, 18.0, np.full(columns, level))
        fold = (
            1.3
            * np.sin(5 * angle + 1.2 * level)
            * np.sin(2.2 * level + 2 * angle)
            * smoothstep(18.2, 20.0, np.full(columns, level))
        )
        points.append(loft(angle, here) + loft_normal(angle, here) * (off + fold)[:, None])
    v, u = np.meshgrid([(level - 16.9) / 5.1 for level, _ in rows], np.linspace(0, 1, columns), indexing="ij")
    uv = np.clip(np.stack((u, v), -1).reshape(-1, 2), 0, 1)
    return Part("torso", np.concatenate(points), strip_faces(len(rows), columns), uv)
