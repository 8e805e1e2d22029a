"""Pages that draw splats themselves: who does, and that they show the stage's pictures."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from recon.avatars import load_avatar
from recon.train import train
from recon.train_config import TrainConfig
from tests.recon.ball import ball_head, ball_track, write_ball_capture
from tests.viewer.avatars import CardAvatar, stripes
from viewer.app import Viewer
from viewer.chromium import StudioPage, browser, why_no_browser
from viewer.drawers import Drawers
from viewer.session import Scene, Split
from viewer.settings import ViewerConfig
from viewer.stage import Shot, Stage
from viewer.views import View, Viewpoints

WINDOW = (860, 400)
needs_browser = pytest.mark.skipif(why_no_browser() is not None, reason=str(why_no_browser()))


@pytest.fixture(scope="module")
def ball(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A ball of 600 Gaussians with corrections of all kinds."""
    folder = tmp_path_factory.mktemp("ball")
    capture = write_ball_capture(folder / "capture")
    run = train(capture, ball_track(), ball_head(), TrainConfig(gaussians=600, iterations=3), folder / "run")
    avatar: Any = load_avatar(run)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        avatar.learned.bases.copy_(0.5 * torch.randn(avatar.learned.bases.shape, generator=random))
    return avatar


@pytest.fixture(scope="module")
def drawing(ball: Any) -> Iterator[tuple[Viewer, StudioPage]]:
    config = ViewerConfig(port=0, size=600, drawn_by="browser")
    with (
        Viewer(ball, None, config) as viewer,
        browser() as chromium,
        StudioPage(chromium, viewer.url, WINDOW) as page,
    ):
        page.wait(lambda: "drawn in the browser" in page.text(), 120)
        yield viewer, page


def difference(viewer: Viewer, page: StudioPage) -> float:
    """Mean absolute difference of what the page shows from what the stage draws, grey levels."""
    desk = viewer._desk
    (client,) = desk.server.get_clients().values()
    shot = desk.gallery.snapshot(client)
    assert shot is not None
    drawn, shown = desk.stage.draw(shot), page.picture()
    width = 480  # what no control lies over
    drawn = cv2.resize(drawn, shown.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return float(np.abs(drawn[:, :width].astype(int) - shown[:, :width]).mean())


@needs_browser
def test_a_page_draws_what_the_stage_draws(drawing: tuple[Viewer, StudioPage]) -> None:
    viewer, page = drawing
    session = viewer._desk.session
    page.wait(lambda: difference(viewer, page) < 2)
    first = page.picture().astype(int)
    session.pose(lambda codes: codes.with_channels(jawOpen=1.0))
    page.wait(lambda: np.abs(page.picture().astype(int) - first).mean() > 0.3)
    page.wait(lambda: difference(viewer, page) < 2)
    page.key("f")
    page.wait(lambda: difference(viewer, page) < 2)
    page.key("2")
    page.wait(lambda: session.scene.mode == "depth" and difference(viewer, page) < 4)
    page.wait(lambda: "drawn in the browser" not in page.text())  # the readout follows the picture
    page.key("1")
    page.wait(lambda: "drawn in the browser" in page.text() and difference(viewer, page) < 2)
    assert not page.errors


class FakePage:
    """A page that takes some milliseconds a picture."""

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def ask(self, name: str, *_: object, **__: object) -> object:
        assert name == "trial"
        return self._answer


@pytest.mark.parametrize(
    ("how", "answer", "draws"),
    [
        ("auto", {"ms": 0.001}, True),
        ("auto", {"ms": 1e5}, False),
        ("auto", {"ms": None}, False),
        ("auto", {"ms": "fast"}, False),
        ("auto", None, False),
        ("browser", {"ms": 1e5}, True),
        ("browser", None, False),
        ("server", {"ms": 0.001}, False),
    ],
)
def test_pages_draw_where_they_are_faster(ball: Any, how: Any, answer: object, draws: bool) -> None:
    points = Viewpoints.of(ball)
    stage = Stage(ball, points)
    server: Any = SimpleNamespace(gate=SimpleNamespace(splats=b""))
    pages: Any = SimpleNamespace(get=lambda client: FakePage(answer))
    drawers, client = Drawers(server, pages, stage, how), SimpleNamespace(client_id=1)
    shot = Shot(Scene(ball.codes, (90, 90, 90)), View(points.front.viewmat, points.front_fov), 64, 64)
    assert drawers.invite(client, shot) is draws  # type: ignore[arg-type]
    assert (drawers.sketch(client, shot) is not None) is draws  # type: ignore[arg-type]
    stage.avatar = CardAvatar()  # a newer one, which the page does not have
    assert drawers.sketch(client, shot) is None  # type: ignore[arg-type]


def test_only_plain_colour_can_be_sketched() -> None:
    avatar = CardAvatar(stripes())
    points = Viewpoints.of(avatar)
    stage = Stage(avatar, points, rival=avatar)
    own = Shot(Scene(avatar.codes, (90, 90, 90)), View(points.capture.viewmat, points.capture_fov(2.0)), 512, 256)
    sketch = stage.sketch(own)
    assert sketch is not None
    assert (sketch.camera.width, sketch.camera.height) == (341, 256)
    assert sketch.corner == (85, 0)
    behind = sketch.behind()
    assert behind.shape == (256, 512, 3)
    assert np.ptp(behind[:, :85].reshape(-1, 3), axis=0).max() == 0
    assert behind[:, 100:400, 1].std() > 10, "no footage behind"
    for scene in (
        Scene(avatar.codes, (90, 90, 90), mode="depth"),
        Scene(avatar.codes, (90, 90, 90), overlays=frozenset({"mesh"})),
        Scene(avatar.codes, (90, 90, 90), split=Split("rival")),
    ):
        assert stage.sketch(Shot(scene, own.view, 512, 256)) is None
