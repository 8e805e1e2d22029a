"""The mouth: lip contours, the socket behind them, teeth, gums and tongue. Millimetres, head frame."""

from __future__ import annotations

import numpy as np

from studio.heads.procedural.eyes import is_upper, loop_fractions
from studio.heads.procedural.parts import Part, disk_faces, strip_faces
from studio.heads.procedural.skull import Array, smoothstep

MOUTH_LINE = -70.0
CORNER_X = 25.5
SKIN_STEPS = (0.25, 0.5, 0.75, 0.93)  # from the block's border to the vermilion border
LIP_STEPS = (0.0, 0.3, 0.62, 0.87, 1.0)  # from the vermilion border to where the lips touch
BORDER_LOOP = 1 + len(SKIN_STEPS)
CONTACT_LOOP = BORDER_LOOP + len(LIP_STEPS) - 1


def line_contour(count: int) -> Array:
    """Where the closed lips touch [count, 2], from the right corner along the upper lip to the left one and back."""
    x = loop_x(count) * CORNER_X
    return np.stack((x, _line_height(x)), axis=-1)


def _line_height(x: Array) -> Array:
    """The gentle bow of the closed mouth: a tubercle in the middle, corners a little lower."""
    return (
        MOUTH_LINE - 0.9 * np.exp(-((x / 5.0) ** 2)) + 0.8 * np.exp(-(((np.abs(x) - 11.0) / 6.0) ** 2)) - (x / 36) ** 4
    )


def border_contour(count: int) -> Array:
    """The edge of the red of the lips [count, 2], with the cupid's bow."""
    x = loop_x(count) * (CORNER_X + 1.2)
    u = np.abs(x) / (CORNER_X + 1.2)
    upper = 8.4 * (1 - u**1.7) + 1.3 * np.exp(-(((np.abs(x) - 5.0) / 3.2) ** 2)) - 0.9 * np.exp(-((x / 2.6) ** 2))
    upper = upper * smoothstep(1.0, 0.7, u) + (1 - smoothstep(1.0, 0.7, u)) * 8.4 * (1 - u**1.7)
    lower = 10.2 * (1 - u**2.6)
    return np.stack((x, line_contour(count)[:, 1] + np.where(is_upper(count) > 0, upper, -lower)), axis=-1)


def lip_bulge(step: float, count: int) -> Array:
    """How far the red of the lips stands out of the face [count] at a step of ``LIP_STEPS``."""
    taper = np.sqrt(np.clip(1.0 - loop_x(count) ** 2, 0.0, 1.0))
    upper = np.interp(step, (0.0, 0.3, 0.62, 0.87, 1.0), (0.3, 1.5, 2.2, 1.2, -1.2))
    lower = np.interp(step, (0.0, 0.3, 0.62, 0.87, 1.0), (0.0, 2.4, 3.4, 2.2, -0.8))
    return np.where(is_upper(count) > 0, upper, lower) * taper - 1.2 * step * (1 - taper)


def loop_x(count: int) -> Array:
    """Horizontal position along the mouth [count], -1 at the right corner, 1 at the left one."""
    t = loop_fractions(count)
    return 0.5 * (2.0 * t - 1.0 - np.cos(np.pi * t))


# Socket: half width, height above and below the line, depth at the middle, how much further back at the sides.
_SOCKET = (
    (26.0, 1.6, 1.6, -3.0, 2.0),
    (26.5, 6.0, 6.0, -5.5, 11.0),
    (29.0, 14.0, 15.0, -8.5, 16.0),
    (31.0, 16.0, 18.0, -30.0, 8.0),
    (26.0, 14.0, 18.0, -52.0, 4.0),
    (12.0, 7.0, 10.0, -64.0, 0.0),
)


def socket_loops(
    contact: Array,  # [P, 3] the lips' contact line
) -> Array:
    """Loops [6, P, 3] from behind the lips to the throat."""
    count = len(contact)
    u, vertical = loop_x(count), np.sqrt(np.clip(1 - loop_x(count) ** 2, 0, 1)) * is_upper(count)
    front = contact[:, 2].max()
    loops = []
    for width, up, down, depth, setback in _SOCKET:
        y = MOUTH_LINE + np.where(vertical > 0, up, down) * vertical
        z = front + depth - setback * u**2
        loops.append(np.stack((u * width, y, z), axis=-1))
    loops[0] = contact + np.array([0.0, 0.0, -2.6]) + np.stack((0 * u, -0.3 * is_upper(count), 0 * u), axis=-1)
    return np.array(loops)


