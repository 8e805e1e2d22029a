"""Ways to show an avatar: what their colours mean."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from recon.avatars.static_splats import StaticSplats
from studio.cameras import Camera, focal_from_fov, intrinsics, look_at
from tests.viewer.avatars import CardAvatar
from viewer.modes import MODES, Sight, modes_for, paint, region_colors, surface_normals


def sight(truth: torch.Tensor | None = None) -> Sight:
    avatar = CardAvatar()
    camera = Camera(
        look_at(torch.tensor((0.0, 0.0, 0.9)), torch.zeros(3))[None],
        intrinsics(focal_from_fov(math.radians(30.0), 64), 64, 64)[None],
        64,
        64,
    )
    return Sight(avatar, camera, avatar.codes, torch.full((64, 64, 3), 0.5), truth)


@pytest.mark.parametrize("name", list(MODES))
def test_every_mode_gives_a_picture_even_where_it_does_not_fit(name: str) -> None:
    picture = paint(name, sight())
    assert picture.shape == (64, 64, 3)
    assert picture.dtype == np.uint8


def test_alpha_is_white_where_the_card_is() -> None:
    picture = paint("alpha", sight())
    assert picture[32, 32].tolist() == [255, 255, 255]
    assert picture[2, 2].tolist() == [0, 0, 0]


def test_the_error_is_dark_where_the_picture_is_right_and_bright_where_it_is_not() -> None:
    right = torch.from_numpy(paint("colour", sight())).float() / 255
    wrong = right.clone()
    wrong[:, 32:] = 1 - wrong[:, 32:].round()
    assert paint("error", sight(right)).max() < 40
    picture = paint("error", sight(wrong))
    assert picture[32, 50].sum() > 500 > 60 > picture[32, 10].sum()


def test_normals_of_a_slanted_plane() -> None:
    camera = sight().camera
    y, x = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    rays = torch.stack((x, y, torch.ones_like(x)), -1) @ torch.linalg.inv(camera.Ks[0]).T
    normal = torch.nn.functional.normalize(torch.tensor((0.3, -0.2, -1.0)), dim=0)
    depths = (normal[2] * 1.0) / (rays @ normal)  # the plane through (0, 0, 1)
    found = surface_normals(depths, torch.ones(64, 64, dtype=torch.bool), camera)
    inner = found[12:-12, 12:-12]
    assert float((inner * normal).sum(-1).min()) > 0.99


def test_regions_have_different_colours() -> None:
    colors = region_colors(14)
    apart = torch.cdist(colors, colors) + 9 * torch.eye(14)
    assert float(apart.min()) > 0.1


def test_an_ellipsoid_is_flat_inside_and_ends_sharply() -> None:
    camera = sight().camera
    raw = {
        "means": torch.zeros(1, 3),
        "quats": torch.tensor([[1.0, 0, 0, 0]]),
        "log_scales": torch.full((1, 3), 0.05).log(),
        "opacity_logits": torch.tensor([0.3]),
        "sh0": torch.ones(1, 1, 3),
        "shN": torch.zeros(1, 0, 3),
    }
    avatar = StaticSplats(raw, camera)
    assert "ellipsoids" in modes_for(avatar)
    assert "regions" not in modes_for(avatar)
    shown = replace(sight(), avatar=avatar, codes=avatar.codes, behind=torch.zeros(64, 64, 3))
    row = paint("ellipsoids", shown)[32, :, 0].astype(int)
    radius = 1.5 * 0.05 / 0.9 * float(camera.Ks[0, 0, 0])
    inside, outside = row[round(32 - 0.8 * radius) : round(32 + 0.8 * radius)], row[: round(32 - 1.5 * radius)]
    assert np.ptp(inside) < 6
    assert outside.max() < 0.1 * inside.min()
