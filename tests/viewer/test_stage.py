"""Finished pictures: footage from the capture's camera, a backdrop from everywhere else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from studio.media.images import to_uint8
from tests.viewer.avatars import CardAvatar, stripes
from viewer.session import Scene
from viewer.stage import Shot, Stage, backdrop
from viewer.views import View, Viewpoints

GREY = (100, 100, 100)


def shot_of(avatar: CardAvatar, width: int, height: int, *, with_footage: bool = True) -> tuple[Stage, Shot]:
    """The view from the capture's place."""
    points = Viewpoints.of(avatar)
    view = View(points.capture.viewmat, points.capture_fov(width / height))
    return Stage(avatar, points), Shot(Scene(avatar.codes, GREY, with_footage), view, width, height)


def test_from_the_captures_camera_the_picture_is_the_captures_image() -> None:
    avatar = CardAvatar(stripes())
    stage, shot = shot_of(avatar, 256, 192)
    expected = avatar.render(avatar.camera, avatar.codes).over(stripes())[0]
    assert np.array_equal(stage.draw(shot), to_uint8(expected.numpy()))


@pytest.mark.parametrize("size", [(400, 192), (256, 300)])
def test_a_window_of_another_shape_shows_the_whole_image_on_a_plain_surround(size: tuple[int, int]) -> None:
    avatar = CardAvatar(stripes())
    stage, shot = shot_of(avatar, *size)
    picture = stage.draw(shot)
    assert picture.shape == (size[1], size[0], 3)
    top, left = (size[1] - 192) // 2, (size[0] - 256) // 2
    inner, _ = shot_of(avatar, 256, 192)
    assert np.array_equal(picture[top : top + 192, left : left + 256], inner.draw(shot_of(avatar, 256, 192)[1]))
    assert np.ptp(picture[0, 0].astype(int)) == np.ptp(picture[-1, -1].astype(int)) == 0
    assert picture[0, 0, 0] < GREY[0]


def test_without_footage_the_face_stays_where_it_is() -> None:
    avatar = CardAvatar(stripes())
    with_footage = shot_of(avatar, 256, 192)
    without = shot_of(avatar, 256, 192, with_footage=False)
    card = [np.argwhere(stage.draw(shot)[..., 2] > 125).mean(axis=0) for stage, shot in (with_footage, without)]
    # leaving the footage must not make the picture jump, though the principal point was not in the middle
    assert np.abs(card[0] - card[1]).max() < 2.0


def test_from_elsewhere_the_backdrop_shows() -> None:
    avatar = CardAvatar(stripes())
    stage, shot = shot_of(avatar, 256, 192)
    points = Viewpoints.of(avatar)
    aside = Shot(shot.scene, View(points.front.viewmat, points.front_fov), 256, 192)
    corner = stage.draw(aside)[0, 0]
    assert np.array_equal(corner, to_uint8(backdrop(GREY, 256, 192)[0, 0].numpy()))


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.3, 0.001])
def test_drafts_show_the_same_in_fewer_pixels(scale: float) -> None:
    stage, shot = shot_of(CardAvatar(stripes()), 300, 200, with_footage=False)
    picture = stage.draw(shot, scale)
    assert picture.shape == (max(round(200 * scale), 1), max(round(300 * scale), 1), 3)
    if scale > 0.2:
        full = stage.draw(shot).mean(axis=(0, 1))
        assert np.abs(picture.mean(axis=(0, 1)) - full).max() < 6


def test_the_backdrop_is_brightest_behind_the_head_and_keeps_its_colour() -> None:
    color = torch.tensor((60.0, 90.0, 120.0))
    image = backdrop((60, 90, 120), 64, 48)
    assert image.shape == (48, 64, 3)
    assert image[20, 32].sum() > image[0, 0].sum()
    ratio = image / (color / 255)
    torch.testing.assert_close(ratio[..., 0], ratio[..., 2], atol=1e-5, rtol=0)
