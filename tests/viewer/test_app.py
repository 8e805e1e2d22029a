"""The whole viewer: a real server, talked to as a browser does."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from studio.codes import Codes, CodeSpace, CodeTrack
from studio.errors import StudioError
from studio.provenance.claims import RENDERED
from studio.provenance.seal import Claim, verify
from tests.viewer.avatars import CardAvatar, MeshAvatar, still, stripes
from tests.viewer.browser import Browser
from viewer.app import Viewer
from viewer.session import Split
from viewer.settings import ViewerConfig
from viewer.subject import Subject
from viewer.views import Viewpoints

ANY_PORT = ViewerConfig(port=0)
SIZE = (320, 240)


@pytest.fixture
def viewer(talking: CodeTrack) -> Iterator[Viewer]:
    with Viewer(CardAvatar(stripes()), talking, ANY_PORT) as viewer:
        yield viewer


@pytest.fixture
def browser(viewer: Viewer) -> Iterator[Browser]:
    """Connected, before the face, with the full-resolution picture."""
    with Browser(viewer.url) as browser:
        look_from_front(browser)
        yield browser


def look_from_front(browser: Browser, size: tuple[int, int] = SIZE) -> None:
    points = Viewpoints.of(CardAvatar())
    browser.look(points.front, points.front_fov, *size)
    browser.wait(lambda: shows(browser, size))


def shows(browser: Browser, size: tuple[int, int]) -> bool:
    return browser.picture is not None and browser.picture.shape == (size[1], size[0], 3)


def red(browser: Browser) -> int:
    """How red the middle of the picture is, 0..255: what jawOpen does to the card."""
    assert browser.picture is not None
    height, width = browser.picture.shape[:2]
    return int(browser.picture[height // 2, width // 2, 0])


def test_a_browser_gets_a_picture_of_its_own_size(browser: Browser) -> None:
    assert browser.picture is not None
    middle, corner = browser.picture[120, 160].astype(int), browser.picture[2, 2].astype(int)
    assert np.abs(middle - (0, 128, 128)).max() < 8
    assert np.abs(corner - corner.mean()).max() < 12, "no backdrop"
    look_from_front(browser, (200, 300))


def test_two_to_compare_begin_side_by_side() -> None:
    subject = Subject(CardAvatar(), "anna", rival=CardAvatar(), rival_name="anna2")
    with Viewer(subject, None, ANY_PORT) as viewer:
        assert viewer._desk.session.scene.split == Split("rival", "side")


def test_pictures_are_no_larger_than_asked() -> None:
    with Viewer(CardAvatar(), None, ViewerConfig(port=0, size=100)) as viewer, Browser(viewer.url) as browser:
        points = Viewpoints.of(CardAvatar())
        browser.look(points.front, points.front_fov, 1600, 800)
        browser.wait(lambda: shows(browser, (100, 50)))


def test_a_slider_changes_the_picture_and_reset_brings_it_back(browser: Browser) -> None:
    browser.turn("jawOpen", 1.0)
    browser.wait(lambda: red(browser) > 240 and shows(browser, SIZE))
    browser.click("Reset jaw")
    browser.wait(lambda: red(browser) < 15)
    assert browser.value("jawOpen") == 0.0


def test_both_sides_move_together_unless_told_otherwise(browser: Browser) -> None:
    browser.turn("mouthSmileLeft", 0.5)
    browser.wait(lambda: browser.value("mouthSmileRight") == 0.5 and shows(browser, SIZE))
    browser.turn("Both sides", False)
    browser.turn("mouthSmileLeft", 0.9)
    browser.wait(lambda: shows(browser, SIZE))
    browser.turn("jawOpen", 1.0)
    browser.wait(lambda: red(browser) > 240)
    assert browser.value("mouthSmileRight") == 0.5


def test_playing_moves_picture_and_sliders_and_scrubbing_stays(browser: Browser, talking: CodeTrack) -> None:
    start = browser.pictures
    browser.click("Space")
    browser.wait(lambda: browser.pictures > start + 10 and browser.value("Frame") > 5)
    assert browser.widgets[browser.find("Space")]["props"]["label"] == "Pause"
    browser.wait(lambda: browser.value("jawOpen") > 0.2)
    browser.click("Space")
    browser.wait(lambda: browser.widgets[browser.find("Space")]["props"]["label"] == "Play")
    browser.turn("Frame", 49)
    browser.wait(lambda: red(browser) > 240 and browser.value("jawOpen") == 1.0)
    browser.turn("Frame", 0)
    browser.wait(lambda: red(browser) < 15 and shows(browser, SIZE))


def test_turning_both_eyes_moves_the_sliders_of_each(browser: Browser) -> None:
    browser.turn("both eyes, upwards", 0.5)
    browser.wait(lambda: browser.value("eyeLookUpLeft") == browser.value("eyeLookUpRight") == 0.5)
    browser.turn("eyeLookUpLeft", 0.0)
    browser.wait(lambda: browser.value("both eyes, upwards") == 0.0)


def test_a_hand_on_a_slider_takes_over_from_the_track(browser: Browser) -> None:
    browser.click("Space")
    browser.wait(lambda: browser.value("Frame") > 5)
    browser.turn("jawOpen", 1.0)
    browser.wait(lambda: browser.widgets[browser.find("Space")]["props"]["label"] == "Play")
    browser.wait(lambda: red(browser) > 240 and shows(browser, SIZE))
    assert browser.value("jawOpen") == 1.0
    browser.click("Expression and pose as they rest")
    browser.wait(lambda: red(browser) < 15 and browser.value("jawOpen") == 0.0)


def test_presets_make_a_face_and_say_what_was_never_seen(browser: Browser) -> None:
    browser.turn("Try", "Surprise")
    browser.wait(lambda: browser.value("jawOpen") == 0.45 and red(browser) > 90)
    said = [str(widget["props"].get("_markdown")) for widget in browser.widgets.values()]
    assert any("Beyond the recording" in text and "eyeWideLeft" in text for text in said)


def test_the_captures_camera_shows_the_footage(browser: Browser) -> None:
    browser.click("As the recording saw it")
    browser.wait(lambda: len(browser.camera_moves) >= 3)
    points = Viewpoints.of(CardAvatar())
    sent = {move["type"]: move for move in browser.camera_moves}
    assert sent["SetCameraPositionMessage"]["position"] == pytest.approx(points.capture.position.tolist(), abs=1e-6)
    browser.look(points.capture, points.capture_fov(SIZE[0] / SIZE[1]), *SIZE)

    def is_striped() -> bool:
        return shows(browser, SIZE) and float(browser.picture[10].astype(int).std(axis=0)[1]) > 30

    browser.wait(is_striped)
    browser.turn("Background", "Colour")
    browser.wait(lambda: not is_striped() and shows(browser, SIZE))


def test_a_saved_picture_is_the_view_at_full_resolution(browser: Browser, tmp_path: Path) -> None:
    browser.click("PNG at full resolution")
    browser.wait(lambda: any(file["type"] == "FileTransferPart" for file in browser.files))
    data = b"".join(file["content"] for file in browser.files if file["type"] == "FileTransferPart")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert image.shape == (SIZE[1], SIZE[0], 3)
    assert browser.files[0]["filename"].endswith(".png")
    if find_spec("c2pa") is not None:
        (tmp_path / "saved.png").write_bytes(data)
        assert verify(tmp_path / "saved.png").claim == Claim(RENDERED)


def test_browsers_have_their_own_camera_and_share_the_face(viewer: Viewer, browser: Browser) -> None:
    with Browser(viewer.url) as other:
        look_from_front(other, (120, 90))
        browser.turn("jawOpen", 1.0)
        other.wait(lambda: red(other) > 240 and shows(other, (120, 90)))
        browser.wait(lambda: red(browser) > 240 and shows(browser, SIZE))
        other.wait(lambda: other.value("jawOpen") == 1.0)


def test_who_leaves_or_shows_nothing_harms_nobody(viewer: Viewer, browser: Browser) -> None:
    points = Viewpoints.of(CardAvatar())
    for size in ((0, 0), (1, 1)):
        with Browser(viewer.url) as other:
            other.look(points.front, points.front_fov, *size)
            other.look(points.front, float("nan"), 64, 64)
            other.send_garbage(b"\xc1 no message at all")
    browser.turn("eyeBlinkLeft", float("nan"))
    browser.turn("jawOpen", 1e9)
    browser.wait(lambda: red(browser) > 240 and shows(browser, SIZE))


def test_an_avatar_that_fails_says_so_and_the_viewer_lives_on(
    browser: Browser, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(CardAvatar, "render", lambda *_: (_ for _ in ()).throw(ValueError("out of paint")))
        browser.turn("jawOpen", 0.5)
        end = time.monotonic() + 10
        said = ""
        while "out of paint" not in said and time.monotonic() < end:
            time.sleep(0.02)
            said += capsys.readouterr().err
    assert "could not be drawn: ValueError: out of paint" in said
    browser.turn("jawOpen", 1.0)
    browser.wait(lambda: red(browser) > 240)


def test_a_real_head_opens_its_mouth(mesh_avatar: MeshAvatar) -> None:
    with Viewer(mesh_avatar, None, ANY_PORT) as viewer, Browser(viewer.url) as browser:
        points = Viewpoints.of(mesh_avatar)
        browser.look(points.front, points.front_fov, *SIZE)
        browser.wait(lambda: shows(browser, SIZE))
        closed = browser.picture
        browser.turn("jawOpen", 1.0)
        before = browser.pictures
        browser.wait(lambda: browser.pictures > before + 1 and shows(browser, SIZE))
        assert closed is not None
        assert browser.picture is not None
        change = np.abs(browser.picture.astype(int) - closed).mean(axis=(1, 2))
        assert change[140:200].mean() > 5 * change[:110].mean() + 1, "only the lower half of the face moves"


def test_closing_ends_everything(talking: CodeTrack) -> None:
    before = {thread for thread in threading.enumerate() if thread.name.startswith("viewer-")}
    viewer = Viewer(CardAvatar(), talking, ANY_PORT)
    port = int(viewer.url.rsplit(":", 1)[1])
    with Browser(viewer.url) as browser:
        look_from_front(browser)
        browser.click("Space")
        viewer.close()
        with pytest.raises(ConnectionClosed):
            browser.wait(lambda: False, seconds=10)
    after = {thread for thread in threading.enumerate() if thread.name.startswith("viewer-") and thread.is_alive()}
    assert after <= before
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


def test_a_static_avatar_has_no_face_to_move() -> None:
    avatar = CardAvatar()
    avatar.space = CodeSpace("static", ())
    avatar.codes = Codes.neutral(avatar.space)
    with Viewer(avatar, None, ANY_PORT) as viewer, Browser(viewer.url) as browser:
        points = Viewpoints.of(avatar)
        browser.look(points.front, points.front_fov, *SIZE)
        browser.wait(lambda: shows(browser, SIZE))
        with pytest.raises(KeyError):
            browser.find("Both sides")


def test_a_track_of_another_space_is_refused() -> None:
    track = still(Codes.neutral(CodeSpace("flame2023/100", ("exp0",))))
    with pytest.raises(StudioError, match=r"the track.*another space.*retarget"):
        Viewer(CardAvatar(), track, ANY_PORT)


@pytest.mark.parametrize("settings", [{"size": 8}, {"backdrop": (0, 0, 300)}])
def test_impossible_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(StudioError, match="the viewer's"):
        ViewerConfig(**settings)  # type: ignore[arg-type]


def test_ctrl_c_ends_it_cleanly() -> None:
    code = (
        # A shell that runs the tests in the background makes them, and what they start, ignore Ctrl-C.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from tests.viewer.avatars import CardAvatar; from viewer.settings import ViewerConfig;"
        "from viewer.start import start; from viewer.subject import Subject;"
        "start(lambda: Subject(CardAvatar()), ViewerConfig(port=0))"
    )
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", code], cwd=root, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "http://127.0.0.1:" in line
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "Traceback" not in rest
