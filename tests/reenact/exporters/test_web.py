"""The web player in headless Chromium: the same pictures as the studio's renderer, played and opened as users do."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recon.avatars import load_avatar
from recon.train import train
from recon.train_config import TrainConfig
from reenact.exporters import Subject, export
from reenact.exporters.web import Web
from reenact.web.pack import pack
from studio.cameras import Camera
from studio.codes import Codes
from studio.errors import StudioError
from studio.media.audio import Audio
from studio.provenance.claims import MODEL
from studio.provenance.seal import Claim, verify
from studio.rotations import axis_angle_to_matrix, rigid
from tests.recon.ball import ball_head, ball_track, write_ball_capture

SIZE = 128


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """A ball of 600 Gaussians, with corrections of all kinds, in motion."""
    folder = tmp_path_factory.mktemp("ball")
    capture = write_ball_capture(folder / "capture")
    run = train(capture, ball_track(), ball_head(), TrainConfig(gaussians=600, iterations=3), folder / "run")
    avatar: Any = load_avatar(run)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        avatar.learned.bases.copy_(0.5 * torch.randn(avatar.learned.bases.shape, generator=random))
        avatar.learned.quats.copy_(torch.randn(avatar.learned.quats.shape, generator=random))
        avatar.learned.log_scales.add_(0.3 * torch.randn(avatar.learned.log_scales.shape, generator=random))
    sound = Audio(np.zeros((int(0.32 * 16_000), 1), np.float32), 16_000)
    return Subject(avatar, "ball <b>", ball_track(), audio=sound, claim=Claim(MODEL, consent="nobody was filmed"))


@pytest.fixture(scope="module")
def folder(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(Web(), subject, tmp_path_factory.mktemp("web") / "player")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """The folder behind a server of files."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/index.html"
    server.shutdown()
    thread.join()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The system's browser, without a graphics card."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on this machine")
    flags = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=program, args=flags)
        yield browser
        browser.close()


def _opened(chromium: Any, address: str) -> Any:
    """A page that has drawn its first picture; it may say nothing on its console."""
    page = chromium.new_page(viewport={"width": 640, "height": 400})
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto(address)
    page.wait_for_function("window.player && player.firstPicture !== undefined", timeout=30_000)
    return page


@pytest.fixture(scope="module")
def page(chromium: Any, address: str) -> Any:
    return _opened(chromium, address)


def _drawn(page: Any, camera: Camera, codes: Codes) -> np.ndarray:
    K = camera.Ks[0].tolist()
    state = {
        "view": camera.viewmats[0].flatten().tolist(),
        "lens": [K[0][0], K[1][1], K[0][2], K[1][2]],
        "width": camera.width,
        "height": camera.height,
        "codes": codes.vector().tolist(),
        "head": codes.head_to_world.flatten().tolist(),
    }
    pixels = page.evaluate("async (state) => Array.from(await player.snapshot(state))", state)
    return np.array(pixels, np.uint8).reshape(camera.height, camera.width, 4)[..., :3]


