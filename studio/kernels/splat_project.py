"""Projection of 3D Gaussians to screen rows, and its gradient: EWA splatting, sixteen Gaussians at a time.

A Gaussian with mean p and covariance M Mᵀ (M = R(quat) diag(scales)) becomes, in a view with rotation R and Jacobian J
of the pinhole projection, a 2D Gaussian with covariance Σ + εI, Σ = U Uᵀ, U = J R M [2, 3]. det Σ is the squared length
of the cross product of U's rows: unlike Σxx Σyy − Σxy², it does not cancel for splats seen edge-on.

What the rasteriser needs of one Gaussian in one view is one cache line, a *row* of 16 floats:

====  ===========================================================================================
0, 1  mean, pixels
2-5   log2 α(dx, dy) = row[5] − row[4] dy² − (row[2] dx + row[3] dy)²: y's own Gaussian, then x's given y
6-9   red, green, blue, camera depth
10-11 half width and half height of the ellipse on which α = 1/255
12    dy of the ellipse's rightmost point
13    lean of the line through the middles of the ellipse's horizontal chords, dx per dy
14    squared half length of the horizontal chord through the mean
15    row[14] / row[11]²: what the squared half length loses per dy²
====  ===========================================================================================

Source: Zwicker et al., EWA Volume Splatting, 2001; rules and thresholds as in gsplat 1.5.3.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from studio.kernels.compiled import inlined, kernel
from studio.kernels.simd import (
    Array,
    Mask,
    Vector,
    Vectors,
    absolute,
    floor,
    fma,
    log2,
    maximum,
    minimum,
    select,
    sqrt,
)
from studio.kernels.simd_memory import (
    as_bits,
    load,
    load3,
    load4,
    store,
    store8,
    store_columns,
)

ROW = 16  # floats per row
CAMERA_ROW = 20  # rotation (9), translation (3), fx fy cx cy, and the clamp of x/z and y/z (4)
TILE = 32  # pixels; a tile is a square
BOX, BOX_ROWS = 8, 6  # words per Gaussian in Projected.boxes, and how many rows of tiles they cover
BLUR = 0.3  # pixels², added to the diagonal of the screen covariance
LOG2E = 1.4426950408889634
LOG2_ALPHA_MIN = -7.994353436858858  # log2(1/255): fainter contributions are dropped
HUGE = 1e30
CULLED = np.float32(np.inf)  # the depth key of a Gaussian that no pixel sees


class Setup(NamedTuple):
    """What every stage must know; S scenes of N Gaussians, each seen by its own views, V views in all."""

    views: int  # V
    views_per_scene: int  # V / S; view v shows scene v // views_per_scene
    splats: int  # N, at least 16
    width: int  # pixels
    height: int
    near: float  # metres
    antialiased: bool
    absgrad: bool  # gradient rows also hold sums of magnitudes
    with_depth: bool  # whether a depth image is made
    colors_per_view: bool  # colors are [V, N, 3], not [S, N, 3]


class Gaussians(NamedTuple):
    """Flat float32 arrays; also used for their gradients."""

    means: np.ndarray  # [S * N * 3]
    quats: np.ndarray  # [S * N * 4] wxyz
    scales: np.ndarray  # [S * N * 3]
    opacities: np.ndarray  # [S * N]
    colors: np.ndarray  # [S * N * 3] or [V * N * 3]


class Projected(NamedTuple):
    """What projection leaves for the later stages."""

    rows: np.ndarray  # [V * N * ROW]
    keys: np.ndarray  # [V * N] camera depth, or CULLED
    boxes: (
        np.ndarray
    )  # [V * N * BOX] bits of first + 65536 * end: tile rows; tile columns in all, then in each of BOX_ROWS rows


class Slots(NamedTuple):
    """Which gradient rows belong to which Gaussian."""

    ranges: np.ndarray  # [V * N * 2] int64 a drawn Gaussian's first and end in places
    places: np.ndarray  # [M] uint32 numbers of gradient rows; empty where no gradients are wanted
    rows: np.ndarray  # [M * ROW] gradient rows, written by the tiles
    written: np.ndarray  # [M] uint8 whether a row was, because the Gaussian touched a pixel that was still open


@inlined
def dot3(ax: Vector, ay: Vector, az: Vector, bx: Vector, by: Vector, bz: Vector) -> Vector:
    return fma(ax, bx, fma(ay, by, az * bz))


@inlined
def dot(a: Vectors, b: Vectors) -> Vector:
    return dot3(a[0], a[1], a[2], b[0], b[1], b[2])


@inlined
def rotation_entries(unit: Vectors) -> Vectors:
    """Unit quaternion to the nine entries of its matrix, row by row."""
    w, x, y, z = unit
    return (
        1.0 - 2.0 * (y * y + z * z),
        2.0 * (x * y - w * z),
        2.0 * (x * z + w * y),
        2.0 * (x * y + w * z),
        1.0 - 2.0 * (x * x + z * z),
        2.0 * (y * z - w * x),
        2.0 * (x * z - w * y),
        2.0 * (y * z + w * x),
        1.0 - 2.0 * (x * x + y * y),
    )


@inlined
def inverse_length(quat: Vectors) -> Vector:
    w, x, y, z = quat
    return 1.0 / sqrt(fma(w, w, fma(x, x, fma(y, y, fma(z, z, 1e-24)))))


@inlined
def normalized(quat: Vectors) -> Vectors:
    length = inverse_length(quat)
    return quat[0] * length, quat[1] * length, quat[2] * length, quat[3] * length


@inlined
def in_camera(camera: Array, k: int, x: Vector, y: Vector, z: Vector) -> Vectors:
    """World point to camera axes, metres."""
    return (
        dot3(camera[k], camera[k + 1], camera[k + 2], x, y, z) + camera[k + 9],
        dot3(camera[k + 3], camera[k + 4], camera[k + 5], x, y, z) + camera[k + 10],
        dot3(camera[k + 6], camera[k + 7], camera[k + 8], x, y, z) + camera[k + 11],
    )


@inlined
def pinhole_jacobian(camera: Array, k: int, x: Vector, y: Vector, inverse_z: Vector) -> Vectors:
    """∂(pixel)/∂(camera point): fx/z, -fx x/z², fy/z, -fy y/z², with x/z and y/z clamped a little outside the image."""
    fx, fy = camera[k + 12], camera[k + 13]
    x_slope = minimum(camera[k + 17], maximum(camera[k + 16], x * inverse_z))
    y_slope = minimum(camera[k + 19], maximum(camera[k + 18], y * inverse_z))
    jx, jy = fx * inverse_z, fy * inverse_z
    return jx, -(jx * x_slope), jy, -(jy * y_slope)


@inlined
def jacobian_times_rotation(camera: Array, k: int, jacobian: Vectors) -> Vectors:
    """A = J R [2, 3], row by row."""
    jxx, jxz, jyy, jyz = jacobian
    return (
        fma(jxx, camera[k], jxz * camera[k + 6]),
        fma(jxx, camera[k + 1], jxz * camera[k + 7]),
        fma(jxx, camera[k + 2], jxz * camera[k + 8]),
        fma(jyy, camera[k + 3], jyz * camera[k + 6]),
        fma(jyy, camera[k + 4], jyz * camera[k + 7]),
        fma(jyy, camera[k + 5], jyz * camera[k + 8]),
    )


@inlined
def covariance_root(a: Vectors, rotation: Vectors, scale: Vectors) -> tuple[Vectors, Vectors]:
    """U = A R(quat) diag(scales) [2, 3] as its two rows: the sharp screen covariance is U Uᵀ."""
    a00, a01, a02, a10, a11, a12 = a
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = rotation
    u = (
        dot3(a00, a01, a02, r00, r10, r20) * scale[0],
        dot3(a00, a01, a02, r01, r11, r21) * scale[1],
        dot3(a00, a01, a02, r02, r12, r22) * scale[2],
    )
    v = (
        dot3(a10, a11, a12, r00, r10, r20) * scale[0],
        dot3(a10, a11, a12, r01, r11, r21) * scale[1],
        dot3(a10, a11, a12, r02, r12, r22) * scale[2],
    )
    return u, v


@inlined
def screen_covariance(u: Vectors, v: Vectors) -> Vectors:
    """Σ + εI (xx, xy, yy), its determinant, and det Σ."""
    xx, xy, yy = dot(u, u), dot(u, v), dot(v, v)
    normal = (u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0])
    sharp = dot(normal, normal)
    return xx + BLUR, xy, yy + BLUR, sharp + BLUR * (xx + yy) + BLUR * BLUR, sharp


@inlined
def first_of_block(block: int, count: int) -> int:
    """Blocks of 16; the last one overlaps its neighbour rather than reach past the end."""
    return min(block * 16, count - 16)


@kernel
def project(worker: int, workers: int, setup: Setup, camera: Array, gaussians: Gaussians, projected: Projected) -> None:
    """Fill ``projected`` (Projected) from ``gaussians`` (Gaussians) and ``camera`` [V * CAMERA_ROW]."""
    blocks = (setup.splats + 15) // 16
    for item in range(worker * setup.views * blocks // workers, (worker + 1) * setup.views * blocks // workers):
        view = item // blocks
        first = first_of_block(item - view * blocks, setup.splats)
        g, out, k = view // setup.views_per_scene * setup.splats + first, view * setup.splats + first, view * CAMERA_ROW

        px, py, pz = load3(gaussians.means, 3 * g)
        x, y, z = in_camera(camera, k, px, py, pz)
        visible = z >= setup.near
        inverse_z = 1.0 / select(visible, z, 1.0)
        mean_x = fma(camera[k + 12] * x, inverse_z, camera[k + 14])
        mean_y = fma(camera[k + 13] * y, inverse_z, camera[k + 15])

        quat = load4(gaussians.quats, 4 * g)
        scale = load3(gaussians.scales, 3 * g)
        jacobian = pinhole_jacobian(camera, k, x, y, inverse_z)
        u, v = covariance_root(jacobian_times_rotation(camera, k, jacobian), rotation_entries(normalized(quat)), scale)
        xx, xy, yy, determinant, sharp = screen_covariance(u, v)
        inverse = 1.0 / determinant
        opacity = load(gaussians.opacities, g)
        if setup.antialiased:
            opacity = opacity * sqrt(sharp * inverse)
        log_opacity = log2(maximum(opacity, 1e-12))
        margin = maximum(log_opacity - LOG2_ALPHA_MIN, 0.0)
        cutoff = margin * (2.0 / LOG2E)  # squared Mahalanobis distance at which α = 1/255
        half_width, half_height = sqrt(cutoff * xx), sqrt(cutoff * yy)

        red, green, blue = load3(gaussians.colors, 3 * (out if setup.colors_per_view else g))
        visible = visible & (margin > 0.0) & (determinant < HUGE * HUGE / 1e24)
        visible = visible & (absolute(mean_x) + absolute(mean_y) + half_width + half_height + z < HUGE)
        visible = visible & (absolute(red) + absolute(green) + absolute(blue) < HUGE)
        lean, loss = xy / yy, determinant / (yy * yy)
        ellipse = (half_width, half_height, xy / xx * half_width, lean, cutoff * determinant / yy, loss)
        visible = _store_box(setup, projected.boxes, out, visible, mean_x, mean_y, ellipse)
        store(projected.keys, out, select(visible, z, CULLED))
        along_x = sqrt(0.5 * LOG2E * yy * inverse)
        exponent = (along_x, -(along_x * lean), 0.5 * LOG2E / yy, log_opacity)
        store_columns(
            projected.rows,
            ROW * out,
            (mean_x, mean_y) + exponent + (red, green, blue, z) + ellipse,  # noqa: RUF005 (numba)
        )


@inlined
def _store_box(
    setup: Setup, boxes: Array, out: int, visible: Mask, mean_x: Vector, mean_y: Vector, ellipse: Vectors
) -> Mask:
    """Write which tiles the ellipse touches (Projected.boxes); returns which Gaussians touch any."""
    half_width, half_height = ellipse[0], ellipse[1]
    columns, rows = np.float32((setup.width + TILE - 1) // TILE), np.float32((setup.height + TILE - 1) // TILE)
    column = maximum(floor((mean_x - half_width - 0.5) * (1.0 / TILE)), 0.0)
    column_end = minimum(floor((mean_x + half_width - 0.5) * (1.0 / TILE)) + 1.0, columns)
    row = maximum(floor((mean_y - half_height - 0.5) * (1.0 / TILE)), 0.0)
    row_end = minimum(floor((mean_y + half_height - 0.5) * (1.0 / TILE)) + 1.0, rows)
    visible = visible & (column_end > column) & (row_end > row)
    row, row_end = select(visible, row, 0.0), select(visible, row_end, 0.0)
    column, column_end = select(visible, column, 0.0), select(visible, column_end, 0.0)
    box, touched = (mean_x, mean_y, ellipse[2], ellipse[3], ellipse[4], ellipse[5]), (column, column_end)
    store8(
        boxes,
        BOX * out,
        as_bits(row, row_end),
        as_bits(column, column_end),
        columns_touched(box, row, touched),
        columns_touched(box, row + 1.0, touched),
        columns_touched(box, row + 2.0, touched),
        columns_touched(box, row + 3.0, touched),
        columns_touched(box, row + 4.0, touched),
        columns_touched(box, row + 5.0, touched),
    )
    return visible


@inlined
def columns_touched(ellipse: Vectors, row: Vector, columns: Vectors) -> Vector:
    """Bits of first and end of the tile columns that the ellipse touches in a row of tiles, within those given.

    For a given dy the ellipse spans dx = k dy ± √(c (1 − dy²/h²)); both bounds are extreme at the dy, within the row,
    that is nearest to where they are extreme on the whole ellipse. ``ellipse`` are fields 0, 1 and 12 to 15 of a
    Gaussian's row.
    """
    mean_x, mean_y, rightmost, lean, chord, loss = ellipse
    top = row * np.float32(TILE) - mean_y
    bottom = top + np.float32(TILE)
    dy_right = minimum(maximum(rightmost, top), bottom)
    dy_left = minimum(maximum(-rightmost, top), bottom)
    right = mean_x + lean * dy_right + sqrt(maximum(chord - loss * dy_right * dy_right, 0.0))
    left = mean_x + lean * dy_left - sqrt(maximum(chord - loss * dy_left * dy_left, 0.0))
    first = minimum(maximum(columns[0], floor((left - 0.501) * (1.0 / TILE))), columns[1])
    end = minimum(columns[1], floor((right - 0.499) * (1.0 / TILE)) + 1.0)
    return as_bits(first, maximum(first, end))
