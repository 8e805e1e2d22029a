"""Tracking while frames arrive: new frames by what is known, everything again as there is more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from capture.landmarks import Landmarks
from capture.tracking.live import LiveTracker
from studio.cameras import Camera
from studio.captures import Capture, Split
from studio.codes import Codes
from studio.folders import Manifest
from studio.heads.model import JOINTS, HeadModel
from studio.media.images import write_image
from studio.rotations import axis_angle_to_matrix, rigid
from tests.capture.tracking.test_fit import T, head, landmarks, person  # noqa: F401

FIRST, MORE = 10, 16


def _capture(folder: Path, camera: Camera, count: int) -> Capture:
    ids = tuple(f"{index:05d}" for index in range(count))
    for kind, shape in (("images", (64, 64, 3)), ("alpha", (64, 64))):
        for name in ids:
            write_image(folder / kind / "0" / f"{name}.png", np.full(shape, 90, np.uint8))
    whole = Split(tuple(range(count)), (0,))
    camera = Camera(camera.viewmats, camera.Ks, camera.width, camera.height, ("0",))
    return Capture(folder, Manifest("capture"), camera, ids, 25.0, {"train": whole})


def _part(found: Landmarks, count: int) -> Landmarks:
    return found.only(np.arange(count))


def _torso_in_camera(track_codes: Codes, pivot: torch.Tensor) -> torch.Tensor:
    turned = axis_angle_to_matrix(-track_codes.neck_pose)
    arm = pivot - (turned @ pivot) + track_codes.neck_translation
    return track_codes.head_to_world @ rigid(turned, arm)


def test_new_frames_are_tracked_by_what_is_known(
    tmp_path: Path,
    head: HeadModel,  # noqa: F811
    person: tuple[torch.Tensor, Codes, Camera],  # noqa: F811
    landmarks: Landmarks,  # noqa: F811
) -> None:
    _, codes, camera = person
    tracker = LiveTracker(head, camera.Ks[0], 25.0)
    capture = _capture(tmp_path, camera, T)
    first = tracker.update(_capture(tmp_path, camera, FIRST), _part(landmarks, FIRST))
    identity = tracker.identity
    more = tracker.update(_capture(tmp_path, camera, MORE), _part(landmarks, MORE))
    assert torch.equal(tracker.identity, identity), "the person is held"
    assert torch.equal(more.codes.expression[:FIRST], first.codes.expression)
    jaw = head.space.index("jawOpen")
    assert (more.codes.expression[FIRST:, jaw] - codes.expression[FIRST:MORE, jaw]).abs().max() < 0.15
    apart = more.codes.head_to_world[FIRST:, :3, :3] - codes.head_to_world[FIRST:MORE, :3, :3]
    assert apart.abs().max() < 0.06
    all_of_it = tracker.update(capture, landmarks)
    assert len(all_of_it) == T
    assert not torch.equal(tracker.identity, identity), "twice as many frames: everything is fitted again"


def test_a_torso_stays_where_it_was_until_the_next_fit(
    tmp_path: Path,
    head: HeadModel,  # noqa: F811
    person: tuple[torch.Tensor, Codes, Camera],  # noqa: F811
    landmarks: Landmarks,  # noqa: F811
) -> None:
    camera = person[2]
    tracker = LiveTracker(head, camera.Ks[0], 25.0)
    tracker.update(_capture(tmp_path, camera, FIRST), _part(landmarks, FIRST))
    assert tracker.known is not None
    placed = rigid(axis_angle_to_matrix(torch.tensor([0.05, -0.1, 0.02])), torch.tensor([0.01, 0.2, 0.9]))
    object.__setattr__(tracker.known, "torso", placed)
    track = tracker.update(_capture(tmp_path, camera, MORE), _part(landmarks, MORE))
    pivot = head.with_identity(tracker.identity).joint_positions[JOINTS.index("torso")]
    held = camera.viewmats[0] @ _torso_in_camera(track.codes[FIRST:], pivot)
    torch.testing.assert_close(held, placed.expand_as(held), atol=1e-4, rtol=0)


def test_frames_without_a_face_are_filled_in(
    tmp_path: Path,
    head: HeadModel,  # noqa: F811
    person: tuple[torch.Tensor, Codes, Camera],  # noqa: F811
    landmarks: Landmarks,  # noqa: F811
) -> None:
    found = _part(landmarks, MORE)
    found.valid[[4, 12]] = False
    tracker = LiveTracker(head, person[2].Ks[0], 25.0)
    part = Landmarks(found.points[:FIRST], found.scores[:FIRST], found.valid[:FIRST])
    tracker.update(_capture(tmp_path, person[2], FIRST), part)
    track = tracker.update(_capture(tmp_path, person[2], MORE), found)
    assert track.valid.tolist() == found.valid.tolist()
    between = 0.5 * (track.codes.expression[11] + track.codes.expression[13])
    torch.testing.assert_close(track.codes.expression[12], between)