# Teeth from the midline outwards: width, height, depth (mm); the two rows of one side.
_UPPER = (
    (8.6, 10.4, 3.4),
    (6.8, 9.0, 3.2),
    (7.6, 9.9, 4.4),
    (7.0, 8.4, 6.5),
    (6.8, 7.9, 7.0),
    (9.6, 7.2, 8.5),
    (9.2, 6.6, 8.5),
)
_LOWER = (
    (5.3, 8.8, 3.2),
    (5.9, 8.8, 3.3),
    (6.8, 9.9, 4.2),
    (7.0, 8.5, 6.0),
    (7.1, 8.0, 6.5),
    (10.2, 7.2, 8.0),
    (9.8, 6.6, 8.0),
)
_UPPER_ARCH, _LOWER_ARCH = (17.4, 26.5, 44.0), (14.8, 23.0, 43.0)  # foremost depth, half width, length
UPPER_EDGE, LOWER_EDGE = MOUTH_LINE - 0.8, MOUTH_LINE - 0.9


def _arch(distance: Array, front: float, half_width: float, length: float) -> tuple[Array, Array]:
    """Point [N, 2] (x, z) and outward direction [N, 2] at a distance along a half-elliptic dental arch."""
    t = np.linspace(0, np.pi / 2, 200)
    curve = np.stack((half_width * np.sin(t), front - length * (1 - np.cos(t))), axis=-1)
    along = np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=-1))))
    angle = np.interp(distance, along, t)
    normal = np.stack((np.sin(angle) / half_width, np.cos(angle) / length), axis=-1)
    point = np.stack((half_width * np.sin(angle), front - length * (1 - np.cos(angle))), axis=-1)
    return point, normal / np.linalg.norm(normal, axis=-1, keepdims=True)


# A tooth as stacked rounded sections from the gum to the biting edge: height, width, depth, forward shift.
_TOOTH = (
    (-0.15, 0.80, 0.9, 0.0),
    (0.12, 0.90, 1.0, 0.10),
    (0.5, 1.0, 0.85, 0.12),
    (0.85, 0.99, 0.6, 0.0),
    (1.0, 0.86, 0.34, -0.12),
)


def _tooth(width: float, height: float, depth: float) -> tuple[Array, Array]:
    """One tooth [V, 3] hanging from 0 down to -height, facing +z, and its uv: 5 sections of 10 points and a cap."""
    around = np.arange(10) * 2 * np.pi / 10 + np.pi / 10
    square = (
        np.sign(np.cos(around)) * np.abs(np.cos(around)) ** 0.55,
        np.sign(np.sin(around)) * np.abs(np.sin(around)) ** 0.7,
    )
    rows = [
        np.stack((square[0] * width * w * 0.48, np.full(10, -t * height), (square[1] * d * 0.5 + s) * depth), axis=-1)
        for t, w, d, s in _TOOTH
    ]
    cap = np.array([[0.0, -1.02 * height, -0.12 * depth]])
    points = np.concatenate((cap, *rows[::-1]))
    uv = np.stack((0.5 + points[:, 0] / width, -points[:, 1] / (1.1 * height) + 0.08), axis=-1)
    return points, np.clip(uv, 0.0, 1.0)


def teeth(upper: bool) -> Part:
    """A row of fourteen separate teeth."""
    sizes, arch, edge = (_UPPER, _UPPER_ARCH, UPPER_EDGE) if upper else (_LOWER, _LOWER_ARCH, LOWER_EDGE)
    flip = 1.0 if upper else -1.0
    points: list[Array] = []
    faces: list[Array] = []
    uvs: list[Array] = []
    start = 0.12
    for index, (width, height, depth) in enumerate(sizes):
        at, normal = _arch(np.array([start + width / 2]), *arch)
        start += width
        local, uv = _tooth(width, height, depth)
        local = local + np.array([0.0, height, -depth / 2])
        (nx, nz) = normal[0]
        world = np.stack(
            (
                at[0, 0] + local[:, 0] * nz + local[:, 2] * nx,
                edge + flip * local[:, 1],
                at[0, 1] - local[:, 0] * nx + local[:, 2] * nz,
            ),
            axis=-1,
        )
        for side in (1.0, -1.0):
            triangles = disk_faces(len(_TOOTH), 10) + len(points) * (len(local))
            points.append(world * (side, 1.0, 1.0))
            faces.append(triangles[:, ::-1] if side * flip < 0 else triangles)
            uvs.append((uv * (side, 1.0) + (0.0 if side > 0 else 1.0, 0.0) + [index, 0.0]) / [len(sizes), 1.0])
    region = "teeth_upper" if upper else "teeth_lower"
    return Part(
        region, np.concatenate(points), np.concatenate(faces), np.concatenate(uvs), np.full(14 * 51, float(not upper))
    )


