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
12    dx of the ellipse's lowest point (largest dy)
13    slope of the line through the middles of the ellipse's vertical chords
14    squared half length of the vertical chord through the mean
15    row[14] / row[10]²: what the squared half length loses per dx²
====  ===========================================================================================

Source: Zwicker et al., EWA Volume Splatting, 2001; rules and thresholds as in gsplat 1.5.3.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from studio.kernels.compiled import inlined, kernel
from studio.kernels.simd import (
    Array,
    Mask,
    Vector,
    Vectors,
    absolute,
    as_bits,
    broadcast,
    floor,
    fma,
    lane_numbers,
    lane_sums,
    load,
    load3,
    load4,
    load_columns,
    log2,
    maximum,
    minimum,
    select,
    sqrt,
    store,
    store2,
    store3,
    store4,
    store_columns,
)

ROW = 16  # floats per row
CAMERA_ROW = 20  # rotation (9), translation (3), fx fy cx cy, and the clamp of x/z and y/z (4)
TILE_WIDTH, TILE_HEIGHT = 16, 64
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
    boxes: np.ndarray  # [V * N * 2] bits of first + 65536 * end: tile columns, tile rows


class Slots(NamedTuple):
    """Which gradient rows belong to which Gaussian."""

    starts: np.ndarray  # [V * N] first place of a Gaussian in places
    ends: np.ndarray  # [V * N] one past its last
    places: np.ndarray  # [M] numbers of gradient rows
    rows: np.ndarray  # [M * ROW] gradient rows, written by the tiles


@inlined
def _dot3(ax: Vector, ay: Vector, az: Vector, bx: Vector, by: Vector, bz: Vector) -> Vector:
    return fma(ax, bx, fma(ay, by, az * bz))


@inlined
def _dot(a: Vectors, b: Vectors) -> Vector:
    return _dot3(a[0], a[1], a[2], b[0], b[1], b[2])


@inlined
def _rotation(unit: Vectors) -> Vectors:
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
def _inverse_length(quat: Vectors) -> Vector:
    w, x, y, z = quat
    return 1.0 / sqrt(fma(w, w, fma(x, x, fma(y, y, fma(z, z, 1e-24)))))


@inlined
def _normalized(quat: Vectors) -> Vectors:
    length = _inverse_length(quat)
    return quat[0] * length, quat[1] * length, quat[2] * length, quat[3] * length


@inlined
def _in_camera(camera: Array, k: int, x: Vector, y: Vector, z: Vector) -> Vectors:
    """World point to camera axes, metres."""
    return (
        _dot3(camera[k], camera[k + 1], camera[k + 2], x, y, z) + camera[k + 9],
        _dot3(camera[k + 3], camera[k + 4], camera[k + 5], x, y, z) + camera[k + 10],
        _dot3(camera[k + 6], camera[k + 7], camera[k + 8], x, y, z) + camera[k + 11],
    )


@inlined
def _jacobian(camera: Array, k: int, x: Vector, y: Vector, inverse_z: Vector) -> Vectors:
    """∂(pixel)/∂(camera point): fx/z, -fx x/z², fy/z, -fy y/z², with x/z and y/z clamped a little outside the image."""
    fx, fy = camera[k + 12], camera[k + 13]
    x_slope = minimum(camera[k + 17], maximum(camera[k + 16], x * inverse_z))
    y_slope = minimum(camera[k + 19], maximum(camera[k + 18], y * inverse_z))
    jx, jy = fx * inverse_z, fy * inverse_z
    return jx, -(jx * x_slope), jy, -(jy * y_slope)


