"""The fused loss of a view against plain torch in float64, and its laws."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from studio.errors import StudioError
from studio.kernels.view_loss import Target, Weights, view_loss, view_loss_reference
from tests.studio.kernels.scenes import relative

WEIGHTS = Weights(ssim=0.2, emphasis=3.0, matte=0.1, unsure=5)


def _scene(height: int, width: int, behind: str, matted: bool, as_bytes: bool) -> tuple[list[Tensor], Target]:
    random = torch.Generator().manual_seed(height)
    alpha = torch.rand(1, height, width, generator=random)
    rgb = torch.rand(1, height, width, 3, generator=random) * alpha[..., None]
    background = torch.rand((3,) if behind == "colour" else (height, width, 3), generator=random)
    photo = torch.randint(256, (height, width, 3), generator=random, dtype=torch.uint8)
    marked = torch.randint(2, (height, width), generator=random, dtype=torch.uint8)
    matte = torch.randint(256, (height, width), generator=random, dtype=torch.uint8)
    matte[0] = torch.tensor([0, 5, 6, 255, 250, 249, 128, 127] * 32)[:width]
    matte[1] = 0
    alpha[0, 0, 0], alpha[0, 0, 3] = 0.0, 1.0  # errors of exactly 0 pull nowhere
    return [rgb, alpha, background], Target(photo if as_bytes else photo / 255, marked, matte if matted else None)


@pytest.mark.parametrize("size", [(2, 5), (3, 16), (21, 17), (50, 61)])
@pytest.mark.parametrize("behind", ["colour", "image"])
@pytest.mark.parametrize(("matted", "as_bytes"), [(False, True), (True, True), (True, False)])
def test_value_and_gradients_equal_the_reference(
    size: tuple[int, int], behind: str, matted: bool, as_bytes: bool
) -> None:
    given, target = _scene(*size, behind, matted, as_bytes)
    fast = [value.clone().requires_grad_(behind == "image" or value.ndim > 1) for value in given]
    slow = [value.double().requires_grad_() for value in given]
    loss = view_loss(fast[0], fast[1], fast[2], target, WEIGHTS)
    exact = view_loss_reference(slow[0], slow[1], slow[2], replace(target, image=target.image), WEIGHTS)
    (3 * loss).backward()
    (3 * exact).backward()
    assert float(loss.detach()) == pytest.approx(float(exact.detach()), abs=1e-6)
    for a, b in zip(fast, slow):
        if a.requires_grad:
            assert relative(a.grad, b.grad) < 1e-5


def test_the_reference_by_hand() -> None:
    """Half a person of white before black, the photo grey, a quarter of the pixels marked, matte: somebody."""
    rgb, alpha = torch.full((1, 4, 4, 3), 0.5), torch.full((1, 4, 4), 0.5)
    target = Target(torch.full((4, 4, 3), 0.25), torch.zeros(4, 4, dtype=torch.uint8), torch.full((4, 4), 255).byte())
    weights = Weights(ssim=0.0, emphasis=3.0, matte=0.2, unsure=5)
    assert float(view_loss(rgb, alpha, torch.zeros(3), target, weights)) == pytest.approx(0.25 + 0.2 * 0.5)
    target.marked[0] = 1
    rgb[0, 0] = 0.25
    assert float(view_loss(rgb, alpha, torch.zeros(3), target, weights)) == pytest.approx(0.25 * 12 / 28 + 0.1)


def test_a_background_learns_only_where_the_matte_says_nobody() -> None:
    given, target = _scene(20, 20, "image", True, True)
    behind = given[2].requires_grad_()
    view_loss(given[0], given[1], behind, target, WEIGHTS).backward()
    assert target.matte is not None
    assert float(behind.grad[target.matte > 0].abs().max()) == 0.0
    assert float(behind.grad[target.matte == 0].abs().min()) > 0.0


def test_any_number_of_workers_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for workers in ("1", "3"):
        monkeypatch.setenv("STUDIO_THREADS", workers)
        given, target = _scene(130, 140, "image", True, True)
        given = [value.requires_grad_() for value in given]
        loss = view_loss(given[0], given[1], given[2], target, WEIGHTS)
        found.append([loss.detach(), *torch.autograd.grad(loss, given)])
    assert all(torch.equal(a, b) for a, b in zip(*found))


def test_a_second_backward_pass_and_images_that_do_not_fit_are_refused() -> None:
    given, target = _scene(20, 20, "image", True, True)
    loss = view_loss(given[0].requires_grad_(), given[1], given[2], target, WEIGHTS)
    loss.backward(retain_graph=True)
    with pytest.raises(StudioError, match="second backward"):
        loss.backward()
    with pytest.raises(StudioError, match="do not fit"):
        view_loss(given[0], given[1], torch.zeros(19, 20, 3), target, WEIGHTS)
