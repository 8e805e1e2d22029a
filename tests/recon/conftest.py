"""The ball of ``ball.py`` as fixtures, made once."""

from __future__ import annotations

import pytest

from studio.cameras import Camera
from studio.captures import Capture
from studio.codes import CodeTrack
from studio.heads.model import HeadModel
from tests.recon.ball import ball_cameras, ball_head, ball_track, write_ball_capture


@pytest.fixture(scope="session")
def head() -> HeadModel:
    return ball_head()


@pytest.fixture(scope="session")
def cameras() -> Camera:
    return ball_cameras()


@pytest.fixture(scope="session")
def track() -> CodeTrack:
    return ball_track()


@pytest.fixture(scope="session")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Capture:
    return write_ball_capture(tmp_path_factory.mktemp("captures") / "ball")
