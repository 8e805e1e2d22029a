"""Where a viewer opens, and what the camera keys see."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from studio.codes import Codes
from studio.errors import StudioError
from studio.media.splats.ply import write_ply
from studio.splats import Splats
from tests.viewer.avatars import CardAvatar, still, stripes
from tests.viewer.browser import Browser
from viewer.app import Viewer
from viewer.direction import Direction, Take
from viewer.opening import Request, open_subject
from viewer.panels.key_board import KeyBoard
from viewer.settings import ViewerConfig
from viewer.transport import Reel
from viewer.views import Viewpoints

ANY_PORT = ViewerConfig(port=0)
SIZE = (200, 150)


@pytest.mark.parametrize("has_footage", [False, True])
def test_it_opens_before_the_face_or_where_the_footage_was_filmed(*, has_footage: bool) -> None:
    avatar = CardAvatar(stripes() if has_footage else None)
    points = Viewpoints.of(avatar)
    place = points.capture if has_footage else points.front
    with Viewer(avatar, None, ANY_PORT) as viewer:
        first = viewer._desk.server.initial_camera
        np.testing.assert_allclose(first.position, place.position.numpy(), atol=1e-5)
        np.testing.assert_allclose(first.look_at, place.target.numpy(), atol=1e-5)
    assert float((points.capture.position - points.front.position).norm()) > 0.05, "both places are the same"


def test_bare_splats_open_in_the_middle_of_the_window(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    means = 0.05 * torch.randn(400, 3, generator=generator) + torch.tensor((3.0, -2.0, 5.0))  # wherever it was made
    quats = torch.tensor((1.0, 0.0, 0.0, 0.0)).repeat(400, 1)
    red = torch.tensor((1.5, -1.5, -1.5)).repeat(400, 1, 1)
    write_ply(tmp_path / "bust.ply", Splats(means, quats, torch.full((400, 3), 0.01), torch.full((400,), 0.95), red))
    subject = open_subject(Request(splats=tmp_path / "bust.ply", kernels="cpu"))
    with Viewer(subject, None, ANY_PORT) as viewer, Browser(viewer.url) as browser:
        points = viewer._desk.viewpoints
        browser.look(points.front, points.front_fov, *SIZE)
        browser.wait(lambda: browser.picture is not None and browser.picture.shape[:2] == SIZE[::-1])
        assert browser.picture is not None
        colors = browser.picture.astype(int)
        red_ones = np.argwhere(colors[..., 0] > colors[..., 1] + 60)
    assert len(red_ones) > 0.02 * SIZE[0] * SIZE[1], "hardly anything to be seen"
    assert np.abs(red_ones.mean(0) / SIZE[::-1] - 0.5).max() < 0.15


def test_splats_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bust.ply").write_bytes(b"ply\nformat ascii 1.0\nelement vertex 3\nend_header\n")
    with pytest.raises(StudioError):
        open_subject(Request(splats=tmp_path / "bust.ply"))


@pytest.fixture
def takes() -> list[Take]:
    return []


@pytest.fixture
def viewer() -> Iterator[Viewer]:
    with Viewer(CardAvatar(), None, ANY_PORT) as viewer:
        yield viewer


def test_looking_through_the_camera_keys(tmp_path: Path, viewer: Viewer, takes: list[Take]) -> None:
    still(Codes.neutral(), frames=51).save(tmp_path / "talk")
    desk = replace(viewer._desk, folder=tmp_path)
    direction = Direction(desk.avatar, None, tmp_path, takes.append)
    with Browser(viewer.url) as browser:
        board = KeyBoard(desk, direction)
        points = desk.viewpoints
        browser.look(points.front, points.front_fov, *SIZE)
        browser.wait(lambda: browser.picture is not None)

        def direct(data: dict[str, object]) -> None:
            data["sources"] = {"talk": {"kind": "track", "source": "talk"}}
            data["cameras"] = [{"at": 0.0, "zoom": 1.0}, {"at": 2.0, "zoom": 2.5}]

        direction.edit(direct)
        browser.wait(lambda: bool(takes))
        desk.transport.load(Reel(takes[-1].track))
        (client,) = desk.server.get_clients().values()

        def card_width() -> int:
            if browser.picture is None or browser.picture.shape[:2] != SIZE[::-1]:
                return -1  # a draft
            middle = browser.picture[SIZE[1] // 2].astype(int)
            return int((middle[:, 2] > middle[:, 0] + 60).sum())

        desk.gallery.lead(client, board._path)
        desk.transport.seek(0)
        expected = {frame: card(desk.stage.avatar, board, frame) for frame in (0, 50)}
        assert expected[50] > 1.8 * expected[0] > 20
        for frame in (0, 50, 0):
            desk.transport.seek(frame)
            browser.wait(lambda frame=frame: abs(card_width() - expected[frame]) <= 6)  # type: ignore[misc]
    direction.close()


def card(avatar: object, board: KeyBoard, frame: int) -> int:
    """How wide the card is in the picture that a render takes there, in the browser's pixels."""
    camera = board._path(frame, SIZE[0] / SIZE[1]).camera(*SIZE)
    output = avatar.render(camera, Codes.neutral())  # type: ignore[attr-defined]
    return int((output.alpha[0, SIZE[1] // 2] > 0.5).sum())
