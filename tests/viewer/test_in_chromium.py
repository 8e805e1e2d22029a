"""The viewer in a real browser: loading, sliders, scrubbing, playing, sound, links, reconnecting, errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from capture.landmarker import Landmarker
from studio.assets import find_asset
from studio.codes import Codes
from studio.media.audio import Audio
from tests.viewer.avatars import CardAvatar, MeshAvatar, still
from viewer.app import Viewer
from viewer.chromium import StudioPage, browser, why_no_browser
from viewer.settings import ViewerConfig
from viewer.subject import Subject
from viewer.transport import Reel

pytestmark = pytest.mark.skipif(why_no_browser() is not None, reason=str(why_no_browser()))
WINDOW = (860, 560)
CONFIG = ViewerConfig(port=0, size=300)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def landmarker() -> Iterator[Landmarker]:
    if find_asset("face_landmarker") is None:
        pytest.skip("MediaPipe's face landmarker is not there")
    found = Landmarker()
    yield found
    found.close()


@pytest.fixture(scope="module")
def nodding() -> Reel:
    """Four seconds with sound: the jaw opens while the head turns."""
    track = still(Codes.neutral(), frames=100)
    codes = track.codes.with_channels(jawOpen=torch.linspace(0.0, 1.0, 100))
    tone = np.sin(np.arange(4 * 16000) * 0.2)[:, None].astype(np.float32) * 0.1
    return Reel(replace(track, codes=codes), Audio(tone, 16000), "nodding")


@pytest.fixture(scope="module")
def viewer(mesh_avatar: MeshAvatar, nodding: Reel) -> Iterator[Viewer]:
    with Viewer(Subject(mesh_avatar, "anna", reel=nodding), None, CONFIG) as viewer:
        yield viewer


@pytest.fixture(scope="module")
def shared_page(viewer: Viewer, chromium: Any) -> Iterator[StudioPage]:
    with StudioPage(chromium, viewer.url, WINDOW) as page:
        page.wait(page.sees_head, 120)
        yield page


@pytest.fixture
def page(shared_page: StudioPage) -> Iterator[StudioPage]:
    """At rest, from the front."""
    shared_page.key("r")
    shared_page.key("f")
    shared_page.settled()
    yield shared_page
    assert not shared_page.errors


def moved(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Mean change of each row."""
    return np.abs(before.astype(int) - after).mean(axis=(1, 2))


def sound_error(told: dict[str, Any]) -> float:
    """Seconds by which the page's sound is ahead of where it should be, in a loop of four; 9 when it is silent."""
    return (told["time"] - told["target"] + 2) % 4 - 2 if told["playing"] else 9.0


def test_a_dragged_slider_opens_the_mouth_and_nothing_else(page: StudioPage) -> None:
    closed = page.settled()
    page.tab("Face")
    page.row("Open").scroll_into_view_if_needed()
    page.drag("Open", 1.0)
    page.wait(lambda: page.number("Open") > 0.9)
    change = moved(closed, page.settled())
    height = len(change)
    assert change[round(0.6 * height) : round(0.8 * height)].mean() > 5 * change[: round(0.5 * height)].mean() + 1


def test_who_knows_faces_sees_the_head_turn_and_the_mouth_open(page: StudioPage, landmarker: Landmarker) -> None:
    def seen() -> tuple[float, float]:
        """How far the nose is to the right of the middle of the face, and the mouth open; both of the face's width."""
        faces = landmarker.detect(page.picture())
        if len(faces) != 1:
            return 0.0, 0.0
        nose, left, right, upper, lower = (faces[0].points[index, :2] for index in (1, 234, 454, 13, 14))
        width = float(np.linalg.norm(right - left))
        return float(nose[0] - (left[0] + right[0]) / 2) / width, float(lower[1] - upper[1]) / width

    turned, opened = seen()
    assert abs(turned) < 0.1
    assert opened < 0.08
    page.tab("Pose")
    page.type_number("Turn", 20)
    page.wait(lambda: seen()[0] > turned + 0.1, every=0.5)
    page.tab("Face")
    page.type_number("Open", 0.8)
    page.wait(lambda: seen()[1] > opened + 0.1, every=0.5)


