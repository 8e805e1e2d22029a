"""Gradient of the projection: from the tiles' gradient rows to Gaussians and cameras, sixteen Gaussians at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from studio.kernels.compiled import inlined, kernel
from studio.kernels.simd import Array, Mask, Vector, Vectors, broadcast, lane_numbers, lane_sums, maximum, select
from studio.kernels.simd_memory import load, load3, load4, load_columns, prefetch, store, store3, store4
from studio.kernels.splat_project import (
    BLUR,
    CAMERA_ROW,
    CULLED,
    ROW,
    Gaussians,
    Setup,
    Slots,
    covariance_root,
    dot,
    dot3,
    first_of_block,
    in_camera,
    inverse_length,
    jacobian_times_rotation,
    normalized,
    pinhole_jacobian,
    rotation_entries,
    screen_covariance,
)

_AHEAD = 8  # how many Gaussians ahead to prefetch


@inlined
def _summed_rows(keys: Array, slots: Slots, first: int, block: Array) -> Vectors:
    """The gradient rows that the tiles wrote for 16 Gaussians, summed and transposed.

    The order of summation depends on nothing but the scene, so gradients repeat bit by bit on any number of workers.
    """
    for lane in range(16):
        ahead = first + lane + _AHEAD
        if ahead < keys.size and keys[ahead] < CULLED:
            for place in range(slots.ranges[2 * ahead], slots.ranges[2 * ahead + 1]):
                prefetch(slots.rows, np.int64(slots.places[place]) * ROW)
        total = broadcast(np.float32(0.0))
        if keys[first + lane] < CULLED:
            for place in range(slots.ranges[2 * (first + lane)], slots.ranges[2 * (first + lane) + 1]):
                entry = np.int64(slots.places[place])
                if slots.written[entry]:
                    total = total + load(slots.rows, entry * ROW)
        store(block, lane * ROW, total)
    return load_columns(block, 0)


@inlined
def _covariance_gradient(
    covariance: Vectors,
    u: Vectors,
    v: Vectors,
    antialiased: bool,
    v_log: Vector,
    v_xx: Vector,
    v_xy: Vector,
    v_yy: Vector,
) -> Vectors:
    """From Σα-weighted moments of the pixels' offsets to the gradient of the screen covariance (xx, xy, yy).

    With Q = (Σ + εI)⁻¹: ∂L/∂Q = −½ moments and ∂L/∂Σ = −Q ∂L/∂Q Q. The antialiased opacity adds ½ log(det Σ · det Q),
    whose derivative ½ (Σ⁻¹ − Q) is written ½ ε Σ⁻¹ Q: for large Σ the two terms are nearly equal.
    """
    xx, xy, yy, determinant, sharp = covariance
    inverse = 1.0 / determinant
    a, b, c = yy * inverse, -(xy * inverse), xx * inverse
    p00, p01 = a * v_xx + b * v_xy, a * v_xy + b * v_yy
    p10, p11 = b * v_xx + c * v_xy, b * v_xy + c * v_yy
    s_xx, s_xy, s_yy = 0.5 * (p00 * a + p01 * b), 0.5 * (p00 * b + p01 * c), 0.5 * (p10 * b + p11 * c)
    if antialiased:
        scale = (0.5 * BLUR) * v_log / maximum(sharp, 1e-30)
        s_xx = s_xx + scale * (dot(v, v) * a - xy * b)
        s_xy = s_xy + scale * (dot(v, v) * b - xy * c)
        s_yy = s_yy + scale * (dot(u, u) * c - xy * b)
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
    length = inverse_length(quat)
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
    jxx, jxz, jyy, jyz = pinhole_jacobian(camera, k, x, y, inverse_z)
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
def _root_gradient(s_xx: Vector, s_xy: Vector, s_yy: Vector, u: Vectors, v: Vectors) -> tuple[Vectors, Vectors]:
    """∂L/∂U = 2 (∂L/∂Σ) U, row by row; with U = A M, A = J R each factor then takes the other's transpose."""
    return (
        (
            2.0 * (s_xx * u[0] + s_xy * v[0]),
            2.0 * (s_xx * u[1] + s_xy * v[1]),
            2.0 * (s_xx * u[2] + s_xy * v[2]),
        ),
        (
            2.0 * (s_xy * u[0] + s_yy * v[0]),
            2.0 * (s_xy * u[1] + s_yy * v[1]),
            2.0 * (s_xy * u[2] + s_yy * v[2]),
        ),
    )