@inlined
def _jacobian_times_rotation(camera: Array, k: int, jacobian: Vectors) -> Vectors:
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
def _covariance_root(a: Vectors, rotation: Vectors, scale: Vectors) -> tuple[Vectors, Vectors]:
    """U = A R(quat) diag(scales) [2, 3] as its two rows: the sharp screen covariance is U Uᵀ."""
    a00, a01, a02, a10, a11, a12 = a
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = rotation
    u = (
        _dot3(a00, a01, a02, r00, r10, r20) * scale[0],
        _dot3(a00, a01, a02, r01, r11, r21) * scale[1],
        _dot3(a00, a01, a02, r02, r12, r22) * scale[2],
    )
    v = (
        _dot3(a10, a11, a12, r00, r10, r20) * scale[0],
        _dot3(a10, a11, a12, r01, r11, r21) * scale[1],
        _dot3(a10, a11, a12, r02, r12, r22) * scale[2],
    )
    return u, v


@inlined
def _screen_covariance(u: Vectors, v: Vectors) -> Vectors:
    """Σ + εI (xx, xy, yy), its determinant, and det Σ."""
    xx, xy, yy = _dot(u, u), _dot(u, v), _dot(v, v)
    normal = (u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0])
    sharp = _dot(normal, normal)
    return xx + BLUR, xy, yy + BLUR, sharp + BLUR * (xx + yy) + BLUR * BLUR, sharp


@inlined
def _first_of_block(block: int, count: int) -> int:
    """Blocks of 16; the last one overlaps its neighbour rather than reach past the end."""
    return min(block * 16, count - 16)


