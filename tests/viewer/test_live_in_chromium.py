"""A real browser's camera and microphone drive the avatar: Chromium's made-up devices, with a film of a drawn head."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from studio.assets import find_asset
from studio.cameras import Camera, focal_from_fov, intrinsics, look_at
from studio.code_range import measure_range
from studio.codes import ARKIT52, CodeTrack
from tests.viewer.avatars import CardAvatar, MeshAvatar
from viewer.app import Viewer
from viewer.chromium import StudioPage, browser, why_no_browser
from viewer.settings import ViewerConfig

pytestmark = [
    pytest.mark.skipif(why_no_browser() is not None, reason=str(why_no_browser())),
    pytest.mark.skipif(find_asset("face_landmarker") is None, reason="MediaPipe's face landmarker is not there"),
]
WINDOW = (860, 560)
SIZE = 320, 240
FACE_FRAMES, EMPTY_FRAMES = 60, 45  # Chromium shows 30 a second, again and again
JAW = ARKIT52.index("jawOpen")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, mesh_avatar: MeshAvatar) -> Path:
    """A head whose mouth stands open, then an empty room."""
    width, height = SIZE
    middle = torch.tensor((0.0, -0.02, 0.0))
    viewmat = look_at(middle + torch.tensor((0.0, 0.0, 0.8)), middle)
    camera = Camera(viewmat[None], intrinsics(focal_from_fov(0.5, height), width, height)[None], width, height)
    wall = torch.full((height, width, 3), 0.6)
    codes = mesh_avatar.codes.with_channels(jawOpen=torch.tensor(0.8))
    face = mesh_avatar.render(camera, codes).pixels(wall)[0]
    path = tmp_path_factory.mktemp("film") / "film.mjpeg"
    path.write_bytes(encoded(face) * FACE_FRAMES + encoded(np.full_like(face, 153)) * EMPTY_FRAMES)
    return path


def encoded(image: np.ndarray) -> bytes:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return data.tobytes()


@pytest.fixture(scope="module")
def chromium(film: Path) -> Iterator[Any]:
    devices = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
    with browser(*devices, f"--use-file-for-fake-video-capture={film}") as running:
        yield running


def test_the_browsers_camera_drives_and_says_when_nobody_is_there(chromium: Any, talking: CodeTrack) -> None:
    avatar = CardAvatar()
    avatar.code_range = measure_range(talking)  # it has learned to open its mouth
    with (
        Viewer(avatar, None, ViewerConfig(port=0, size=300)) as viewer,
        StudioPage(chromium, viewer.url, WINDOW) as page,
    ):
        session = viewer._desk.session
        page.tab("Live")
        page.press("Start")
        page.wait(lambda: float(session.scene.codes.expression[JAW]) > 0.2, 20)
        page.wait(lambda: "Live ·" in page.text())
        page.wait(lambda: "No face in the picture" in page.text())
        shown = session.scene.codes
        page.wait(lambda: session.scene.codes is not shown)  # it is found again
        page.tab("Face")
        page.type_number("Open", 0.1)  # a hand takes over
        page.wait(lambda: abs(float(session.scene.codes.expression[JAW]) - 0.1) < 0.02)
        page.tab("Live")
        # on a busy machine the browser's camera may have fallen silent before
        page.wait(lambda: "Ended." in page.text() or "sends nothing" in page.text())
        assert not page.errors


def test_the_browsers_microphone_drives(chromium: Any) -> None:
    with (
        Viewer(CardAvatar(), None, ViewerConfig(port=0, size=300)) as viewer,
        StudioPage(chromium, viewer.url, WINDOW) as page,
    ):
        before = viewer._desk.session.scene.codes
        page.tab("Live")
        page.choose("Source", "Microphone of this browser")
        page.press("Start")
        page.wait(lambda: viewer._desk.session.scene.codes is not before)
        page.wait(lambda: "Live ·" in page.text())
        page.press("Stop")
        page.wait(lambda: "Ended." in page.text())
        assert not page.errors
