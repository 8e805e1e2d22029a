"""View-dependent colour: real spherical harmonics up to degree 3, with gsplat's signs and order.

A Gaussian's colour is max(0, ½ + Σ_k b_k(d) c_k) with d the unit vector from the camera to it and coefficients c [K, 3],
K = (degree + 1)². Source: Sloan, Efficient Spherical Harmonic Evaluation, 2013; Kerbl et al., 2023.
"""

from __future__ import annotations


import torch
from torch import Tensor

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
    x, y, z = torch.nn.functional.normalize(means - center, dim=-1).unbind(-1)
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
    stacked = torch.stack(basis, dim=-1)
    return ((stacked[:, None] @ coefficients[:, : stacked.shape[-1]])[:, 0] + 0.5).clamp(min=0.0)


def sh_colors(
    means: Tensor,  # [S, N, 3] world
    coefficients: Tensor,  # [S, N, K, 3]
    viewmats: Tensor,  # [V, 4, 4], V a multiple of S; view v looks at scene v // (V / S)
    degree: int,
) -> Tensor:
    """Colours [V, N, 3]."""
    per_scene = len(viewmats) // max(len(means), 1)
    centers = rigid_inverse(viewmats)[:, :3, 3]
    return torch.stack(
        [
            sh_colors_reference(means[view // per_scene], coefficients[view // per_scene], centers[view], degree)
            for view in range(len(viewmats))
        ]
    )
