"""Camera paths."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from reenact.camera_paths import CameraPathConfig, camera_path, fitted, keyframed
from studio.cameras import Camera, intrinsics, look_at, orbit
from studio.captures import write_cameras
from studio.errors import StudioError
from studio.rotations import axis_angle_to_matrix, rigid

TARGET = torch.tensor([0.1, 1.5, -0.2])


def _start() -> Camera:
    viewmat = look_at(TARGET + torch.tensor([0.05, 0.1, 0.7]), TARGET + torch.tensor([0.0, 0.02, 0.0]))
    return Camera(viewmat[None], intrinsics(300.0, 200, 160)[None], 200, 160)


def test_fixed_is_the_same_camera_for_every_frame() -> None:
    path = camera_path(CameraPathConfig(), _start(), TARGET, 5, 25.0)
    assert len(path) == 5
    assert torch.equal(path.viewmats, _start().viewmats.expand(5, 4, 4))


def test_orbit_turns_round_the_target_and_comes_back() -> None:
    path = camera_path(CameraPathConfig("orbit", swing=40, rise=5, period=4), _start(), TARGET, 101, 25.0)
    xy, depth = path.project(TARGET[None])
    assert torch.allclose(xy, xy[:1].expand_as(xy), atol=1e-2)  # the target stays where it is in the picture
    assert torch.allclose(depth, depth[:1].expand_as(depth), atol=1e-4)
    assert torch.allclose(path.viewmats[[0, 100]], _start().viewmats.expand(2, 4, 4), atol=1e-5)
    direction = torch.nn.functional.normalize(path.centers - TARGET, dim=-1)
    widest = torch.rad2deg(torch.acos((direction @ direction[0]).clamp(-1, 1))).max()
    assert 38 < float(widest) < 42


def test_orbit_moves_with_the_rig() -> None:
    """The same path results for a rig that stands elsewhere and is tilted, as for OpenCV worlds with y down."""
    world = rigid(axis_angle_to_matrix(torch.tensor([math.pi, 0.2, 0.1])), torch.tensor([0.3, -1.0, 2.0]))
    config = CameraPathConfig("orbit")
    here = camera_path(config, _start(), TARGET, 7, 5.0)
    start = Camera(_start().viewmats @ torch.linalg.inv(world), _start().Ks, 200, 160)
    there = camera_path(config, start, world[:3, :3] @ TARGET + world[:3, 3], 7, 5.0)
    assert torch.allclose(there.viewmats @ world, here.viewmats, atol=1e-4)


def test_keyframes_are_met_and_held() -> None:
    keys = orbit(TARGET, 0.8, torch.tensor([0.0, 0.6, -0.4]), torch.zeros(3), intrinsics(300.0, 64, 64), 64, 64)
    path = keyframed(keys, torch.tensor([0.2, 1.0, 2.0]), 61, 25.0)
    for frame, key in ((0, 0), (5, 0), (25, 1), (50, 2), (60, 2)):
        assert torch.allclose(path.viewmats[frame], keys.viewmats[key], atol=1e-4)
    between = path.viewmats[15, :3, :3]
    assert torch.allclose(between @ between.T, torch.eye(3), atol=1e-5)
    with pytest.raises(StudioError, match="increasing times"):
        keyframed(keys, torch.tensor([0.0, 2.0, 1.0]), 10, 25.0)


@pytest.mark.parametrize("size", [(400, 320), (100, 100), (128, 300)])
def test_fitting_a_size_fills_it_and_keeps_the_middle(size: tuple[int, int]) -> None:
    camera = fitted(_start(), *size)
    assert (camera.width, camera.height) == size
    assert float(camera.Ks[0, 0, 0]) == pytest.approx(float(camera.Ks[0, 1, 1]), rel=0.01)
    scale = max(size[0] / 200, size[1] / 160)
    assert float(camera.Ks[0, 0, 0]) == pytest.approx(300 * scale, rel=0.01)
    centre = (float(camera.Ks[0, 0, 2]), float(camera.Ks[0, 1, 2]))
    assert centre == pytest.approx((size[0] / 2, size[1] / 2), abs=0.51)


def test_key_cameras_of_a_file_are_spread_over_the_clip(tmp_path: Path) -> None:
    keys = orbit(TARGET, 0.8, torch.tensor([0.0, 0.6, -0.4]), torch.zeros(3), intrinsics(300.0, 64, 64), 64, 64)
    write_cameras(tmp_path / "cameras.json", keys)
    path = camera_path(CameraPathConfig("keys", keys=tmp_path / "cameras.json"), _start(), TARGET, 41, 25.0)
    assert torch.allclose(path.viewmats[[0, 20, 40]], keys.viewmats, atol=1e-4)


def test_impossible_paths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="period 0"):
        CameraPathConfig("orbit", period=0)
    with pytest.raises(StudioError, match=r"expected kind=keys with a cameras\.json"):
        CameraPathConfig("keys")
    with pytest.raises(StudioError, match="cannot read the cameras"):
        camera_path(CameraPathConfig("keys", keys=tmp_path / "none.json"), _start(), TARGET, 4, 25.0)
