"""The skin: grid and patches joined, from the scalp over the face and the socket of the mouth to the neck."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from studio.heads.procedural import eyes, mouth
from studio.heads.procedural.layout import (
    EYE_COLUMNS,
    MOUTH_COLUMNS,
    Block,
    Grid,
    Ints,
    grid_quads,
    make_grid,
    ring_quads,
    triangulate,
)
from studio.heads.procedural.skull import (
    BROW_LEVEL,
    CHEEK_LEVEL,
    SUBNASAL_LEVEL,
    SULCUS_LEVEL,
    Array,
    front_coordinates,
    loft,
    relief,
)

MIRROR: Array = np.array([-1.0, 1.0, 1.0])


@dataclass
class Skin:
    """The skin's mesh and the loops that its shapes are made with.

    Args:
        vertices: [V, 3] mm.
        angle, level: [V] coordinates on the loft (those of the border in front of it for points inside the mouth).
        faces: [F, 3].
        inner_faces: [F] bool: inside the mouth, behind the contact line of the lips.
        eye_loops: left and right, [K, P] vertex indices from the block's border to behind the lid.
        mouth_loops: [K, P], from the block's border over the lips to the throat.
    """

    vertices: Array
    angle: Array
    level: Array
    faces: Ints
    inner_faces: Array
    eye_loops: tuple[Ints, Ints]
    mouth_loops: Ints


def _loops_on_face(
    border: Array,  # [P, 3] the block's border on the loft
    start: tuple[Array, Array],  # angle, level [P] of the border
    contours: list[Array],  # [P, 2] each
) -> tuple[Array, Array, Array]:
    """Points with relief [K, P, 3] and their (angle, level) [K, P] for contours seen from ahead."""
    points, angles, levels = [], [], []
    for contour in contours:
        angle, level = front_coordinates(contour, *start)
        points.append(relief(loft(angle, level)))
        angles.append(angle)
        levels.append(level)
    return np.array(points), np.array(angles), np.array(levels)


def _eye_patch(border: Array, start: tuple[Array, Array]) -> tuple[Array, Array, Array]:
    """The left eye's loops [K, P, 3] inside its block, and their coordinates on the loft [K, P]."""
    count, center = len(border), eyes.EYE_CENTER
    crease, margin = eyes.crease_contour(count), eyes.margin_contour(count)
    outer = [border[:, :2] + (crease + center[:2] - border[:, :2]) * t for t in eyes.SKIN_STEPS]
    inner = [crease + (margin - crease) * t + center[:2] for t in eyes.LID_STEPS]
    shrunk = [margin * t + center[:2] for t in (0.93, 0.8)]
    points, angle, level = _loops_on_face(border, start, outer + inner + shrunk)
    lids = eyes.lid_loops(count, eyes.lid_elevation(margin), eyes.lid_elevation(crease)) + center
    skin = len(outer)
    for k, blend in enumerate((0.15, 0.4, 0.75)):  # the skin runs into the lids
        middle = 0.25 + 0.75 * eyes.opening_profile(margin[:, 0])
        points[k, :, 2] += blend * middle * _onto_lid(points[k], center)
    points[skin:] = lids
    return points, angle, level


def _onto_lid(points: Array, center: Array) -> Array:
    """How far points [P, 3] lie behind the lid surface continued outwards, in depth."""
    local = points - center
    radius = eyes.lid_radius(np.clip(local[:, 0], -17.0, 17.0), 2.2)
    depth = np.sqrt(np.clip(radius**2 - np.clip(local[:, 1], -12, 12) ** 2, 9.0, None)) - 0.11 * local[:, 0]
    return depth - local[:, 2]