@kernel
def project(worker: int, workers: int, setup: Setup, camera: Array, gaussians: Gaussians, projected: Projected) -> None:
    """Fill ``projected`` (Projected) from ``gaussians`` (Gaussians) and ``camera`` [V * CAMERA_ROW]."""
    blocks = (setup.splats + 15) // 16
    for item in range(worker * setup.views * blocks // workers, (worker + 1) * setup.views * blocks // workers):
        view = item // blocks
        first = _first_of_block(item - view * blocks, setup.splats)
        g, out, k = view // setup.views_per_scene * setup.splats + first, view * setup.splats + first, view * CAMERA_ROW

        px, py, pz = load3(gaussians.means, 3 * g)
        x, y, z = _in_camera(camera, k, px, py, pz)
        visible = z >= setup.near
        inverse_z = 1.0 / select(visible, z, 1.0)
        mean_x = fma(camera[k + 12] * x, inverse_z, camera[k + 14])
        mean_y = fma(camera[k + 13] * y, inverse_z, camera[k + 15])

        quat = load4(gaussians.quats, 4 * g)
        scale = load3(gaussians.scales, 3 * g)
        jacobian = _jacobian(camera, k, x, y, inverse_z)
        u, v = _covariance_root(_jacobian_times_rotation(camera, k, jacobian), _rotation(_normalized(quat)), scale)
        xx, xy, yy, determinant, sharp = _screen_covariance(u, v)
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
        visible = _store_box(setup, projected.boxes, out, visible, mean_x, mean_y, half_width, half_height)
        store(projected.keys, out, select(visible, z, CULLED))
        along_x = sqrt(0.5 * LOG2E * yy * inverse)
        exponent = (along_x, -(along_x * xy / yy), 0.5 * LOG2E / yy, log_opacity)
        ellipse = (half_width, half_height, xy / yy * half_height, xy / xx, cutoff * determinant / xx)
        loss = determinant / (xx * xx)
        store_columns(
            projected.rows,
            ROW * out,
            (mean_x, mean_y) + exponent + (red, green, blue, z) + ellipse + (loss,),  # noqa: RUF005 (numba)
        )


@inlined
def _store_box(
    setup: Setup,
    boxes: Array,
    out: int,
    visible: Mask,
    mean_x: Vector,
    mean_y: Vector,
    half_width: Vector,
    half_height: Vector,
) -> Mask:
    """Write the rectangle of tiles that the ellipse's box touches; returns which Gaussians touch any."""
    columns = np.float32((setup.width + TILE_WIDTH - 1) // TILE_WIDTH)
    rows = np.float32((setup.height + TILE_HEIGHT - 1) // TILE_HEIGHT)
    column = maximum(floor((mean_x - half_width - 0.5) * (1.0 / TILE_WIDTH)), 0.0)
    column_end = minimum(floor((mean_x + half_width - 0.5) * (1.0 / TILE_WIDTH)) + 1.0, columns)
    row = maximum(floor((mean_y - half_height - 0.5) * (1.0 / TILE_HEIGHT)), 0.0)
    row_end = minimum(floor((mean_y + half_height - 0.5) * (1.0 / TILE_HEIGHT)) + 1.0, rows)
    visible = visible & (column_end > column) & (row_end > row)
    column, column_end = select(visible, column, 0.0), select(visible, column_end, 0.0)
    row, row_end = select(visible, row, 0.0), select(visible, row_end, 0.0)
    store2(boxes, 2 * out, as_bits(column, column_end), as_bits(row, row_end))
    return visible


@inlined
def _summed_rows(keys: Array, slots: Slots, first: int, block: Array) -> Vectors:
    """The gradient rows that the tiles wrote for 16 Gaussians, summed and transposed.

    The order of summation depends on nothing but the scene, so gradients repeat bit by bit on any number of workers.
    """
    for lane in range(16):
        total = broadcast(np.float32(0.0))
        if keys[first + lane] < CULLED:
            for place in range(slots.starts[first + lane], slots.ends[first + lane]):
                total = total + load(slots.rows, np.int64(slots.places[place]) * ROW)
        store(block, lane * ROW, total)
    return load_columns(block, 0)


@inlined
def _covariance_gradient(
    xx: Vector,
    xy: Vector,
    yy: Vector,
    determinant: Vector,
    sharp: Vector,
    antialiased: bool,
    v_log: Vector,
    v_xx: Vector,
    v_xy: Vector,
    v_yy: Vector,
) -> Vectors:
    """From Σα-weighted moments of the pixels' offsets to the gradient of the screen covariance (xx, xy, yy).

    With Q = (Σ + εI)⁻¹: ∂L/∂Q = −½ moments and ∂L/∂Σ = −Q ∂L/∂Q Q; the antialiased opacity adds ½ log(det Σ · det Q).
    """
    inverse = 1.0 / determinant
    a, b, c = yy * inverse, -(xy * inverse), xx * inverse
    p00, p01 = a * v_xx + b * v_xy, a * v_xy + b * v_yy
    p10, p11 = b * v_xx + c * v_xy, b * v_xy + c * v_yy
    s_xx, s_xy, s_yy = 0.5 * (p00 * a + p01 * b), 0.5 * (p00 * b + p01 * c), 0.5 * (p10 * b + p11 * c)
    if antialiased:
        half, sharp_inverse = 0.5 * v_log, 1.0 / maximum(sharp, 1e-30)
        s_xx = s_xx + half * ((yy - BLUR) * sharp_inverse - a)
        s_xy = s_xy - half * (xy * sharp_inverse + b)
        s_yy = s_yy + half * ((xx - BLUR) * sharp_inverse - c)
    return s_xx, s_xy, s_yy


@inlined
def _quat_gradient(quat: Vectors, unit: Vectors, m: Vectors) -> Vectors:
    """Gradient [9] of the rotation matrix to the raw quaternion, through its normalisation."""
    w, x, y, z = unit
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = m
    v_w = 2.0 * (x * (m21 - m12) + y * (m02 - m20) + z * (m10 - m01))
    v_x = 2.0 * (y * (m01 + m10) + z * (m02 + m20) + w * (m21 - m12) - 2.0 * x * (m11 + m22))
    v_y = 2.0 * (x * (m01 + m10) + z * (m12 + m21) + w * (m02 - m20) - 2.0 * y * (m00 + m22))
    v_z = 2.0 * (x * (m02 + m20) + y * (m12 + m21) + w * (m10 - m01) - 2.0 * z * (m00 + m11))
    radial = v_w * w + v_x * x + v_y * y + v_z * z
    length = _inverse_length(quat)
    return (
        (v_w - radial * w) * length,
        (v_x - radial * x) * length,
        (v_y - radial * y) * length,
        (v_z - radial * z) * length,
    )


@inlined
def _point_gradient(
    camera: Array,
    k: int,
    point: Vectors,
    inverse_z: Vector,
    v_mean_x: Vector,
    v_mean_y: Vector,
    v_depth: Vector,
    v_jacobian: Vectors,
) -> Vectors:
    """Gradients of pixel mean, depth and Jacobian to the camera point."""
    x, y, _ = point
    jxx, jxz, jyy, jyz = _jacobian(camera, k, x, y, inverse_z)
    v_jxx, v_jxz, v_jyy, v_jyz = v_jacobian
    x_slope, y_slope = x * inverse_z, y * inverse_z
    x_free = (x_slope >= camera[k + 16]) & (x_slope <= camera[k + 17])
    y_free = (y_slope >= camera[k + 18]) & (y_slope <= camera[k + 19])
    v_x = v_mean_x * jxx - select(x_free, jxx * inverse_z * v_jxz, 0.0)
    v_y = v_mean_y * jyy - select(y_free, jyy * inverse_z * v_jyz, 0.0)
    by_mean = v_mean_x * jxx * x_slope + v_mean_y * jyy * y_slope
    by_jacobian = (
        v_jxx * jxx + v_jyy * jyy + v_jxz * jxz * select(x_free, 2.0, 1.0) + v_jyz * jyz * select(y_free, 2.0, 1.0)
    )
    return v_x, v_y, v_depth - by_mean - by_jacobian * inverse_z


@inlined
def _camera_gradient(point: Vectors, v_point: Vectors, jacobian: Vectors, v_a: Vectors, seen: Mask) -> Vector:
    """Gradient of a view's rotation (9) and translation (3), summed over 16 Gaussians."""
    px, py, pz = point
    v_x, v_y, v_z = v_point
    jxx, jxz, jyy, jyz = jacobian
    a00, a01, a02, a10, a11, a12 = v_a
    return lane_sums(
        (
            select(seen, v_x * px + jxx * a00, 0.0),
            select(seen, v_x * py + jxx * a01, 0.0),
            select(seen, v_x * pz + jxx * a02, 0.0),
            select(seen, v_y * px + jyy * a10, 0.0),
            select(seen, v_y * py + jyy * a11, 0.0),
            select(seen, v_y * pz + jyy * a12, 0.0),
            select(seen, v_z * px + jxz * a00 + jyz * a10, 0.0),
            select(seen, v_z * py + jxz * a01 + jyz * a11, 0.0),
            select(seen, v_z * pz + jxz * a02 + jyz * a12, 0.0),
            select(seen, v_x, 0.0),
            select(seen, v_y, 0.0),
            select(seen, v_z, 0.0),
        )
    )


@inlined
def _view_backward(
    setup: Setup, camera: Array, view: int, world: Vectors, rotation: Vectors, scale: Vectors, sums: Vectors, seen: Mask
) -> tuple[Any, ...]:
    """One view's gradients of the world point (3) and of M = R(quat) diag(scales) (9), and what the camera needs."""
    k = view * CAMERA_ROW
    x, y, z = _in_camera(camera, k, world[0], world[1], world[2])
    inverse_z = 1.0 / select(seen, z, 1.0)
    jacobian = _jacobian(camera, k, x, y, inverse_z)
    a = _jacobian_times_rotation(camera, k, jacobian)
    u, v = _covariance_root(a, rotation, scale)
    xx, xy, yy, determinant, sharp = _screen_covariance(u, v)
    s_xx, s_xy, s_yy = _covariance_gradient(
        xx, xy, yy, determinant, sharp, setup.antialiased, sums[4], sums[7], sums[8], sums[9]
    )
    inverse = 1.0 / determinant
    v_mean_x, v_mean_y = (yy * sums[5] - xy * sums[6]) * inverse, (xx * sums[6] - xy * sums[5]) * inverse

    # U = A M with A = J R: ∂L/∂U = 2 (∂L/∂Σ) U, then each factor takes the other's transpose.
    p0, p1, p2 = (
        2.0 * (s_xx * u[0] + s_xy * v[0]),
        2.0 * (s_xx * u[1] + s_xy * v[1]),
        2.0 * (s_xx * u[2] + s_xy * v[2]),
    )
    q0, q1, q2 = (
        2.0 * (s_xy * u[0] + s_yy * v[0]),
        2.0 * (s_xy * u[1] + s_yy * v[1]),
        2.0 * (s_xy * u[2] + s_yy * v[2]),
    )
    a00, a01, a02, a10, a11, a12 = a
    v_m = (
        select(seen, a00 * p0 + a10 * q0, 0.0),
        select(seen, a00 * p1 + a10 * q1, 0.0),
        select(seen, a00 * p2 + a10 * q2, 0.0),
        select(seen, a01 * p0 + a11 * q0, 0.0),
        select(seen, a01 * p1 + a11 * q1, 0.0),
        select(seen, a01 * p2 + a11 * q2, 0.0),
        select(seen, a02 * p0 + a12 * q0, 0.0),
        select(seen, a02 * p1 + a12 * q1, 0.0),
        select(seen, a02 * p2 + a12 * q2, 0.0),
    )
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = rotation
    ps = (p0 * scale[0], p1 * scale[1], p2 * scale[2])
    qs = (q0 * scale[0], q1 * scale[1], q2 * scale[2])
    v_a = (
        _dot3(ps[0], ps[1], ps[2], r00, r01, r02),
        _dot3(ps[0], ps[1], ps[2], r10, r11, r12),
        _dot3(ps[0], ps[1], ps[2], r20, r21, r22),
        _dot3(qs[0], qs[1], qs[2], r00, r01, r02),
        _dot3(qs[0], qs[1], qs[2], r10, r11, r12),
        _dot3(qs[0], qs[1], qs[2], r20, r21, r22),
    )
    v_jacobian = (
        _dot3(v_a[0], v_a[1], v_a[2], camera[k], camera[k + 1], camera[k + 2]),
        _dot3(v_a[0], v_a[1], v_a[2], camera[k + 6], camera[k + 7], camera[k + 8]),
        _dot3(v_a[3], v_a[4], v_a[5], camera[k + 3], camera[k + 4], camera[k + 5]),
        _dot3(v_a[3], v_a[4], v_a[5], camera[k + 6], camera[k + 7], camera[k + 8]),
    )
    v_point = _point_gradient(camera, k, (x, y, z), inverse_z, v_mean_x, v_mean_y, sums[3], v_jacobian)
    v_world = (
        select(seen, _dot3(camera[k], camera[k + 3], camera[k + 6], v_point[0], v_point[1], v_point[2]), 0.0),
        select(seen, _dot3(camera[k + 1], camera[k + 4], camera[k + 7], v_point[0], v_point[1], v_point[2]), 0.0),
        select(seen, _dot3(camera[k + 2], camera[k + 5], camera[k + 8], v_point[0], v_point[1], v_point[2]), 0.0),
    )
    return v_world, v_m, (v_mean_x, v_mean_y), v_point, jacobian, v_a


@kernel
def project_backward(
    worker: int,
    workers: int,
    setup: Setup,
    camera: Array,
    gaussians: Gaussians,
    keys: Array,
    slots: Slots,
    gradients: Gaussians,
    v_screen: Array,
    v_cameras: Array,
) -> None:
    """Sum the tiles' gradient rows and carry them back to the Gaussians and cameras.

    Writes ``gradients`` (Gaussians), ``v_screen`` [V * N * 4] (pixel mean x, y; sum of magnitudes x, y) and
    ``v_cameras`` [blocks * V * 16] (rotation 9, translation 3, unused 4; a partial sum for each block of 16).
    """
    blocks, scenes = (setup.splats + 15) // 16, setup.views // setup.views_per_scene
    block_rows = np.empty(16 * ROW, np.float32)
    zero = broadcast(np.float32(0.0))
    for item in range(worker * scenes * blocks // workers, (worker + 1) * scenes * blocks // workers):
        scene = item // blocks
        block = item - scene * blocks
        first = _first_of_block(block, setup.splats)
        g = scene * setup.splats + first
        fresh = lane_numbers() + np.float32(first) >= np.float32(16 * block)  # not already in the block before

        world = load3(gaussians.means, 3 * g)
        quat = load4(gaussians.quats, 4 * g)
        unit = _normalized(quat)
        rotation = _rotation(unit)
        scale = load3(gaussians.scales, 3 * g)
        v_red, v_green, v_blue, v_log = zero, zero, zero, zero
        v_x, v_y, v_z, views_seen = zero, zero, zero, zero
        m00, m01, m02, m10, m11, m12, m20, m21, m22 = zero, zero, zero, zero, zero, zero, zero, zero, zero
        for view in range(scene * setup.views_per_scene, (scene + 1) * setup.views_per_scene):
            at = view * setup.splats + first
            seen = load(keys, at) < CULLED
            sums = _summed_rows(keys, slots, at, block_rows)
            if setup.colors_per_view:
                store3(gradients.colors, 3 * at, sums[0], sums[1], sums[2])
            v_world, m, v_mean, v_point, jacobian, v_a = _view_backward(
                setup, camera, view, world, rotation, scale, sums, seen
            )
            v_mean_x, v_mean_y = select(seen, v_mean[0], 0.0), select(seen, v_mean[1], 0.0)
            store4(v_screen, 4 * at, v_mean_x, v_mean_y, sums[10], sums[11])
            store(
                v_cameras,
                (block * setup.views + view) * 16,
                _camera_gradient(world, v_point, jacobian, v_a, seen & fresh),
            )
            v_red, v_green, v_blue, v_log = v_red + sums[0], v_green + sums[1], v_blue + sums[2], v_log + sums[4]
            v_x, v_y, v_z = v_x + v_world[0], v_y + v_world[1], v_z + v_world[2]
            m00, m01, m02 = m00 + m[0], m01 + m[1], m02 + m[2]
            m10, m11, m12 = m10 + m[3], m11 + m[4], m12 + m[5]
            m20, m21, m22 = m20 + m[6], m21 + m[7], m22 + m[8]
            views_seen = views_seen + select(seen, 1.0, 0.0)
        r00, r01, r02, r10, r11, r12, r20, r21, r22 = rotation
        store3(gradients.means, 3 * g, v_x, v_y, v_z)
        touched = views_seen > 0.0  # the rest may hold NaN
        s_x, s_y, s_z = (
            _dot3(m00, m10, m20, r00, r10, r20),
            _dot3(m01, m11, m21, r01, r11, r21),
            _dot3(m02, m12, m22, r02, r12, r22),
        )
        store3(gradients.scales, 3 * g, select(touched, s_x, 0.0), select(touched, s_y, 0.0), select(touched, s_z, 0.0))
        m0 = (m00 * scale[0], m01 * scale[1], m02 * scale[2])
        m1 = (m10 * scale[0], m11 * scale[1], m12 * scale[2])
        m2 = (m20 * scale[0], m21 * scale[1], m22 * scale[2])
        q_w, q_x, q_y, q_z = _quat_gradient(quat, unit, (m0[0], m0[1], m0[2], m1[0], m1[1], m1[2], m2[0], m2[1], m2[2]))
        store4(
            gradients.quats,
            4 * g,
            select(touched, q_w, 0.0),
            select(touched, q_x, 0.0),
            select(touched, q_y, 0.0),
            select(touched, q_z, 0.0),
        )
        store(gradients.opacities, g, select(touched, v_log / load(gaussians.opacities, g), 0.0))
        if not setup.colors_per_view:
            store3(gradients.colors, 3 * g, v_red, v_green, v_blue)
