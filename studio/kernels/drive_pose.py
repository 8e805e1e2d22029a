"""Posing a skinned mesh and the places on its triangles, sixteen vertices or Gaussians at a time; without gradients.

Blendshapes are kept as the blocks of 16 vertices that each channel moves, so that a channel costs nothing where it does
nothing, and nothing at all while it is 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from studio.kernels.compiled import inlined, kernel
from studio.kernels.simd import Array, Vector, Vectors, broadcast, fma, maximum, minimum, select, sqrt
from studio.kernels.simd_memory import load, load3, store, store3, store4
from studio.kernels.splat_project import dot3, first_of_block

JOINT_ROW = 12  # floats per joint: a 3 x 4 matrix, row by row
LEAST_STRETCH, MOST_STRETCH = 0.6, 1.7
_SHORT = 1e-12  # what lengths are at least before something is divided by them


class Skin(NamedTuple):
    """A mesh of V vertices in B blocks of 16, the last one padded; within a block all x, then all y, then all z."""

    template: np.ndarray  # [B * 48]
    weights: np.ndarray  # [B * J * 16]
    first: np.ndarray  # [B + 1] int64 a block's first move
    channels: np.ndarray  # [M] int32 which channel a move belongs to
    moves: np.ndarray  # [M * 48] metres at 1


class Places(NamedTuple):
    """Where N Gaussians sit on the triangles of the mesh."""

    corners: np.ndarray  # [N * 3] int32 vertices of the triangle
    bary: np.ndarray  # [N * 3]
    inverse_area: np.ndarray  # [N] 1 / m² of the triangle at rest


class Anchored(NamedTuple):
    """Where triangles put their Gaussians in one state; also used for gradients."""

    origins: np.ndarray  # [N * 3] metres
    quats: np.ndarray  # [N * 4] wxyz, unit: from the triangle's frame to the head frame
    stretch: np.ndarray  # [N] linear size of the triangle against its size at rest


@kernel
def pose_vertices(worker: int, workers: int, skin: Skin, expression: Array, transforms: Array, vertices: Array) -> None:
    """Blendshapes by ``expression`` [E], then linear blend skinning by ``transforms`` [J * JOINT_ROW].

    ``vertices`` [B * 48] receives x, y, z of one vertex after the other.
    """
    blocks, joints = skin.first.size - 1, transforms.size // JOINT_ROW
    zero = broadcast(np.float32(0.0))
    for block in range(worker * blocks // workers, (worker + 1) * blocks // workers):
        v = 48 * block
        x, y, z = load(skin.template, v), load(skin.template, v + 16), load(skin.template, v + 32)
        for move in range(skin.first[block], skin.first[block + 1]):
            amount, m = expression[skin.channels[move]], 48 * move
            if amount != np.float32(0.0):
                x = fma(load(skin.moves, m), amount, x)
                y = fma(load(skin.moves, m + 16), amount, y)
                z = fma(load(skin.moves, m + 32), amount, z)
        out_x, out_y, out_z = zero, zero, zero
        for joint in range(joints):
            weight, t = load(skin.weights, 16 * (joints * block + joint)), JOINT_ROW * joint
            moved_x = dot3(x, y, z, transforms[t], transforms[t + 1], transforms[t + 2]) + transforms[t + 3]
            moved_y = dot3(x, y, z, transforms[t + 4], transforms[t + 5], transforms[t + 6]) + transforms[t + 7]
            moved_z = dot3(x, y, z, transforms[t + 8], transforms[t + 9], transforms[t + 10]) + transforms[t + 11]
            out_x, out_y, out_z = fma(weight, moved_x, out_x), fma(weight, moved_y, out_y), fma(weight, moved_z, out_z)
        store3(vertices, v, out_x, out_y, out_z)


@inlined
def _corner(vertices: Array, places: Places, first: int, corner: int, block: Array) -> Vectors:
    """x, y, z of one corner of 16 triangles; ``block`` [48] is scratch."""
    for lane in range(16):
        v = 3 * np.int64(places.corners[3 * (first + lane) + corner])
        block[lane], block[16 + lane], block[32 + lane] = vertices[v], vertices[v + 1], vertices[v + 2]
    return load(block, 0), load(block, 16), load(block, 32)


@inlined
def _scaled(vector: Vectors, factor: Vector) -> Vectors:
    return vector[0] * factor, vector[1] * factor, vector[2] * factor


@inlined
def _crossed(a: Vectors, b: Vectors) -> Vectors:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@inlined
def _length(a: Vectors) -> Vector:
    return sqrt(dot3(a[0], a[1], a[2], a[0], a[1], a[2]))


@inlined
def _frame_quat(tangent: Vectors, bitangent: Vectors, normal: Vectors) -> Vectors:
    """The unit quaternion of the matrix with these columns (Shepperd 1978): from the largest of its four components."""
    m00, m10, m20 = tangent
    m01, m11, m21 = bitangent
    m02, m12, m22 = normal
    wx, wy, wz = m21 - m12, m02 - m20, m10 - m01
    xy, xz, yz = m10 + m01, m02 + m20, m21 + m12
    ww, xx, yy, zz = 1.0 + m00 + m11 + m22, 1.0 + m00 - m11 - m22, 1.0 - m00 + m11 - m22, 1.0 - m00 - m11 + m22
    w, x, y, z, largest = ww, wx, wy, wz, ww
    better = xx > largest
    w, x, y, z = select(better, wx, w), select(better, xx, x), select(better, xy, y), select(better, xz, z)
    largest = select(better, xx, largest)
    better = yy > largest
    w, x, y, z = select(better, wy, w), select(better, xy, x), select(better, yy, y), select(better, yz, z)
    largest = select(better, yy, largest)
    better = zz > largest
    w, x, y, z = select(better, wz, w), select(better, xz, x), select(better, yz, y), select(better, zz, z)
    scale = 1.0 / sqrt(fma(w, w, fma(x, x, fma(y, y, z * z))))
    return w * scale, x * scale, y * scale, z * scale


@kernel
def place_anchors(worker: int, workers: int, places: Places, vertices: Array, anchors: Anchored) -> None:
    """Fill ``anchors`` (Anchored) from posed ``vertices`` [>= V * 3]; N >= 16."""
    count = anchors.stretch.size
    blocks, scratch = (count + 15) // 16, np.empty(48, np.float32)
    for block in range(worker * blocks // workers, (worker + 1) * blocks // workers):
        g = first_of_block(block, count)
        a = _corner(vertices, places, g, 0, scratch)
        b = _corner(vertices, places, g, 1, scratch)
        c = _corner(vertices, places, g, 2, scratch)
        u, v, w = load3(places.bary, 3 * g)
        store3(
            anchors.origins,
            3 * g,
            fma(u, a[0], fma(v, b[0], w * c[0])),
            fma(u, a[1], fma(v, b[1], w * c[1])),
            fma(u, a[2], fma(v, b[2], w * c[2])),
        )
        edge = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        cross = _crossed(edge, (c[0] - a[0], c[1] - a[1], c[2] - a[2]))
        twice_area = _length(cross)
        tangent = _scaled(edge, 1.0 / maximum(_length(edge), _SHORT))
        normal = _scaled(cross, 1.0 / maximum(twice_area, _SHORT))
        q_w, q_x, q_y, q_z = _frame_quat(tangent, _crossed(normal, tangent), normal)
        store4(anchors.quats, 4 * g, q_w, q_x, q_y, q_z)
        stretch = sqrt(0.5 * twice_area * load(places.inverse_area, g))
        store(anchors.stretch, g, minimum(maximum(stretch, LEAST_STRETCH), MOST_STRETCH))