def test_pictures_are_those_of_the_studio(subject: Subject, page: Any) -> None:
    avatar = subject.avatar
    moved = replace(
        avatar.codes.with_channels(browInnerUp=0.8, jawOpen=0.3, eyeLookUpLeft=0.7),
        jaw_pose=torch.tensor([0.2, 0.1, 0.0]),
        neck_pose=torch.tensor([0.2, -0.3, 0.1]),
        neck_translation=torch.tensor([0.01, 0.0, -0.02]),
        head_to_world=rigid(axis_angle_to_matrix(torch.tensor([0.2, 0.4, -0.1])), torch.tensor([0.02, 0.01, 0.03])),
    )
    states = [avatar.codes, avatar.codes.with_channels(jawOpen=1.0), moved]
    wide = Camera(avatar.camera.viewmats, avatar.camera.Ks, SIZE, SIZE // 2)  # not square, not in the middle
    behind = torch.tensor([0x9A, 0xA4, 0xAD]) / 255
    for camera in (avatar.camera.resized(SIZE, SIZE), wide):
        for codes in states:
            truth = avatar.render(camera, codes).pixels(behind)[0]
            error = np.mean((_drawn(page, camera, codes).astype(float) - truth) ** 2)
            assert truth.std() > 5
            assert 10 * np.log10(255**2 / max(error, 1e-9)) > 45
    assert not page.complaints


def test_sliders_and_hand_move_it(page: Any) -> None:
    page.click("#panel > summary")
    before = page.evaluate("player.frames")
    slider = page.locator("input[data-channel=jawOpen]")
    slider.evaluate("(input) => { input.value = 0.5; input.dispatchEvent(new Event('input')); }")
    page.wait_for_function(f"player.frames > {before}")
    assert page.evaluate("player.codes[player.header.channels.indexOf('jawOpen')]") == pytest.approx(0.5)
    shown = page.locator("input[data-channel]").evaluate_all("(all) => all.map((input) => input.dataset.channel)")
    assert {"jawOpen", "browInnerUp"} <= set(shown)
    assert "mouthFunnel" not in shown  # the ball has none
    page.mouse.move(60, 100)
    page.mouse.down()
    page.mouse.move(100, 110)
    page.mouse.up()
    page.mouse.wheel(0, 300)
    page.wait_for_function("player.orbit.zoom > 1.2")
    assert page.evaluate("player.orbit.yaw") == pytest.approx(0.32)
    page.dblclick("canvas", position={"x": 30, "y": 60})
    assert page.evaluate("player.orbit.yaw") == 0
    assert page.title() == "ball <b>"
    assert "nobody was filmed" in page.inner_text("#note")


def test_the_performance_plays_with_its_sound(page: Any, subject: Subject) -> None:
    assert page.evaluate("document.getElementById('sound').duration") == pytest.approx(0.32, abs=0.01)
    page.locator("#seek").evaluate("(input) => { input.value = 5; input.dispatchEvent(new Event('input')); }")
    assert subject.track is not None
    wanted = subject.track.codes[5].vector().numpy()
    np.testing.assert_allclose(page.evaluate("Array.from(player.codes)"), wanted, atol=1e-6)
    head = subject.track.codes[5].head_to_world.flatten().numpy()
    np.testing.assert_allclose(page.evaluate("Array.from(player.head)"), head, atol=1e-6)
    page.evaluate("player.frame = -1")
    page.click("#play")
    page.wait_for_function("player.frame === 7 && document.getElementById('play').textContent === 'Play'")
    assert not page.complaints


def test_it_opens_from_a_disk_and_says_what_is_missing(chromium: Any, folder: Path, tmp_path: Path) -> None:
    page = _opened(chromium, (folder / "index.html").as_uri())
    assert page.is_hidden("#line")
    (tmp_path / "index.html").write_bytes((folder / "index.html").read_bytes())
    broken = chromium.new_page()
    broken.goto((tmp_path / "index.html").as_uri())
    assert broken.inner_text("#line") == "avatar.js is missing beside this page; copy the whole folder."


def test_fifty_thousand_gaussians_stay_small(subject: Subject, folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} >= {"avatar.js", "index.html", "sound.wav"}
    avatar: Any = subject.avatar
    block, numbers = pack(avatar)
    sizes = {"f4": 4, "u4": 4, "u2": 2, "i2": 2, "u1": 1}
    own = ("corners", "bary", "part", "offsets", "quats", "logScales", "opacityLogits", "colors", "basisCodes")
    each = sum(sizes[block.table[name]["kind"]] * block.table[name]["length"] for name in own) / numbers["gaussians"]
    assert each * 50_000 * 4 / 3 < 15e6  # as base64; a head's mesh adds some 3 MB


def test_the_folder_is_sealed(folder: Path, tmp_path: Path) -> None:
    found = verify(folder)
    assert (found.state, found.claim) == ("intact", Claim(MODEL, consent="nobody was filmed"))
    assert verify(folder / "avatar.js").state == "intact"
    copied = Path(shutil.copytree(folder, tmp_path / "copied"))
    (copied / "index.html").write_text("something else")
    assert verify(copied).state == verify(copied / "index.html").state == "changed"
    assert verify(copied / "avatar.js").state == "intact"


def test_what_it_cannot_play_is_refused(subject: Subject, tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="no such colour; got greenish"):
        Web("greenish")
    with pytest.raises(StudioError, match="cannot be played on the web"):
        export(Web(), replace(subject, avatar=object()), tmp_path / "player")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
