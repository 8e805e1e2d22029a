"""Composites are what plain torch gives, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from studio.avatar import RenderOutput
from studio.errors import StudioError
from studio.kernels.composite import composite, composite_uint8
from studio.media.images import to_uint8


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (4, 4), (7, 9), (33, 20)])
@pytest.mark.parametrize("kind", ["colour", "image", "images"])
def test_pixels_equal_plain_torch(size: tuple[int, int], kind: str) -> None:
    random = torch.Generator().manual_seed(size[0])
    alpha = torch.rand(2, *size, generator=random)
    rgb = 1.2 * torch.rand(2, *size, 3, generator=random) * alpha[..., None]  # some brighter than white
    shape = {"colour": (3,), "image": (*size, 3), "images": (2, *size, 3)}[kind]
    background = torch.rand(shape, generator=random)
    output = RenderOutput(rgb, alpha, lambda: torch.zeros_like(alpha))
    np.testing.assert_array_equal(output.pixels(background), to_uint8(output.over(background).numpy()))


def test_by_hand() -> None:
    """Nothing, all and half of a person before a wall of 0.2; 0.5·255 rounds to 128."""
    rgb = torch.zeros(1, 4, 4, 3)
    rgb[0, 0, 1], rgb[0, 0, 2], rgb[0, 0, 3] = torch.tensor([1.0, 0.0, 0.5]), 0.25, -1.0
    alpha = torch.zeros(1, 4, 4)
    alpha[0, 0, 1], alpha[0, 0, 2] = 1.0, 0.5
    found = composite_uint8(rgb, alpha, torch.full((3,), 0.2))[0, 0]
    assert found.tolist() == [[51, 51, 51], [255, 0, 128], [89, 89, 89], [0, 0, 0]]


def test_a_background_of_another_size_is_refused() -> None:
    with pytest.raises(StudioError, match="background"):
        composite_uint8(torch.zeros(1, 4, 4, 3), torch.zeros(1, 4, 4), torch.zeros(4, 5, 3))


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (4, 4), (7, 9), (33, 20)])
@pytest.mark.parametrize("kind", ["colour", "image", "images"])
@pytest.mark.parametrize("views", [1, 2])
def test_gradients_equal_plain_torch(size: tuple[int, int], kind: str, views: int) -> None:
    random = torch.Generator().manual_seed(size[0])
    shape = {"colour": (3,), "image": (*size, 3), "images": (views, *size, 3)}[kind]
    shapes = ((views, *size, 3), (views, *size), shape)
    given = [torch.rand(s, generator=random).requires_grad_() for s in shapes]
    exact = [value.detach().double().requires_grad_() for value in given]
    cotangent = torch.randn(shapes[0], generator=random)
    image = composite(*given)
    assert torch.equal(image, RenderOutput(given[0], given[1], lambda: given[1]).over(given[2]))
    reference = exact[0] + (1 - exact[1])[..., None] * exact[2]
    found = torch.autograd.grad(image, given, cotangent)
    for value, expected in zip(found, torch.autograd.grad(reference, exact, cotangent.double())):
        assert value.shape == expected.shape
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-5)
    image = composite(given[0], given[1], given[2].detach())
    assert torch.equal(torch.autograd.grad(image, given[1], cotangent)[0], found[1])
