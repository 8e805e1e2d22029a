"""Mattes and emphasis against plain torch."""

from __future__ import annotations

import pytest
import torch

from studio.kernels.view_terms import emphasised, matte_loss


@pytest.mark.parametrize("shape", [(3, 4), (4, 4), (9, 13), (40, 31)])
def test_the_matte_loss_and_its_gradient_equal_torch(shape):
    random = torch.Generator().manual_seed(0)
    matte = torch.randint(256, shape, generator=random, dtype=torch.uint8)
    matte[0] = torch.tensor([0, 5, 6, 255] * 8)[: shape[1]]
    matte[1] = torch.tensor([250, 249, 128, 127] * 8)[: shape[1]]
    alpha = torch.rand(*shape, generator=random)
    alpha[0, 0], alpha[0, 3] = 0.0, 1.0  # errors of exactly 0 pull nowhere
    found, expected = alpha.clone().requires_grad_(), alpha.double().requires_grad_()
    share = matte.double() / 255
    sure = (share - 0.5).abs() > 0.48
    wanted = ((expected - share.round()).abs() * sure).mean()
    value = matte_loss(found, matte, 5)
    assert float(value) == pytest.approx(float(wanted), rel=1e-6)
    (3 * value).backward()
    (3 * wanted).backward()
    assert torch.allclose(found.grad.double(), expected.grad, atol=1e-9)


def test_marked_pixels_count_more():
    marked = torch.tensor([[0, 1, 0], [1, 1, 0]], dtype=torch.uint8)
    assert emphasised(marked, 3.0).tolist() == [[1, 4, 1], [4, 4, 1]]