def gums(upper: bool) -> Part:
    """A horseshoe of gum round the roots of a row of teeth, closed by the palate or the floor of the mouth."""
    sizes, arch, edge = (_UPPER, _UPPER_ARCH, UPPER_EDGE) if upper else (_LOWER, _LOWER_ARCH, LOWER_EDGE)
    flip = 1.0 if upper else -1.0
    total = sum(width for width, _, _ in sizes)
    distance = np.linspace(0.0, total, 15)
    point, normal = _arch(distance, *arch)
    tall = np.interp(distance, np.cumsum([w for w, _, _ in sizes]), [h for _, h, _ in sizes])
    thick = np.interp(distance, np.cumsum([w for w, _, _ in sizes]), [d for _, _, d in sizes])
    sections = []
    for outward, rise in (
        (-0.35, 7.5),
        (1.0, 4.0),
        (0.55, 0.3),
        (-0.1, -1.7),
        (-0.9, -1.9),
        (-1.45, 0.5),
        (-1.9, 5.0),
        (-3.2, 9.0),
    ):
        offset = outward if outward > 0 else outward * thick
        xz = point + normal * np.broadcast_to(offset, distance.shape)[:, None]
        half = np.stack((np.clip(xz[:, 0], 0.0, None), edge + flip * (tall + rise), xz[:, 1]), axis=-1)
        sections.append(np.concatenate((half[:0:-1] * (-1.0, 1.0, 1.0), half)))
    grid = np.array(sections)
    rows, columns = grid.shape[:2]
    faces = strip_faces(rows, columns)
    v, u = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
    if not upper:
        faces = faces[:, ::-1]
    return Part(
        "gums",
        grid.reshape(-1, 3),
        faces.copy(),
        np.stack((u, v), -1).reshape(-1, 2),
        np.full(rows * columns, float(not upper)),
    )


def tongue() -> Part:
    """A rounded tongue lying between the lower teeth, tip forward: sections from the tip to the root."""
    stations = np.array([0.0, 0.04, 0.12, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0])
    z = 7.5 - 46.0 * stations
    width = 16.5 * np.array([0.02, 0.38, 0.66, 0.88, 1.0, 1.06, 1.08, 1.08, 1.0])
    thick = np.array([0.3, 2.6, 3.6, 4.6, 5.6, 6.6, 7.4, 8.0, 8.0])
    middle = np.array([-76.5, -76.5, -76.4, -76.0, -75.6, -75.4, -75.6, -76.0, -77.5])
    around = np.arange(18) * 2 * np.pi / 18
    x = np.sin(around)[None] * width[:, None]
    groove = -0.9 * np.exp(-((x / 3.0) ** 2)) * (np.cos(around) > 0.3) * np.minimum(width / 16.5, 1.0)[:, None] ** 2
    y = middle[:, None] + np.cos(around)[None] * thick[:, None] + groove
    grid = np.stack((x, y, np.broadcast_to(z[:, None], x.shape)), axis=-1)
    points = np.concatenate(([[0.0, middle[0], z[0] + 0.4]], grid[1:].reshape(-1, 3)))
    rings = len(stations) - 1
    radius = np.concatenate(([0.0], np.repeat(np.linspace(0.15, 1.0, rings), 18)))
    turn = np.concatenate(([0.0], np.tile(around, rings)))
    uv = np.stack((0.5 + 0.5 * radius * np.sin(turn), 0.5 - 0.5 * radius * np.cos(turn)), axis=-1)
    return Part("tongue", points, disk_faces(rings, 18)[:, ::-1].copy(), uv, np.ones(len(points)))
