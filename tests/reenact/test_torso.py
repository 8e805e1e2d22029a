"""Head, torso and eyes in the world: what stays where it was when the head's motion is changed."""

from __future__ import annotations

from dataclasses import replace

import torch

from reenact.gaze import gaze_directions, looking, turned_eyes
from reenact.retarget import RetargetConfig, retarget
from reenact.torso import torso_to_world, with_torso
from studio.code_range import measure_range
from studio.codes import Codes, CodeTrack
from studio.rotations import axis_angle_to_matrix, matrix_to_axis_angle, rigid

FRAMES = 120


def _codes(turn: float, neck: float = 1.0) -> Codes:
    """A head that shakes by ``turn`` radians on a torso that stands still for ``neck`` = 1."""
    time = torch.arange(FRAMES) / 25.0
    turns = torch.stack((0 * time, turn * torch.sin(2 * torch.pi * time / 2.4), 0 * time), dim=-1)
    pivot = torch.tensor((0.0, -0.12, -0.08))
    rotation = axis_angle_to_matrix(turns)
    pose = rigid(rotation, pivot - rotation @ pivot)
    return replace(Codes.neutral(batch=(FRAMES,)), neck_pose=neck * turns, head_to_world=pose)


def _track(codes: Codes) -> CodeTrack:
    return CodeTrack(codes, 25.0, torch.ones(FRAMES, dtype=torch.bool))


def _turned(torso: torch.Tensor) -> torch.Tensor:
    """[T] radians that a torso is turned by."""
    return matrix_to_axis_angle(torso[:, :3, :3].contiguous()).norm(dim=-1)


def test_torso_and_joints_are_inverse() -> None:
    generator = torch.Generator().manual_seed(0)
    codes = replace(
        _codes(0.4),
        neck_translation=0.02 * torch.randn(FRAMES, 3, generator=generator),
        neck_pose=_codes(0.3).neck_pose,
    )
    back = with_torso(codes, torso_to_world(codes))
    assert torch.allclose(back.neck_pose, codes.neck_pose, atol=1e-5)
    assert torch.allclose(back.neck_translation, codes.neck_translation, atol=1e-6)


def test_a_head_shaken_on_a_still_torso_leaves_the_torso_where_it_is() -> None:
    assert torso_to_world(_codes(0.4)).diff(dim=0).abs().max() < 1e-6


def test_a_torso_stays_in_the_world_when_the_head_turns_less() -> None:
    """The avatar has hardly ever turned: its head is held back, and the torso must not swing the other way."""
    avatar, driver = measure_range(_track(_codes(0.05))), _track(_codes(0.7))
    moved = retarget(driver, avatar)
    heads = matrix_to_axis_angle(moved.codes.head_to_world[:, :3, :3].contiguous())
    assert 0.05 < heads[:, 1].abs().max() < 0.3  # held back
    assert _turned(torso_to_world(moved.codes)).max() < 0.01
    # Without it, the joint of the driver under the head of the avatar would have turned the torso by the difference.
    naive = replace(moved.codes, neck_pose=driver.codes.neck_pose)
    assert _turned(torso_to_world(naive)).max() > 0.4


def test_a_still_head_has_a_still_torso() -> None:
    moved = retarget(_track(_codes(0.5)), measure_range(_track(_codes(0.3))), RetargetConfig(head_motion=0.0))
    assert moved.codes.neck_pose.abs().max() < 1e-4
    assert moved.codes.neck_translation.abs().max() < 1e-5


def test_a_torso_that_turns_along_is_transferred() -> None:
    """A driver on a swivel chair: head and torso are one."""
    chair = _track(_codes(0.1, neck=0.0))
    moved = retarget(chair, measure_range(_track(_codes(0.3))))
    assert moved.codes.neck_pose.abs().max() < 0.01
    assert _turned(torso_to_world(moved.codes)).max() > 0.08


def test_looking_and_directions_are_inverse() -> None:
    generator = torch.Generator().manual_seed(1)
    spread = torch.tensor((0.5, 0.35, 0.0))
    directions = (2 * torch.rand(40, 2, 3, generator=generator) - 1) * spread + torch.tensor((0, 0, 1.0))
    codes = looking(Codes.neutral(batch=(40,)), directions)
    assert torch.allclose(gaze_directions(codes), torch.nn.functional.normalize(directions, dim=-1), atol=1e-5)


def test_left_is_left_and_down_is_down() -> None:
    to_the_left = looking(Codes.neutral(), torch.tensor([[0.3, 0.0, 1.0], [0.3, 0.0, 1.0]]))
    weights = dict(zip(to_the_left.space.channels, to_the_left.expression.tolist()))
    assert weights["eyeLookOutLeft"] > 0.3
    assert weights["eyeLookInRight"] > 0.3
    assert weights["eyeLookInLeft"] == weights["eyeLookOutRight"] == 0
    down = looking(Codes.neutral(), torch.tensor([[0.0, -0.2, 1.0], [0.0, -0.2, 1.0]]))
    weights = dict(zip(down.space.channels, down.expression.tolist()))
    assert weights["eyeLookDownLeft"] > 0.3
    assert weights["eyeLookUpRight"] == 0


def test_no_further_turn_changes_nothing_at_all() -> None:
    codes = Codes.neutral(batch=(3,)).with_channels(eyeLookOutLeft=0.3, eyeLookInLeft=0.1)
    assert torch.equal(turned_eyes(codes, torch.eye(3).expand(3, 3, 3)).expression, codes.expression)


def test_eyes_stay_on_their_target_when_the_head_turns_less() -> None:
    """The driver shakes the head and looks straight into the camera all the time."""
    codes = _codes(0.4)
    ahead = codes.head_to_world[:, :3, :3].transpose(1, 2) @ torch.tensor((0.0, 0.0, 1.0))
    driver = _track(looking(codes, ahead[:, None].expand(-1, 2, 3)))
    avatar = measure_range(_track(_codes(0.05)))

    def off(config: RetargetConfig) -> float:
        """Mean angle, radians, between the avatar's gaze and the camera."""
        moved = retarget(driver, avatar, config).codes
        world = (moved.head_to_world[:, None, :3, :3] @ gaze_directions(moved)[..., None])[..., 0]
        return float(torch.acos(world[..., 2].clamp(-1, 1)).mean())

    assert off(RetargetConfig()) < 0.03
    assert off(RetargetConfig(gaze=0.0)) > 0.08
