"""Tracking of whole captures: a real clip, and a synthetic one whose codes are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from capture.synthetic import SyntheticConfig, make_synthetic_capture
from capture.tracking import TrackConfig, track_capture
from capture.video import IngestConfig, ingest_video
from studio.captures import Capture, open_capture
from studio.codes import Codes, CodeTrack
from studio.errors import StudioError
from studio.folders import read_manifest
from studio.heads import load_head
from studio.heads.mediapipe_points import LIDS_LEFT, LIDS_RIGHT, LIPS
from studio.heads.personal import OFFSETS, with_offsets
from studio.rotations import matrix_to_axis_angle

NAMES = ("fitted", "truth")


@pytest.fixture(scope="module")
def real(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Capture, CodeTrack]:
    """A man whose face leaves after 58 frames, and his track."""
    out = tmp_path_factory.mktemp("captures") / "leaves"
    source = shared / "data/talking_heads/face_noface.mov"
    capture = open_capture(ingest_video(source, out, IngestConfig(size=160, frames=70)))
    track_capture(capture, load_head("procedural"), TrackConfig(align=True))
    return capture, capture.track("fitted")


def test_a_real_clip_is_tracked(real: tuple[Capture, CodeTrack]) -> None:
    capture, track = real
    assert len(track) == len(capture) == 70
    assert track.valid[:50].all()
    assert not track.valid[-8:].any()
    assert all(torch.isfinite(value).all() for value in track.codes.tensors().values())
    assert (track.codes.expression >= 0).all()
    assert (track.codes.expression <= 1).all()
    smile = track.codes.expression[:, track.codes.space.index("mouthSmileLeft")]
    assert float(smile[40:50].mean() - smile[:10].mean()) > 0.2  # he begins serious and ends with a grin


def test_frames_without_a_face_hold_the_last_state(real: tuple[Capture, CodeTrack]) -> None:
    _, track = real
    last = int(torch.nonzero(track.valid).max())
    torch.testing.assert_close(track.codes.expression[-1], track.codes.expression[last])
    torch.testing.assert_close(track.codes.head_to_world[-1], track.codes.head_to_world[last], atol=1e-5, rtol=0)


def test_the_manifest_tells_how_well_landmarks_are_explained(real: tuple[Capture, CodeTrack]) -> None:
    capture, track = real
    body = read_manifest(capture.folder / "tracks" / "fitted", kind="track").body
    assert {"all", "lips", "lids", "brows", "nose", "contour"} <= set(body["reprojection"])
    assert body["reprojection"]["all"]["percent"] < 2.0
    assert 0 < body["skin_mismatch"] < 1
    assert track.extras["identity"].ndim == 1
    assert track.extras["landmarks"].shape == (70, 478, 2)
    assert track.extras[OFFSETS].shape == (478, 3)
    assert 1e-4 < np.linalg.norm(track.extras[OFFSETS], axis=1).max() < 0.02  # metres


def test_a_person_has_the_shape_that_the_landmarks_show(real: tuple[Capture, CodeTrack]) -> None:
    """Posed without any offsets of their own, the person's lips and lids lie where they were seen."""
    capture, track = real
    head = load_head("procedural")
    plain = head.with_identity(torch.from_numpy(np.asarray(track.extras["identity"])))
    shaped = with_offsets(plain, torch.from_numpy(np.asarray(track.extras[OFFSETS])))
    points = [index for index in (*LIPS, *LIDS_LEFT, *LIDS_RIGHT) if head.landmark_valid[index]]
    errors = []
    for person in (plain, shaped):
        distances = []
        for frame in torch.nonzero(track.valid)[::10, 0].tolist():
            posed = person.landmarks(person.vertices(torch.zeros(0), track.codes[frame]))
            shown = capture.cameras.project(posed)[0][0]
            distances.append((shown - torch.from_numpy(track.extras["landmarks"][frame]))[points].norm(dim=-1).mean())
        errors.append(float(torch.stack(distances).mean()))
    assert errors[1] < 0.9 * errors[0]


def test_a_track_is_not_overwritten(real: tuple[Capture, CodeTrack]) -> None:
    with pytest.raises(StudioError, match="exists already"):
        track_capture(real[0], load_head("procedural"))


def test_codes_of_a_synthetic_capture_are_recovered(shared: Path, tmp_path: Path) -> None:
    config = SyntheticConfig(cameras=1, frames=40, size=256, script="sentence")
    capture = open_capture(make_synthetic_capture(tmp_path / "synthetic", config))
    head = load_head("procedural").landmark_submodel()
    track_capture(capture, load_head("procedural"), TrackConfig(align=True, torso=False))
    track, truth = capture.track("fitted").codes, capture.track("truth").codes

    def opening(codes: Codes, identity: np.ndarray) -> np.ndarray:
        points = head.landmarks(head.vertices(torch.from_numpy(identity), codes))
        return (points[:, 13] - points[:, 14]).norm(dim=-1).numpy()

    found, true = (opening(capture.track(name).codes, capture.track(name).extras["identity"]) for name in NAMES)
    assert np.corrcoef(found, true)[0, 1] > 0.9
    turn = matrix_to_axis_angle(track.head_to_world[:, :3, :3] @ truth.head_to_world[:, :3, :3].transpose(1, 2))
    assert float((turn - turn.mean(0)).norm(dim=-1).mean()) < 0.03  # landmarks alone: 0.04
    assert float(turn.norm(dim=-1).mean()) < 0.12