def _mouth_patch(border: Array, start: tuple[Array, Array]) -> tuple[Array, Array, Array]:
    """The mouth's loops [K, P, 3] inside its block, and their coordinates on the loft [K, P]."""
    count = len(border)
    red, line = mouth.border_contour(count), mouth.line_contour(count)
    outer = [border[:, :2] + (red - border[:, :2]) * t for t in mouth.SKIN_STEPS]
    lips = [red + (line - red) * t for t in mouth.LIP_STEPS]
    points, angle, level = _loops_on_face(border, start, outer + lips)
    for k, step in enumerate(mouth.LIP_STEPS):
        points[len(outer) + k, :, 2] += mouth.lip_bulge(step, count)
    gap = 0.03 * np.sign(eyes.is_upper(count))
    points[-1, :, 1] += gap
    socket = mouth.socket_loops(points[-1])
    repeat = (len(socket), 1)
    return (
        np.concatenate((points, socket)),
        np.concatenate((angle, np.tile(angle[-1], repeat))),
        np.concatenate((level, np.tile(level[-1], repeat))),
    )


def _blocks(grid: Grid) -> tuple[Block, Block, Block]:
    """The blocks of the left eye, the right eye and the mouth."""
    eye_rows = (grid.row(BROW_LEVEL), grid.row(CHEEK_LEVEL))
    left = Block(EYE_COLUMNS, eye_rows)
    right = Block((-EYE_COLUMNS[0], -EYE_COLUMNS[1]), eye_rows)
    return left, right, Block(MOUTH_COLUMNS, (grid.row(SUBNASAL_LEVEL), grid.row(SULCUS_LEVEL)))


def build_skin() -> Skin:
    """The neutral skin."""
    grid = make_grid()
    angle, level = grid.coordinates()
    base = loft(angle, level)
    left, right, lips = _blocks(grid)
    loops_left, loops_right, loops_mouth = left.loop(grid), right.loop(grid), lips.loop(grid)
    patches, mouth_patch = [], _mouth_patch(base[loops_mouth], (angle[loops_mouth], level[loops_mouth]))
    eye = _eye_patch(base[loops_left], (angle[loops_left], level[loops_left]))
    patches = [eye, (eye[0] * MIRROR, -eye[1], eye[2]), mouth_patch]
    vertices, angles, levels = [relief(base)], [angle], [level]
    loops, quads, count = [], [grid_quads(grid, [left, right, lips])], len(base)
    for border, (points, patch_angle, patch_level) in zip((loops_left, loops_right, loops_mouth), patches):
        new = count + np.arange(points.shape[0] * points.shape[1]).reshape(points.shape[:2])
        loops.append(np.concatenate((border[None], new)))
        vertices.append(points.reshape(-1, 3))
        angles.append(patch_angle.ravel())
        levels.append(patch_level.ravel())
        count += new.size
        ring = ring_quads(loops[-1])
        quads.append(ring[:, ::-1] if border is loops_right else ring)
    return _finish(grid, np.concatenate(vertices), np.concatenate(angles), np.concatenate(levels), quads, loops)


def _finish(grid: Grid, vertices: Array, angle: Array, level: Array, quads: list[Ints], loops: list[Ints]) -> Skin:
    """Close crown and throat, drop the vertices that the blocks left unused, cut quads into triangles."""
    crown, throat = len(vertices), len(vertices) + 1
    top = grid.vertex(0, np.arange(-grid.half + 1, grid.half + 1))
    end = loops[2][-1]
    vertices = np.concatenate((vertices, [[0.0, 122.0, -80.0], vertices[end].mean(0) - [0.0, 0.0, 2.0]]))
    angle, level = np.append(angle, (0.0, 0.0)), np.append(level, (0.0, SULCUS_LEVEL - 1.0))
    fans = [
        np.stack((np.full(len(top), crown), top, np.roll(top, -1)), axis=-1),
        np.stack((np.full(len(end), throat), np.roll(end, -1), end), axis=-1),
    ]
    all_quads = np.concatenate(quads)
    faces = np.concatenate((triangulate(all_quads, vertices), *fans))
    inner = np.isin(faces, loops[2][mouth.CONTACT_LOOP + 1 :]).any(1) | (faces == throat).any(1)
    used, compact = np.unique(faces, return_inverse=True)
    lookup = np.full(len(vertices), -1)
    lookup[used] = np.arange(len(used))
    left, right, lips = (lookup[loop] for loop in loops)
    return Skin(vertices[used], angle[used], level[used], compact.reshape(-1, 3), inner, (left, right), lips)