def test_scrubbing_and_playing_move_the_face(viewer: Viewer, page: StudioPage) -> None:
    page.tab("Play")
    page.type_number("Frame", 0)
    closed = page.settled()
    page.type_number("Frame", 99)
    page.wait(lambda: float(moved(closed, page.picture())[len(closed) // 2 :].mean()) > 1.5)
    page.type_number("Frame", 0)
    clock = viewer._desk.transport.player
    page.key("Space")
    page.wait(lambda: clock.clock.is_playing)
    page.wait(lambda: page.number("Frame") > 5)
    page.key("Space")
    page.wait(lambda: not clock.clock.is_playing)
    page.wait(lambda: page.number("Frame") == clock.frame)


def test_sound_goes_with_the_pictures(viewer: Viewer, page: StudioPage) -> None:
    desk = viewer._desk
    (client,) = desk.server.get_clients().values()
    desk.transport.seek(0)
    desk.transport.toggle()
    try:
        page.wait(lambda: abs(sound_error(desk.pages.ask(client, "sound"))) < 0.03)
        assert not desk.pages.ask(client, "sound")["blocked"]
    finally:
        desk.transport.pause()
    page.wait(lambda: not desk.pages.ask(client, "sound")["playing"])


def test_help_and_light(page: StudioPage) -> None:
    page.key("h")
    page.wait(lambda: "Keys and mouse" in page.text() and "Play or pause" in page.text())
    page.press("Close")
    dark = page.screenshot()[-40:, -40:].mean()
    page.key("l")
    page.wait(lambda: page.screenshot()[-40:, -40:].mean() > dark + 80)
    page.key("l")


def test_a_link_shows_the_same_view_again(viewer: Viewer, page: StudioPage, chromium: Any) -> None:
    session = viewer._desk.session
    page.tab("Pose")
    page.type_number("Turn", -25)
    page.key("2")
    page.wait(lambda: session.scene.mode == "depth")
    shown = session.scene
    page.key("k")
    page.wait(lambda: "?view=" in page.page.url)
    session.pose(lambda _: session.rest)
    session.show(mode="colour")
    with StudioPage(chromium, page.page.url, WINDOW) as other:
        other.wait(lambda: session.scene.mode == "depth")
        assert (session.scene.codes.head_to_world - shown.codes.head_to_world).abs().max() < 1e-4
        other.wait(lambda: np.ptp(other.picture().astype(int), axis=2).max() > 150)  # the bright colours of depth
    session.show(mode="colour")


def test_pages_come_back_after_the_connection_broke(viewer: Viewer, page: StudioPage) -> None:
    viewer._desk.server._websock_server.disconnect_all_clients()
    page.page.wait_for_timeout(500)
    page.wait(lambda: len(viewer._desk.server.get_clients()) == 1)
    page.wait(page.sees_head)
    page.tab("Face")
    closed = page.settled()
    page.type_number("Open", 1.0)
    page.wait(lambda: float(moved(closed, page.picture()).max()) > 3)


def test_windows_of_no_size_and_of_a_tablets(page: StudioPage) -> None:
    for size in ((1, 1), (768, 1024), WINDOW):
        page.page.set_viewport_size({"width": size[0], "height": size[1]})
        page.page.wait_for_timeout(300)
    page.wait(page.sees_head)


def test_an_avatar_that_cannot_be_drawn_says_why(chromium: Any) -> None:
    avatar = CardAvatar()

    def broken(camera: object, codes: Codes) -> object:
        if float(codes.expression.max()) > 0.5:
            raise ValueError("out of paint")
        return CardAvatar.render(avatar, camera, codes)  # type: ignore[arg-type]

    avatar.render = broken  # type: ignore[method-assign, assignment]
    with Viewer(avatar, None, CONFIG) as viewer, StudioPage(chromium, viewer.url, WINDOW) as page:
        page.tab("Face")
        page.type_number("Open", 1.0)
        page.wait(lambda: "out of paint" in page.text())


def test_others_need_the_token(chromium: Any) -> None:
    with Viewer(CardAvatar(), None, replace(CONFIG, host="0.0.0.0")) as viewer:
        port = viewer._desk.server.get_port()
        with StudioPage(chromium, f"http://127.0.0.1:{port}/", WINDOW) as page:
            assert "not open to everybody" in page.text()
        token = viewer.url.partition("?")[2]
        with StudioPage(chromium, f"http://127.0.0.1:{port}/?{token}", WINDOW) as page:
            page.wait(lambda: "Face" in page.text())
            assert "token" not in page.page.url
            page.page.reload()
            page.wait(lambda: "Face" in page.text())
