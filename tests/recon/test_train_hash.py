"""Training of a static radiance field: it shows views that it never saw, uses mattes, and resumes bit by bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recon.avatars import load_avatar
from recon.avatars.hash_static import HashStatic
from recon.evaluate import evaluate
from recon.loop import Step
from recon.radiance import FieldShape, pixel_rays
from recon.train_hash import HashStaticConfig, HashStaticSession, train_hash_static
from studio.captures import Capture
from studio.errors import StudioError
from tests.recon.ball import ball_cameras
from tests.textured_plane import noise_texture, plane_capture

EYES = [[-0.5, 0.1, 3.0], [0.5, 0.0, 3.0], [0.0, 0.5, 2.9], [0.1, -0.5, 3.1], [0.05, 0.1, 3.0]]
CONFIG = HashStaticConfig(
    iterations=30,
    samples=16_384,
    steps=96,
    cells=16,
    field=FieldShape(levels=6, log2_size=12, finest=128, hidden=16, beyond=6),
    check_every=10,
    checkpoint_every=10,
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Capture:
    folder = tmp_path_factory.mktemp("plane") / "capture"
    return plane_capture(folder, noise_texture(256, 12), EYES, 160, test=(4,))


def test_a_held_out_view_is_shown(photos: Capture, tmp_path: Path) -> None:
    avatar = load_avatar(train_hash_static(photos, replace(CONFIG, iterations=400), tmp_path / "run"))
    metrics = evaluate(avatar, photos, None, "test", tmp_path / "eval")
    assert metrics["regions"]["full"]["psnr"] > 22.0
    output = avatar.render(avatar.camera, avatar.codes)
    assert torch.equal(output.alpha, torch.ones_like(output.alpha))  # without mattes all that is seen is the scene


def test_resuming_repeats_the_same_bits(photos: Capture, tmp_path: Path) -> None:
    whole = load_avatar(train_hash_static(photos, CONFIG, tmp_path / "whole"))

    def stop(step: Step) -> None:
        if step.step == 27:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        train_hash_static(photos, CONFIG, tmp_path / "broken", stop)
    with pytest.raises(StudioError, match="resume=true"):
        train_hash_static(photos, CONFIG, tmp_path / "broken")
    steps: list[int] = []
    resumed = load_avatar(train_hash_static(photos, CONFIG, tmp_path / "broken", lambda s: steps.append(s.step), True))
    assert steps[0] == 21
    assert isinstance(whole, HashStatic)
    assert isinstance(resumed, HashStatic)
    for name, value in whole.field.parameters.items():
        assert torch.equal(value, resumed.field.parameters[name]), name
    assert torch.equal(whole.field.occupancy.occupied, resumed.field.occupancy.occupied)


def test_with_mattes_only_what_they_cover_is_learned(photos: Capture) -> None:
    """The matte keeps the left half of each photo: there is no sky, and the right half becomes transparent."""
    session = HashStaticSession(photos, CONFIG)
    assert "sky" in session.parameters
    capture = _Matted(photos)
    session = HashStaticSession(capture, replace(CONFIG, iterations=200))  # type: ignore[arg-type]
    assert "sky" not in session.parameters
    for step in range(200):
        session.step(step)
    alpha = session.avatar.render(photos.cameras[4], session.avatar.codes).alpha[0]
    assert float(alpha[40:120, 30:60].mean()) > 0.8
    assert float(alpha[40:120, 100:130].mean()) < 0.2


class _Matted:
    """The plane with a matte of its left half."""

    def __init__(self, photos: Capture) -> None:
        self.photos, self.cameras = photos, photos.cameras

    def split(self, name: str) -> object:
        return self.photos.split(name)

    def frame(self, timestep: int, camera: int) -> object:
        frame = self.photos.frame(timestep, camera)
        xy, _ = frame.camera.project(torch.zeros(1, 3))
        alpha = torch.zeros(frame.image.shape[:2], dtype=torch.uint8)
        alpha[:, : int(xy[0, 0, 0])] = 255
        return replace(frame, alpha=alpha.numpy())


def test_rays_go_through_the_pixels_they_belong_to() -> None:
    camera = ball_cameras()
    pixels = torch.tensor([[0, 3, 7], [1, 20, 2], [2, 0, 0]])
    origins, directions, z = pixel_rays(camera, pixels)
    points = origins + 1.7 * directions
    for index, (view, row, column) in enumerate(pixels.tolist()):
        xy, depth = camera[view].project(points[index : index + 1])
        assert xy[0, 0].tolist() == pytest.approx([column + 0.5, row + 0.5], abs=1e-2)
        assert float(depth) == pytest.approx(1.7 * float(z[index]), rel=1e-4)
