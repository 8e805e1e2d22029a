"""Spherical harmonics: orthonormal, equal to the reference, and safe where a colour is clamped or not drawn."""

from __future__ import annotations

import math

import pytest
import torch

from studio.kernels.spherical_harmonics import sh_colors, sh_colors_reference
from tests.studio.kernels.scenes import leaves, relative, ring


def test_basis_functions_are_orthonormal():
    """∫ b_i b_j over the sphere is δ_ij (Gauss-Legendre in z, equal steps round it: exact for degree 6)."""
    nodes, weights = (torch.tensor(x) for x in __import__("numpy").polynomial.legendre.leggauss(8))
    angles = torch.arange(16, dtype=torch.float64) * (2 * math.pi / 16)
    z = nodes[:, None].expand(8, 16)
    radius = (1 - z * z).sqrt()
    directions = torch.stack((radius * angles.cos(), radius * angles.sin(), z), dim=-1).reshape(-1, 3)
    measure = (weights[:, None].expand(8, 16) * 2 * math.pi / 16).reshape(-1)
    basis = []
    for k in range(16):
        coefficients = torch.zeros(len(directions), 16, 3, dtype=torch.float64)
        coefficients[:, k] = 0.1
        color = sh_colors_reference(directions, coefficients, torch.zeros(3, dtype=torch.float64), 3)
        basis.append((color[:, 0] - 0.5) / 0.1)
    stacked = torch.stack(basis)
    assert torch.allclose((stacked * measure) @ stacked.T, torch.eye(16, dtype=torch.float64), atol=1e-6)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_colors_and_gradients_equal_the_reference(degree):
    random = torch.Generator().manual_seed(degree)
    values = [torch.randn(2, 37, 3, generator=random), torch.randn(2, 37, 16, 3, generator=random)]
    viewmats = ring(2, 8, 8).viewmats.repeat(2, 1, 1)
    fast, slow = leaves([*values, viewmats], torch.float32), leaves([*values, viewmats], torch.float64)
    colors = sh_colors(*fast, degree)
    centers = -(slow[2][:, :3, :3].mT @ slow[2][:, :3, 3:])[..., 0]
    exact = torch.stack([sh_colors_reference(slow[0][v // 2], slow[1][v // 2], centers[v], degree) for v in range(4)])
    assert float((colors - exact).detach().abs().max()) < 1e-5
    assert float((exact == 0).double().mean()) > 0.01  # some are clamped
    cotangent = torch.randn(colors.shape, generator=random)
    (colors * cotangent).sum().backward()
    (exact * cotangent).sum().backward()
    assert relative(fast[1].grad, slow[1].grad) < 1e-5
    if degree == 0:
        assert float(fast[0].grad.abs().max()) == 0.0
    else:
        assert relative(fast[0].grad, slow[0].grad) < 1e-5
        assert relative(fast[2].grad, slow[2].grad) < 1e-5
