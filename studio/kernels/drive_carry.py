"""From anchors, learned parameters and basis weights to activated Gaussians, and the gradient; sixteen at a time.

The K bases are most of the memory, so they are streamed: for a chunk of Gaussians their weighted sum is formed as they
lie in memory, and only the sum is transposed to one vector for each channel. The backward pass goes the other way.
Gaussians belong to one of P parts of the head, each with K weights of its own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from studio.kernels.compiled import inlined, kernel
from studio.kernels.drive_pose import Anchored
from studio.kernels.simd import (
    Array,
    Vector,
    Vectors,
    broadcast,
    exp2,
    fma,
    lane_numbers,
    lane_sum,
    maximum,
    minimum,
    select,
    sqrt,
)
from studio.kernels.simd_memory import load, load3, load4, store, store3, store4
from studio.kernels.splat_project import LOG2E, dot3, first_of_block, rotation_entries

CHANNELS = 11  # corrections of position (3), rotation (4), colour (3), opacity (1)
CHUNK = 512  # Gaussians whose bases are streamed at once; their corrections stay in the first cache


class Gains(NamedTuple):
    """What a correction of 1 means, and what lengths are measured in."""

    unit: float  # metres
    position: float  # units
    rotation: float  # components of a unit quaternion
    color: float  # sRGB 0..1
    opacity: float  # logits
    largest: float  # units: no axis is longer


class Raw(NamedTuple):
    """What is learned of N Gaussians, flat float32; also used for gradients."""

    offsets: np.ndarray  # [N * 3] units, in the triangle's frame
    quats: np.ndarray  # [N * 4] wxyz, to the triangle's frame, need not be normalised
    log_scales: np.ndarray  # [N * 3] of units
    opacity_logits: np.ndarray  # [N]
    colors: np.ndarray  # [N * 3]
    bases: np.ndarray  # [K * N * CHANNELS]


class Blend(NamedTuple):
    """How the bases are weighted."""

    weights: np.ndarray  # [P * K]
    parts: np.ndarray  # [N] int64, which row of the weights a Gaussian takes


class Activated(NamedTuple):
    """Gaussians as the rasteriser takes them, flat float32; also used for gradients."""

    means: np.ndarray  # [N * 3]
    quats: np.ndarray  # [N * 4]
    scales: np.ndarray  # [N * 3]
    opacities: np.ndarray  # [N]
    colors: np.ndarray  # [N * 3]


@inlined
def _correct(raw: Raw, blend: Blend, first: int, end: int, corrections: Array) -> None:
    """Write Σ weights · bases of the Gaussians [first, end), at least 16."""
    count, last, lanes = raw.opacity_logits.size, CHANNELS * end - 16, lane_numbers()
    bases = raw.bases.size // (CHANNELS * count)
    for vector in range((CHANNELS * (end - first) + 15) // 16):
        i = min(CHANNELS * first + 16 * vector, last)
        total, part = broadcast(np.float32(0.0)), -1
        for g in range(i // CHANNELS, (i + 15) // CHANNELS + 1):
            if blend.parts[g] != part:
                part = blend.parts[g]
                summed = broadcast(np.float32(0.0))
                for basis in range(bases):
                    value = load(raw.bases, basis * CHANNELS * count + i)
                    summed = fma(value, blend.weights[part * bases + basis], summed)
                total = select(lanes >= np.float32(CHANNELS * g - i), summed, total)
        store(corrections, i, total)


@inlined
def _to_columns(corrections: Array, g: int, columns: Array) -> None:
    """The corrections of 16 Gaussians, one channel after the other."""
    for lane in range(16):
        for channel in range(CHANNELS):
            columns[16 * channel + lane] = corrections[CHANNELS * (g + lane) + channel]


@inlined
def _local(gains: Gains, raw: Raw, g: int, columns: Array) -> Vectors:
    """Corrected offset, units."""
    x, y, z = load3(raw.offsets, 3 * g)
    return (
        fma(load(columns, 0), gains.position, x),
        fma(load(columns, 16), gains.position, y),
        fma(load(columns, 32), gains.position, z),
    )


@inlined
def _turned(a: Vectors, b: Vectors) -> Vectors:
    """Hamilton product: the rotation b followed by a."""
    return (
        a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3],
        a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2],
        a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1],
        a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0],
    )


@inlined
def _conjugate(q: Vectors) -> Vectors:
    return q[0], -q[1], -q[2], -q[3]


@inlined
def _inverse_length4(q: Vectors) -> Vector:
    return 1.0 / maximum(sqrt(fma(q[0], q[0], fma(q[1], q[1], fma(q[2], q[2], q[3] * q[3])))), 1e-12)


@inlined
def _scaled4(q: Vectors, factor: Vector) -> Vectors:
    return q[0] * factor, q[1] * factor, q[2] * factor, q[3] * factor


@inlined
def _exp(x: Vector) -> Vector:
    return exp2(minimum(maximum(x * LOG2E, -120.0), 120.0))


@inlined
def _corrected_quat(gains: Gains, unit: Vectors, columns: Array) -> Vectors:
    return (
        fma(load(columns, 48), gains.rotation, unit[0]),
        fma(load(columns, 64), gains.rotation, unit[1]),
        fma(load(columns, 80), gains.rotation, unit[2]),
        fma(load(columns, 96), gains.rotation, unit[3]),
    )


@inlined
def _opacity(gains: Gains, raw: Raw, g: int, columns: Array) -> Vector:
    return 1.0 / (1.0 + _exp(-fma(load(columns, 160), gains.opacity, load(raw.opacity_logits, g))))


@inlined
def _color(gains: Gains, raw: Raw, g: int, columns: Array) -> Vectors:
    """Before negative values are cut."""
    red, green, blue = load3(raw.colors, 3 * g)
    return (
        fma(load(columns, 112), gains.color, red),
        fma(load(columns, 128), gains.color, green),
        fma(load(columns, 144), gains.color, blue),
    )


@kernel
def carry(
    worker: int,
    workers: int,
    gains: Gains,
    anchors: Anchored,
    raw: Raw,
    blend: Blend,
    corrections: Array,
    out: Activated,
) -> None:
    """Fill ``corrections`` [N * CHANNELS] and ``out`` (Activated); N >= 16."""
    count = raw.opacity_logits.size
    blocks, chunks = (count + 15) // 16, (count + CHUNK - 1) // CHUNK
    columns = np.empty(16 * CHANNELS, np.float32)
    for chunk in range(worker * chunks // workers, (worker + 1) * chunks // workers):
        end = min((chunk + 1) * CHUNK, count)
        _correct(raw, blend, min(chunk * CHUNK, count - 16), end, corrections)
        for block in range(chunk * (CHUNK // 16), min((chunk + 1) * (CHUNK // 16), blocks)):
            g = first_of_block(block, count)
            _to_columns(corrections, g, columns)
            frame, size = load4(anchors.quats, 4 * g), load(anchors.stretch, g) * gains.unit
            r00, r01, r02, r10, r11, r12, r20, r21, r22 = rotation_entries(frame)
            x, y, z = _local(gains, raw, g, columns)
            x, y, z = x * size, y * size, z * size
            origin_x, origin_y, origin_z = load3(anchors.origins, 3 * g)
            store3(
                out.means,
                3 * g,
                origin_x + dot3(r00, r01, r02, x, y, z),
                origin_y + dot3(r10, r11, r12, x, y, z),
                origin_z + dot3(r20, r21, r22, x, y, z),
            )
            quat = load4(raw.quats, 4 * g)
            unit = _scaled4(quat, _inverse_length4(quat))
            q_w, q_x, q_y, q_z = _turned(frame, _corrected_quat(gains, unit, columns))
            store4(out.quats, 4 * g, q_w, q_x, q_y, q_z)
            a, b, c = load3(raw.log_scales, 3 * g)
            largest = gains.largest
            a, b, c = minimum(_exp(a), largest), minimum(_exp(b), largest), minimum(_exp(c), largest)
            store3(out.scales, 3 * g, a * size, b * size, c * size)
            store(out.opacities, g, _opacity(gains, raw, g, columns))
            red, green, blue = _color(gains, raw, g, columns)
            store3(out.colors, 3 * g, maximum(red, 0.0), maximum(green, 0.0), maximum(blue, 0.0))


@inlined
def _scale_gradient(log_scale: Vector, largest: float, size: Vector, v: Vector) -> tuple[Vector, Vector]:
    """Gradients to a logarithm of a scale and to the size that it is multiplied with."""
    scale = _exp(log_scale)
    free = scale <= largest
    return select(free, v * scale * size, 0.0), v * select(free, scale, largest)


@inlined
def _matrix_to_quat_gradient(q: Vectors, p: Vectors, v: Vectors) -> Vectors:
    """Gradient of v · R(q) p to q, R as in ``rotation_entries``."""
    w, x, y, z = q
    p_x, p_y, p_z = p
    v_x, v_y, v_z = v
    m21, m12, m02, m20, m10, m01 = v_z * p_y, v_y * p_z, v_x * p_z, v_z * p_x, v_y * p_x, v_x * p_y
    m00, m11, m22 = v_x * p_x, v_y * p_y, v_z * p_z
    return (
        2.0 * (x * (m21 - m12) + y * (m02 - m20) + z * (m10 - m01)),
        2.0 * (y * (m01 + m10) + z * (m02 + m20) + w * (m21 - m12) - 2.0 * x * (m11 + m22)),
        2.0 * (x * (m01 + m10) + z * (m12 + m21) + w * (m02 - m20) - 2.0 * y * (m00 + m22)),
        2.0 * (x * (m02 + m20) + y * (m12 + m21) + w * (m10 - m01) - 2.0 * z * (m00 + m11)),
    )


@inlined
def _to_rows(columns: Array, g: int, first: int, rows: Array) -> None:
    """The other way of ``_to_columns``, into the ``rows`` of a chunk, which begins with the Gaussian ``first``."""
    for lane in range(max(first - g, 0), 16):
        at = CHANNELS * (g + lane - first)
        for channel in range(CHANNELS):
            rows[at + channel] = columns[16 * channel + lane]


@inlined
def _weight_gradients(raw: Raw, blend: Blend, first: int, end: int, rows: Array, sums: Array, v_weights: Array) -> None:
    """Add up bases · gradients of the corrections (``rows``) of the Gaussians [first, end) into ``v_weights`` [P * K].

    ``sums`` [P * K * 16] is scratch. Neighbours mostly belong to one part, so that a vector has one part.
    """
    stride, size = CHANNELS * raw.opacity_logits.size, CHANNELS * (end - first)
    bases, zero = raw.bases.size // stride, broadcast(np.float32(0.0))
    for k in range(v_weights.size):
        store(sums, 16 * k, zero)
        v_weights[k] = np.float32(0.0)
    for i in range(0, size - 15, 16):
        at, here = CHANNELS * first + i, load(rows, i)
        g, last = at // CHANNELS, (at + 15) // CHANNELS
        while g <= last:
            part, begin = blend.parts[g], CHANNELS * g - at
            while g <= last and blend.parts[g] == part:
                g += 1
            lanes = lane_numbers()
            mine = (lanes >= np.float32(begin)) & (lanes < np.float32(CHANNELS * g - at))
            v = select(mine, here, 0.0)
            for basis in range(bases):
                k = 16 * (part * bases + basis)
                store(sums, k, fma(load(raw.bases, basis * stride + at), v, load(sums, k)))
    for i in range(size // 16 * 16, size):
        at = CHANNELS * first + i
        part = blend.parts[at // CHANNELS]
        for basis in range(bases):
            v_weights[part * bases + basis] += raw.bases[basis * stride + at] * rows[i]
    for k in range(v_weights.size):
        v_weights[k] += lane_sum(load(sums, 16 * k))


@inlined
def _basis_gradients(raw: Raw, blend: Blend, first: int, end: int, rows: Array, v_bases: Array) -> None:
    """The gradient of the bases of the Gaussians [first, end), written out."""
    stride = CHANNELS * raw.opacity_logits.size
    bases = raw.bases.size // stride
    for basis in range(bases):
        for g in range(first, end):
            weight = blend.weights[blend.parts[g] * bases + basis]
            for channel in range(CHANNELS):
                v_bases[basis * stride + CHANNELS * g + channel] = weight * rows[CHANNELS * (g - first) + channel]


@inlined
def _look_backward(gains: Gains, raw: Raw, given: Activated, gradients: Raw, g: int, columns: Array) -> None:
    """Opacity and colour of 16 Gaussians; their ``columns`` become gradients."""
    opacity = _opacity(gains, raw, g, columns)
    v_logit = load(given.opacities, g) * opacity * (1.0 - opacity)
    store(gradients.opacity_logits, g, v_logit)
    red, green, blue = _color(gains, raw, g, columns)
    v_red, v_green, v_blue = load3(given.colors, 3 * g)
    v_red, v_green, v_blue = (
        select(red >= 0.0, v_red, 0.0),
        select(green >= 0.0, v_green, 0.0),
        select(blue >= 0.0, v_blue, 0.0),
    )
    store3(gradients.colors, 3 * g, v_red, v_green, v_blue)
    store(columns, 112, v_red * gains.color)
    store(columns, 128, v_green * gains.color)
    store(columns, 144, v_blue * gains.color)
    store(columns, 160, v_logit * gains.opacity)


@inlined
def _place_backward(
    gains: Gains,
    anchors: Anchored,
    raw: Raw,
    given: Activated,
    gradients: Raw,
    v_anchors: Anchored,
    g: int,
    columns: Array,
) -> None:
    """Position, rotation and scales of 16 Gaussians, and their anchors; their ``columns`` become gradients."""
    frame, stretch = load4(anchors.quats, 4 * g), load(anchors.stretch, g)
    size = stretch * gains.unit
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = rotation_entries(frame)
    v_x, v_y, v_z = load3(given.means, 3 * g)
    l_x, l_y, l_z = (
        dot3(r00, r10, r20, v_x, v_y, v_z),
        dot3(r01, r11, r21, v_x, v_y, v_z),
        dot3(r02, r12, r22, v_x, v_y, v_z),
    )
    x, y, z = _local(gains, raw, g, columns)
    v_size = dot3(l_x, l_y, l_z, x, y, z)
    store3(gradients.offsets, 3 * g, l_x * size, l_y * size, l_z * size)

    quat = load4(raw.quats, 4 * g)
    inverse = _inverse_length4(quat)
    unit = _scaled4(quat, inverse)
    v_quat = load4(given.quats, 4 * g)
    q_w, q_x, q_y, q_z = _turned(_conjugate(frame), v_quat)
    radial = fma(q_w, unit[0], fma(q_x, unit[1], fma(q_y, unit[2], q_z * unit[3])))
    store4(
        gradients.quats,
        4 * g,
        (q_w - radial * unit[0]) * inverse,
        (q_x - radial * unit[1]) * inverse,
        (q_y - radial * unit[2]) * inverse,
        (q_z - radial * unit[3]) * inverse,
    )
    a, b, c = load3(raw.log_scales, 3 * g)
    v_a, v_b, v_c = load3(given.scales, 3 * g)
    v_a, by_a = _scale_gradient(a, gains.largest, size, v_a)
    v_b, by_b = _scale_gradient(b, gains.largest, size, v_b)
    v_c, by_c = _scale_gradient(c, gains.largest, size, v_c)
    store3(gradients.log_scales, 3 * g, v_a, v_b, v_c)
    if v_anchors.stretch.size > 0:
        store3(v_anchors.origins, 3 * g, v_x, v_y, v_z)
        store(v_anchors.stretch, g, (v_size + by_a + by_b + by_c) * gains.unit)
        f_w, f_x, f_y, f_z = _turned(v_quat, _conjugate(_corrected_quat(gains, unit, columns)))
        m_w, m_x, m_y, m_z = _matrix_to_quat_gradient(frame, (x * size, y * size, z * size), (v_x, v_y, v_z))
        store4(v_anchors.quats, 4 * g, f_w + m_w, f_x + m_x, f_y + m_y, f_z + m_z)
    shift, turn = size * gains.position, gains.rotation
    store(columns, 0, l_x * shift)
    store(columns, 16, l_y * shift)
    store(columns, 32, l_z * shift)
    store(columns, 48, q_w * turn)
    store(columns, 64, q_x * turn)
    store(columns, 80, q_y * turn)
    store(columns, 96, q_z * turn)


@kernel
def carry_backward(
    worker: int,
    workers: int,
    gains: Gains,
    anchors: Anchored,
    raw: Raw,
    blend: Blend,
    corrections: Array,
    given: Activated,
    gradients: Raw,
    v_anchors: Anchored,
    v_corrections: Array,
    v_weights: Array,
) -> None:
    """Carry ``given`` (gradients of Activated) back to ``gradients`` (of Raw), ``v_anchors`` and ``v_weights``.

    Either the bases' gradient is wanted, or ``v_corrections`` [N * CHANNELS], which it is made of; the other is empty.
    ``corrections`` [N * CHANNELS] are those of ``carry``. ``v_weights`` [chunks * P * K] holds a partial sum for each
    chunk, so that the result does not depend on the number of workers. Empty arrays in ``v_anchors`` mean that nobody
    asks.
    """
    count, bases = raw.opacity_logits.size, raw.bases.size // (CHANNELS * raw.opacity_logits.size)
    blocks, chunks, size = (count + 15) // 16, (count + CHUNK - 1) // CHUNK, blend.weights.size
    columns, rows = np.empty(16 * CHANNELS, np.float32), np.empty(CHUNK * CHANNELS, np.float32)
    sums = np.empty(16 * size, np.float32)
    for chunk in range(worker * chunks // workers, (worker + 1) * chunks // workers):
        first, end = chunk * CHUNK, min((chunk + 1) * CHUNK, count)
        for block in range(chunk * (CHUNK // 16), min((chunk + 1) * (CHUNK // 16), blocks)):
            g = first_of_block(block, count)
            _to_columns(corrections, g, columns)
            _look_backward(gains, raw, given, gradients, g, columns)
            _place_backward(gains, anchors, raw, given, gradients, v_anchors, g, columns)
            if bases > 0:
                _to_rows(columns, g, first, rows)
        if bases > 0:
            _weight_gradients(raw, blend, first, end, rows, sums, v_weights[chunk * size : (chunk + 1) * size])
            if gradients.bases.size > 0:
                _basis_gradients(raw, blend, first, end, rows, gradients.bases)
            for i in range(CHANNELS * (end - first) if v_corrections.size > 0 else 0):
                v_corrections[CHANNELS * first + i] = rows[i]
