"""The fused loss against plain torch in float64, and its laws."""

from __future__ import annotations

import pytest
import torch

from studio.errors import StudioError
from studio.kernels.photometric import photometric_loss, ssim, ssim_reference
from tests.studio.kernels.scenes import relative


def _images(batch: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(height)
    render = torch.rand(batch, height, width, 3, generator=random)
    target = 0.7 * render + 0.3 * torch.rand(batch, height, width, 3, generator=random)
    return render, target, torch.rand(batch, height, width, generator=random)


def _exact(render: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None, share: float) -> torch.Tensor:
    error = (1 - share) * (render - target).abs() + share * (1 - ssim_reference(render, target))
    return error.mean() if weight is None else (error.mean(dim=-1) * weight).sum() / weight.sum()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 5), (1, 16, 16), (2, 37, 45), (3, 20, 17), (1, 100, 31)])
def test_value_and_gradient_equal_the_reference(shape, weighted):
    render, target, weight = _images(*shape)
    weight = weight if weighted else None
    fast, slow = render.clone().requires_grad_(), render.double().requires_grad_()
    loss = photometric_loss(fast, target, weight, 0.3)
    exact = _exact(slow, target.double(), None if weight is None else weight.double(), 0.3)
    loss.backward()
    exact.backward()
    assert float(loss.detach()) == pytest.approx(float(exact.detach()), abs=1e-6)
    assert relative(fast.grad, slow.grad) < 1e-5
    assert float((ssim(render, target) - ssim_reference(render.double(), target.double())).abs().max()) < 1e-5


def test_reference_gradient_is_the_derivative():
    render, target, weight = (value.double() for value in _images(1, 6, 7))
    assert torch.autograd.gradcheck(lambda image: _exact(image, target, weight, 0.2), render.requires_grad_())


def test_equal_images_cost_nothing_and_ssim_is_symmetric():
    render, target, _ = _images(2, 24, 30)
    assert float(photometric_loss(render, render)) == pytest.approx(0.0, abs=1e-6)
    assert torch.allclose(ssim(render, render), torch.ones(2, 24, 30, 3), atol=1e-5)
    assert torch.allclose(ssim(render, target), ssim(target, render), atol=1e-6)


def test_pixels_of_weight_zero_only_matter_as_neighbours():
    render, target, weight = _images(1, 40, 40)
    weight[:, :, 20:] = 0.0
    image = render.clone().requires_grad_()
    photometric_loss(image, target, weight).backward()
    assert float(image.grad[:, :, 25:].abs().max()) == 0.0
    assert float(image.grad[:, :, 20:25].abs().max()) > 0.0
    assert float(photometric_loss(render, target, torch.zeros_like(weight))) == 0.0


def test_gradient_scales_with_the_loss_and_repeats_bit_by_bit(monkeypatch):
    render, target, weight = _images(2, 50, 60)
    gradients = []
    for workers in ("1", "3"):
        monkeypatch.setenv("STUDIO_THREADS", workers)
        image = render.clone().requires_grad_()
        loss = photometric_loss(image, target, weight)
        gradients += torch.autograd.grad(3.0 * loss, image, retain_graph=True)
        gradients += torch.autograd.grad(loss, image)
    assert torch.equal(gradients[0], gradients[2])
    assert torch.allclose(gradients[0], 3.0 * gradients[1])


def test_shapes_are_checked():
    with pytest.raises(StudioError, match="images do not fit together"):
        photometric_loss(torch.zeros(1, 4, 4, 3), torch.zeros(1, 4, 5, 3))
    with pytest.raises(StudioError, match="images do not fit together"):
        photometric_loss(torch.zeros(4, 4, 3), torch.zeros(4, 4, 3))
