"""View-dependent colour: real spherical harmonics up to degree 3, with gsplat's signs and order.

A Gaussian's colour is max(0, ½ + Σ_k b_k(d) c_k) with d the unit vector from the camera to it and its coefficients
c [K, 3], K = (degree + 1)². Source: Sloan, Efficient Spherical Harmonic Evaluation, 2013; Kerbl et al., 2023.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from studio.kernels.compiled import inlined, kernel
from studio.kernels.simd import Array, Vector, Vectors, broadcast, fma, lane_numbers, lane_sum, select, sqrt
from studio.kernels.simd_memory import load, load3, store, store3
from studio.kernels.workers import run, worker_count
from studio.rotations import rigid_inverse

C0 = 0.28209479177387814  # ½ √(1/π)
C1 = 0.4886025119029199  # ½ √(3/π)
C2 = (1.0925484305920792, 0.9461746957575601, 0.31539156525252005, 0.5462742152960396)
C3 = (
    0.5900435899266435,
    1.445305721320277,
    2.285228997322329,
    0.4570457994644658,
    1.865881662950577,
    1.119528997770346,
)


def sh_colors_reference(
    means: Tensor,  # [N, 3] world
    coefficients: Tensor,  # [N, K, 3]
    center: Tensor,  # [3] camera centre, world
    degree: int,
) -> Tensor:
    """Colours [N, 3] in plain torch."""
    basis = sh_basis(torch.nn.functional.normalize(means - center, dim=-1), degree)
    return ((basis[:, None] @ coefficients[:, : basis.shape[-1]])[:, 0] + 0.5).clamp(min=0.0)


def sh_basis(
    directions: Tensor,  # [N, 3] unit
    degree: int,
) -> Tensor:
    """[N, (degree + 1)²] the spherical harmonics in plain torch."""
    x, y, z = directions.unbind(-1)
    basis = [torch.full_like(x, C0)]
    if degree > 0:
        basis += [-C1 * y, C1 * z, -C1 * x]
    if degree > 1:
        a, b, c, d = C2
        basis += [2 * d * x * y, -a * y * z, b * z * z - c, -a * x * z, d * (x * x - y * y)]
    if degree > 2:
        a, b, c, d, e, f = C3
        basis += [-a * y * (3 * x * x - y * y), 2 * b * x * y * z, y * (d - c * z * z), z * (e * z * z - f)]
        basis += [x * (d - c * z * z), b * z * (x * x - y * y), -a * x * (x * x - 3 * y * y)]
    return torch.stack(basis, dim=-1)


def sh_colors(
    means: Tensor,  # [S, N, 3] world, N ≥ 16
    coefficients: Tensor,  # [S, N, K, 3]
    viewmats: Tensor,  # [V, 4, 4], V a multiple of S; view v looks at scene v // (V / S)
    degree: int,  # 0 to 3, (degree + 1)² ≤ K
) -> Tensor:
    """Colours [V, N, 3] on the CPU, float32; gradients flow to all three tensors."""
    centers = rigid_inverse(viewmats)[:, :3, 3]
    return _SphericalHarmonics.apply(means, coefficients, centers, degree)


class _Sizes(NamedTuple):
    views: int
    views_per_scene: int
    splats: int  # N
    stride: int  # 3 K: floats per Gaussian in coefficients
    bases: int  # (degree + 1)²


class _SphericalHarmonics(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, means: Tensor, coefficients: Tensor, centers: Tensor, degree: int) -> Tensor:
        scenes, count, bands, _ = coefficients.shape
        sizes = _Sizes(len(centers), len(centers) // max(scenes, 1), count, 3 * bands, (degree + 1) ** 2)
        saved = tuple(value.detach().contiguous() for value in (means, coefficients, centers))
        colors = torch.empty(len(centers), count, 3)
        run(_colors, worker_count(), sizes, *_flat(*saved, colors))
        ctx.sizes = sizes
        ctx.save_for_backward(*saved, colors)
        return colors

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, v_colors: Tensor) -> tuple[Tensor | None, ...]:
        means, coefficients, centers, colors = ctx.saved_tensors
        v_means, v_coefficients = torch.empty_like(means), torch.zeros_like(coefficients)
        v_blocks = torch.zeros(-(-ctx.sizes.splats // 16), len(centers), 3)
        inputs = _flat(means, coefficients, centers, colors, v_colors.contiguous())
        run(_colors_backward, worker_count(), ctx.sizes, *inputs, *_flat(v_means, v_coefficients, v_blocks))
        return v_means, v_coefficients, v_blocks.sum(dim=0, dtype=torch.float64).float(), None


def _flat(*tensors: Tensor) -> list[np.ndarray]:
    return [value.numpy().reshape(-1) for value in tensors]


@inlined
def _direction(means: Array, g: int, centers: Array, view: int) -> Vectors:
    """Unit vectors from the camera to 16 Gaussians, and the inverse distances."""
    x, y, z = load3(means, 3 * g)
    x, y, z = x - centers[3 * view], y - centers[3 * view + 1], z - centers[3 * view + 2]
    inverse = 1.0 / sqrt(fma(x, x, fma(y, y, fma(z, z, 1e-24))))
    return x * inverse, y * inverse, z * inverse, inverse


@inlined
def _store_basis(block: Array, bases: int, x: Vector, y: Vector, z: Vector) -> None:
    """Values of the basis functions: block[16 k + lane]."""
    store(block, 0, broadcast(np.float32(C0)))
    if bases > 1:
        store(block, 16, -C1 * y)
        store(block, 32, C1 * z)
        store(block, 48, -C1 * x)
    if bases > 4:
        store(block, 64, (2.0 * C2[3]) * x * y)
        store(block, 80, -C2[0] * y * z)
        store(block, 96, fma(C2[1] * z, z, -C2[2]))
        store(block, 112, -C2[0] * x * z)
        store(block, 128, C2[3] * (x * x - y * y))
    if bases > 9:
        ring = C3[3] - C3[2] * z * z
        store(block, 144, -C3[0] * y * (3.0 * x * x - y * y))
        store(block, 160, (2.0 * C3[1]) * x * y * z)
        store(block, 176, y * ring)
        store(block, 192, z * (C3[4] * z * z - C3[5]))
        store(block, 208, x * ring)
        store(block, 224, C3[1] * z * (x * x - y * y))
        store(block, 240, -C3[0] * x * (x * x - 3.0 * y * y))


@inlined
def _basis_gradient(block: Array, bases: int, x: Vector, y: Vector, z: Vector) -> Vectors:
    """Gradient to the direction, from the gradients to the basis values in ``block``."""
    zero = broadcast(np.float32(0.0))
    v_x, v_y, v_z = zero, zero, zero
    if bases > 1:
        v_x, v_y, v_z = -C1 * load(block, 48), -C1 * load(block, 16), C1 * load(block, 32)
    if bases > 4:
        xy, yz, zz = (2.0 * C2[3]) * load(block, 64), -C2[0] * load(block, 80), (2.0 * C2[1]) * load(block, 96)
        xz, difference = -C2[0] * load(block, 112), (2.0 * C2[3]) * load(block, 128)
        v_x = v_x + xy * y + xz * z + difference * x
        v_y = v_y + xy * x + yz * z - difference * y
        v_z = v_z + yz * y + zz * z + xz * x
    if bases > 9:
        b9, b10, b11, b12 = load(block, 144), load(block, 160), load(block, 176), load(block, 192)
        b13, b14, b15 = load(block, 208), load(block, 224), load(block, 240)
        three, two = -3.0 * C3[0] * (x * x - y * y), 2.0 * C3[1]
        ring, turn = C3[3] - C3[2] * z * z, -6.0 * C3[0] * x * y
        v_x = v_x + turn * b9 + two * y * z * b10 + ring * b13 + two * x * z * b14 + three * b15
        v_y = v_y + three * b9 + two * x * z * b10 + ring * b11 - two * y * z * b14 - turn * b15
        by_ring = (-2.0 * C3[2]) * z * (y * b11 + x * b13)
        v_z = v_z + two * x * y * b10 + by_ring + (3.0 * C3[4] * z * z - C3[5]) * b12 + C3[1] * (x * x - y * y) * b14
    return v_x, v_y, v_z


@kernel
def _colors(
    worker: int, workers: int, sizes: _Sizes, means: Array, coefficients: Array, centers: Array, colors: Array
) -> None:
    blocks, block = (sizes.splats + 15) // 16, np.empty(256, np.float32)
    half, zero = np.float32(0.5), np.float32(0.0)
    for item in range(worker * sizes.views * blocks // workers, (worker + 1) * sizes.views * blocks // workers):
        view = item // blocks
        first = min((item - view * blocks) * 16, sizes.splats - 16)
        g, out = view // sizes.views_per_scene * sizes.splats + first, view * sizes.splats + first
        x, y, z, _ = _direction(means, g, centers, view)
        _store_basis(block, sizes.bases, x, y, z)
        for lane in range(16):
            red, green, blue, at = half, half, half, (g + lane) * sizes.stride
            for k in range(sizes.bases):
                b = block[16 * k + lane]
                red += b * coefficients[at + 3 * k]
                green += b * coefficients[at + 3 * k + 1]
                blue += b * coefficients[at + 3 * k + 2]
            colors[3 * (out + lane)] = max(red, zero)
            colors[3 * (out + lane) + 1] = max(green, zero)
            colors[3 * (out + lane) + 2] = max(blue, zero)


@kernel
def _colors_backward(
    worker: int,
    workers: int,
    sizes: _Sizes,
    means: Array,
    coefficients: Array,
    centers: Array,
    colors: Array,
    v_colors: Array,
    v_means: Array,
    v_coefficients: Array,
    v_centers: Array,
) -> None:
    """Adds to ``v_coefficients`` (zero before), writes ``v_means`` and ``v_centers`` [blocks, V, 3]."""
    blocks, scenes = (sizes.splats + 15) // 16, sizes.views // sizes.views_per_scene
    basis, v_basis = np.empty(256, np.float32), np.empty(256, np.float32)
    zero, nothing = broadcast(np.float32(0.0)), np.float32(0.0)
    for item in range(worker * scenes * blocks // workers, (worker + 1) * scenes * blocks // workers):
        scene = item // blocks
        block = item - scene * blocks
        first = min(block * 16, sizes.splats - 16)
        g, repeated = scene * sizes.splats + first, block * 16 - first  # lanes that the block before has done
        fresh = lane_numbers() >= np.float32(repeated)
        m_x, m_y, m_z = zero, zero, zero
        for view in range(scene * sizes.views_per_scene, (scene + 1) * sizes.views_per_scene):
            x, y, z, inverse = _direction(means, g, centers, view)
            _store_basis(basis, sizes.bases, x, y, z)
            for lane in range(16):
                at, c = (g + lane) * sizes.stride, 3 * (view * sizes.splats + first + lane)
                red = v_colors[c] if colors[c] > nothing else nothing
                green = v_colors[c + 1] if colors[c + 1] > nothing else nothing
                blue = v_colors[c + 2] if colors[c + 2] > nothing else nothing
                drawn = red != nothing or green != nothing or blue != nothing  # else the coefficients may be NaN
                for k in range(sizes.bases):
                    p, i = at + 3 * k, 16 * k + lane
                    v_basis[i] = nothing
                    if drawn:
                        v_basis[i] = red * coefficients[p] + green * coefficients[p + 1] + blue * coefficients[p + 2]
                    if drawn and lane >= repeated:
                        v_coefficients[p] += basis[i] * red
                        v_coefficients[p + 1] += basis[i] * green
                        v_coefficients[p + 2] += basis[i] * blue
            v_x, v_y, v_z = _basis_gradient(v_basis, sizes.bases, x, y, z)
            radial = v_x * x + v_y * y + v_z * z
            v_x, v_y, v_z = (v_x - radial * x) * inverse, (v_y - radial * y) * inverse, (v_z - radial * z) * inverse
            m_x, m_y, m_z = m_x + v_x, m_y + v_y, m_z + v_z
            at = (block * sizes.views + view) * 3
            v_centers[at] = -lane_sum(select(fresh, v_x, 0.0))
            v_centers[at + 1] = -lane_sum(select(fresh, v_y, 0.0))
            v_centers[at + 2] = -lane_sum(select(fresh, v_z, 0.0))
        store3(v_means, 3 * g, m_x, m_y, m_z)
