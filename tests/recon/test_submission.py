"""Submissions of the NeRSemble benchmark: names, sizes, rates, and cameras in the world that ingesting has turned."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from recon.submission import TASKS, Task, background_color, pack, write_submission
from studio.avatar import RenderOutput
from studio.cameras import Camera
from studio.errors import StudioError
from studio.media.video_reader import probe, read_frames
from studio.rotations import axis_angle_to_matrix, rigid
from tests.recon.ball import ball_track

SMALL = Task((64, 48), 24.3, ("100", "200", "300"), {"388": ("GLASSES",), "422": ("EXP-2-eyes",)})


@dataclass
class Marker:
    """Draws where a point of the world is, and remembers who looked."""

    seen: list[Camera]

    def render(self, camera, codes):
        self.seen.append(camera)
        u, v = camera.project(torch.tensor([[0.02, 0.01, 0.03]]))[0][0, 0].round().long().tolist()
        alpha = torch.zeros(1, camera.height, camera.width)
        alpha[:, max(v - 2, 0) : v + 3, max(u - 2, 0) : u + 3] = 1
        return RenderOutput(alpha[..., None].expand(-1, -1, -1, 3) * 0.0, alpha, lambda: alpha)


@pytest.fixture
def sequence(capture, tmp_path):
    """The ball's capture as one that was turned when it was ingested, and the calibration from before."""
    turn = rigid(axis_angle_to_matrix(torch.tensor([0.2, -0.4, 0.1])), torch.zeros(3)).double()
    serials = ("100", "200", "300")
    own = capture.cameras
    data = {
        "world_2_cam": {s: (own.viewmats[i].double() @ turn).tolist() for i, s in enumerate(serials)},
        "intrinsics": {s: own.Ks[i].tolist() for i, s in enumerate(serials)},
        "width": 48,
        "height": 48,
    }
    path = tmp_path / "camera_params.json"
    path.write_text(json.dumps(data))
    named = replace(own, ids=("100", "200", "unknown"))
    return _Renamed(capture, named), path


class _Renamed:
    """A capture whose cameras have serials."""

    def __init__(self, capture, cameras):
        self._capture, self.cameras = capture, cameras

    def __len__(self):
        return len(self._capture)

    def frame(self, step):
        return self._capture.frame(step)


def test_a_submission(sequence, tmp_path):
    capture, calibration = sequence
    task = replace(SMALL, size=(48, 48))
    avatar, track = Marker([]), ball_track()
    paths = write_submission(avatar, capture, track, calibration, task, "388", "GLASSES", tmp_path / "out")
    assert [str(path.relative_to(tmp_path / "out")) for path in paths] == [
        f"388/GLASSES/cam_{serial}.mp4" for serial in task.serials
    ]
    info = probe(paths[0])
    assert (info.width, info.height, info.frames) == (48, 48, len(track))
    assert float(info.fps) == pytest.approx(24.3, abs=0.01)
    for index in range(3):  # also the camera that the capture does not have is where it was
        torch.testing.assert_close(
            avatar.seen[8 * index].viewmats[0], capture.cameras.viewmats[index], atol=1e-5, rtol=0
        )
    assert np.abs(next(iter(read_frames(paths[0])))[0, 0].astype(int) - background_color(capture)).max() <= 3
    archive, missing = pack(tmp_path / "out", task, tmp_path / "out.zip")
    assert zipfile.ZipFile(archive).namelist() == [f"388/GLASSES/cam_{serial}.mp4" for serial in task.serials]
    assert missing == [f"422/EXP-2-eyes/cam_{serial}.mp4" for serial in task.serials]


def test_what_does_not_fit_is_refused(sequence, tmp_path):
    capture, calibration = sequence
    task, track = replace(SMALL, size=(48, 48)), ball_track()

    def submit(person="388", name="GLASSES", task=task, where=calibration):
        return write_submission(Marker([]), capture, track, where, task, person, name, tmp_path / "no")

    with pytest.raises(StudioError, match="does not have this sequence"):
        submit(name="HAIR")
    with pytest.raises(StudioError, match="lacks cameras"):
        submit(task=replace(task, serials=("999",)))
    data = json.loads(calibration.read_text())
    data["world_2_cam"]["200"] = np.eye(4).tolist()
    other = tmp_path / "other.json"
    other.write_text(json.dumps(data))
    with pytest.raises(StudioError, match="do not fit this calibration"):
        submit(where=other)
    with pytest.raises(StudioError, match="no video of the task"):
        pack(tmp_path, task, tmp_path / "x.zip")


def test_the_benchmarks_own_facts():
    nvs, mono = TASKS["nvs"], TASKS["mono_flame_avatar"]
    assert sum(len(names) for names in nvs.sequences.values()) * len(nvs.serials) == 15
    assert sum(len(names) for names in mono.sequences.values()) * len(mono.serials) == 80