@inlined
def _view_backward(
    setup: Setup, camera: Array, view: int, world: Vectors, rotation: Vectors, scale: Vectors, sums: Vectors, seen: Mask
) -> tuple[Any, ...]:
    """One view's gradients of the world point (3) and of M = R(quat) diag(scales) (9), and what the camera needs."""
    k = view * CAMERA_ROW
    x, y, z = in_camera(camera, k, world[0], world[1], world[2])
    inverse_z = 1.0 / select(seen, z, 1.0)
    jacobian = pinhole_jacobian(camera, k, x, y, inverse_z)
    a = jacobian_times_rotation(camera, k, jacobian)
    u, v = covariance_root(a, rotation, scale)
    covariance = screen_covariance(u, v)
    xx, xy, yy, determinant, _ = covariance
    s_xx, s_xy, s_yy = _covariance_gradient(covariance, u, v, setup.antialiased, sums[4], sums[7], sums[8], sums[9])
    inverse = 1.0 / determinant
    v_mean_x, v_mean_y = (yy * sums[5] - xy * sums[6]) * inverse, (xx * sums[6] - xy * sums[5]) * inverse

    p, q = _root_gradient(s_xx, s_xy, s_yy, u, v)
    p0, p1, p2 = p
    q0, q1, q2 = q
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
        dot3(ps[0], ps[1], ps[2], r00, r01, r02),
        dot3(ps[0], ps[1], ps[2], r10, r11, r12),
        dot3(ps[0], ps[1], ps[2], r20, r21, r22),
        dot3(qs[0], qs[1], qs[2], r00, r01, r02),
        dot3(qs[0], qs[1], qs[2], r10, r11, r12),
        dot3(qs[0], qs[1], qs[2], r20, r21, r22),
    )
    v_jacobian = (
        dot3(v_a[0], v_a[1], v_a[2], camera[k], camera[k + 1], camera[k + 2]),
        dot3(v_a[0], v_a[1], v_a[2], camera[k + 6], camera[k + 7], camera[k + 8]),
        dot3(v_a[3], v_a[4], v_a[5], camera[k + 3], camera[k + 4], camera[k + 5]),
        dot3(v_a[3], v_a[4], v_a[5], camera[k + 6], camera[k + 7], camera[k + 8]),
    )
    v_point = _point_gradient(camera, k, (x, y, z), inverse_z, v_mean_x, v_mean_y, sums[3], v_jacobian)
    v_world = (
        select(seen, dot3(camera[k], camera[k + 3], camera[k + 6], v_point[0], v_point[1], v_point[2]), 0.0),
        select(seen, dot3(camera[k + 1], camera[k + 4], camera[k + 7], v_point[0], v_point[1], v_point[2]), 0.0),
        select(seen, dot3(camera[k + 2], camera[k + 5], camera[k + 8], v_point[0], v_point[1], v_point[2]), 0.0),
    )
    return v_world, v_m, (v_mean_x, v_mean_y), v_point, jacobian, v_a


@inlined
def _plus9(a: Vectors, b: Vectors) -> Vectors:
    return (
        a[0] + b[0],
        a[1] + b[1],
        a[2] + b[2],
        a[3] + b[3],
        a[4] + b[4],
        a[5] + b[5],
        a[6] + b[6],
        a[7] + b[7],
        a[8] + b[8],
    )


@inlined
def _store_shape_gradients(
    gradients: Gaussians,
    gaussians: Gaussians,
    g: int,
    quat: Vectors,
    unit: Vectors,
    rotation: Vectors,
    scale: Vectors,
    v_m: Vectors,
    v_log: Vector,
    touched: Mask,
) -> None:
    """Gradients of scales, rotations and opacities from those of M = R(quat) diag(scales) and of ln α.

    Lanes that are not ``touched`` may hold NaN.
    """
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = rotation
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = v_m
    s_x, s_y, s_z = (
        dot3(m00, m10, m20, r00, r10, r20),
        dot3(m01, m11, m21, r01, r11, r21),
        dot3(m02, m12, m22, r02, r12, r22),
    )
    store3(gradients.scales, 3 * g, select(touched, s_x, 0.0), select(touched, s_y, 0.0), select(touched, s_z, 0.0))
    x, y, z = scale
    v_rotation = (m00 * x, m01 * y, m02 * z, m10 * x, m11 * y, m12 * z, m20 * x, m21 * y, m22 * z)
    q_w, q_x, q_y, q_z = _quat_gradient(quat, unit, v_rotation)
    store4(
        gradients.quats,
        4 * g,
        select(touched, q_w, 0.0),
        select(touched, q_x, 0.0),
        select(touched, q_y, 0.0),
        select(touched, q_z, 0.0),
    )
    store(gradients.opacities, g, select(touched, v_log / load(gaussians.opacities, g), 0.0))


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
        first = first_of_block(block, setup.splats)
        g = scene * setup.splats + first
        fresh = lane_numbers() + np.float32(first) >= np.float32(16 * block)  # not already in the block before

        world = load3(gaussians.means, 3 * g)
        quat = load4(gaussians.quats, 4 * g)
        unit = normalized(quat)
        rotation = rotation_entries(unit)
        scale = load3(gaussians.scales, 3 * g)
        v_color, v_world, v_log, views_seen = (zero, zero, zero), (zero, zero, zero), zero, zero
        v_m = (zero, zero, zero, zero, zero, zero, zero, zero, zero)
        for view in range(scene * setup.views_per_scene, (scene + 1) * setup.views_per_scene):
            at = view * setup.splats + first
            seen = load(keys, at) < CULLED
            sums = _summed_rows(keys, slots, at, block_rows)
            if setup.colors_per_view:
                store3(gradients.colors, 3 * at, sums[0], sums[1], sums[2])
            w, m, v_mean, v_point, jacobian, v_a = _view_backward(
                setup, camera, view, world, rotation, scale, sums, seen
            )
            v_mean_x, v_mean_y = select(seen, v_mean[0], 0.0), select(seen, v_mean[1], 0.0)
            store4(v_screen, 4 * at, v_mean_x, v_mean_y, sums[10], sums[11])
            store(
                v_cameras,
                (block * setup.views + view) * 16,
                _camera_gradient(world, v_point, jacobian, v_a, seen & fresh),
            )
            v_color = (v_color[0] + sums[0], v_color[1] + sums[1], v_color[2] + sums[2])
            v_world = (v_world[0] + w[0], v_world[1] + w[1], v_world[2] + w[2])
            v_m = _plus9(v_m, m)
            v_log, views_seen = v_log + sums[4], views_seen + select(seen, 1.0, 0.0)
        store3(gradients.means, 3 * g, v_world[0], v_world[1], v_world[2])
        if not setup.colors_per_view:
            store3(gradients.colors, 3 * g, v_color[0], v_color[1], v_color[2])
        _store_shape_gradients(gradients, gaussians, g, quat, unit, rotation, scale, v_m, v_log, views_seen > 0.0)
