"""The guard in the driving path, on a small trained avatar: wild drivers neither explode nor tear it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from recon.avatars import load_avatar
from recon.avatars.splats import SplatAvatar
from recon.field import FieldConfig
from recon.train import train
from recon.train_config import TrainConfig
from reenact.drive import DriveConfig, drive
from reenact.drivers import Driving
from reenact.render import render
from reenact.render_config import RenderConfig
from studio.codes import Codes, CodeTrack
from tests.recon.ball import ball_head, ball_track, write_ball_capture

FRAMES = 20


@pytest.fixture(scope="module")
def ball(tmp_path_factory: pytest.TempPathFactory) -> SplatAvatar:
    folder = tmp_path_factory.mktemp("guard")
    capture = write_ball_capture(folder / "ball")
    config = TrainConfig(gaussians=300, iterations=20, check_every=20, model=FieldConfig(bases=3, hidden=8))
    avatar = load_avatar(train(capture, ball_track(), ball_head(), config, folder / "run"))
    assert isinstance(avatar, SplatAvatar)
    return avatar


@dataclass(frozen=True)
class _Wild:
    """Every number of the code at random, up to ``size`` times what the space allows."""

    size: float
    relative: ClassVar[bool] = True

    def drive(self) -> Driving:
        generator = torch.Generator().manual_seed(0)
        still = Codes.neutral(batch=(FRAMES,))
        vector = self.size * (torch.rand(FRAMES, 67, generator=generator) - 0.3)
        vector[:8] = 0
        return Driving(CodeTrack(still.with_vector(vector), 25.0, torch.ones(FRAMES, dtype=torch.bool)))


def _places(avatar: SplatAvatar, codes: Codes) -> torch.Tensor:
    """[T, N, 3] the Gaussians in the head frame."""
    states = (replace(codes[index], head_to_world=torch.eye(4)) for index in range(codes.batch[0]))
    return torch.stack([avatar.gaussians(state).means for state in states])


@pytest.mark.parametrize("size", [3.0, 1000.0])
@pytest.mark.parametrize("relative", [True, False])
def test_nothing_explodes_or_tears(ball: SplatAvatar, size: float, relative: bool) -> None:
    rest = _places(ball, Codes.stack([ball.codes]))[0]
    recorded = (_places(ball, ball_track().codes[:6]) - rest).norm(dim=-1).max()
    track = drive(ball, _Wild(size), DriveConfig(relative=relative)).track
    driven = _places(ball, track.codes)
    assert torch.isfinite(driven).all()
    moves = (driven - rest).norm(dim=-1)
    assert float(moves.max()) < 2.5 * float(recorded)
    near = torch.cdist(rest, rest).topk(4, largest=False).indices[:, 1:]  # three neighbours of each
    apart = (driven[:, :, None] - driven[:, near]).norm(dim=-1) - (rest[:, None] - rest[near]).norm(dim=-1)
    assert float(apart.max()) < 0.03, "neighbours were torn apart"


def test_without_the_guard_the_same_driver_tears_it(ball: SplatAvatar) -> None:
    """So that the test above can fail."""
    rest = _places(ball, Codes.stack([ball.codes]))[0]
    loose = drive(ball, _Wild(3.0), DriveConfig(relative=False, guard=False)).track
    recorded = (_places(ball, ball_track().codes[:6]) - rest).norm(dim=-1).max()
    assert float((_places(ball, loose.codes) - rest).norm(dim=-1).max()) > 5 * float(recorded)


def test_the_training_clip_drives_it_unchanged_and_says_nothing(
    ball: SplatAvatar, capsys: pytest.CaptureFixture[str]
) -> None:
    @dataclass(frozen=True)
    class Own:
        relative: ClassVar[bool] = False

        def drive(self) -> Driving:
            return Driving(ball_track())

    driving = drive(ball, Own())
    assert (driving.track.codes.vector() - ball_track().codes.vector()).abs().max() < 0.02
    assert driving.beyond == ()
    assert "beyond" not in capsys.readouterr().err


def test_what_was_beyond_is_told_and_written(
    ball: SplatAvatar, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    driving = drive(ball, _Wild(3.0))
    assert driving.beyond[0].frames >= driving.beyond[-1].frames > 0
    line = capsys.readouterr().err
    assert line.startswith(f"beyond what the avatar has learned, bent back: {driving.beyond[0]}")
    assert f"and {len(driving.beyond) - 3} more" in line
    few = replace(driving, track=replace(driving.track, codes=driving.track.codes[:2], valid=driving.track.valid[:2]))
    render(ball, few, tmp_path / "frames", RenderConfig(size=(32, 32)))
    body = json.loads((tmp_path / "frames" / "manifest.json").read_text())["body"]
    assert body["beyond"][0]["name"] == driving.beyond[0].name
