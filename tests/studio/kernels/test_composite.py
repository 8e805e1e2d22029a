"""Composites are what plain torch gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from studio.avatar import RenderOutput
from studio.errors import StudioError
from studio.kernels.composite import composite_uint8
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
