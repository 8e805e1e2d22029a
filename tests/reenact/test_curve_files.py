"""Curves for other programs."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from reenact.curves.livelink_csv import read_livelink_csv, write_livelink_csv
from studio.codes import ARKIT52, Codes, CodeTrack
from studio.errors import StudioError
from studio.heads.model import EYE_YAW_RADIANS
from studio.rotations import axis_angle_to_matrix, rigid


def _take(fps: float) -> CodeTrack:
    frames = 20
    generator = torch.Generator().manual_seed(1)
    turn = 0.4 * torch.randn(frames, 3, generator=generator)
    codes = Codes.neutral(batch=(frames,))
    codes = Codes(
        codes.space,
        torch.rand(frames, 52, generator=generator),
        codes.jaw_pose,
        codes.neck_pose,
        codes.neck_translation,
        codes.eye_pose,
        rigid(axis_angle_to_matrix(turn), torch.zeros(frames, 3)),
    )
    return CodeTrack(codes, fps, torch.ones(frames, dtype=torch.bool))


@pytest.mark.parametrize("fps", [25.0, 29.97, 30.0, 60.0])
def test_livelink_csv_round_trip(tmp_path: Path, fps: float) -> None:
    track = _take(fps)
    write_livelink_csv(tmp_path / "t.csv", track)
    back = read_livelink_csv(tmp_path / "t.csv")
    assert back.fps == pytest.approx(fps, rel=2e-3)
    assert torch.allclose(back.codes.expression, track.codes.expression, atol=1e-6)
    assert torch.allclose(back.codes.head_to_world[:, :3, :3], track.codes.head_to_world[:, :3, :3], atol=1e-5)


def test_livelink_csv_has_the_apps_columns(tmp_path: Path) -> None:
    codes = Codes.neutral(batch=(2,)).with_channels(eyeLookOutLeft=1.0, mouthLeft=0.25)
    write_livelink_csv(tmp_path / "t.csv", CodeTrack(codes, 30.0, torch.ones(2, dtype=torch.bool)))
    lines = (tmp_path / "t.csv").read_text().splitlines()
    header, second = lines[0].split(","), lines[2].split(",")
    assert header[:4] == ["Timecode", "BlendShapeCount", "EyeBlinkLeft", "EyeLookDownLeft"]
    assert header[16:20] == ["JawForward", "JawRight", "JawLeft", "JawOpen"]
    assert header[-9:-6] == ["HeadYaw", "HeadPitch", "HeadRoll"]
    assert (len(header), second[0], second[1]) == (63, "00:00:00:02.000", "61")
    assert second[header.index("MouthLeft")] == "0.2500000000"
    assert float(second[header.index("LeftEyeYaw")]) == pytest.approx(EYE_YAW_RADIANS)


def test_livelink_csv_is_read_by_name_whatever_its_case(tmp_path: Path) -> None:
    text = "timecode,BlendshapeCount,jawopen,HEADYAW\n13:13:04:31.652,51,0.5,0.3\n13:13:04:33.652,51,0.25,0.0\n"
    (tmp_path / "t.csv").write_text(text)
    track = read_livelink_csv(tmp_path / "t.csv")
    assert track.fps == pytest.approx(30.0)
    assert track.codes.expression[:, ARKIT52.index("jawOpen")].tolist() == [0.5, 0.25]
    facing = track.codes.head_to_world[0, :3, 2]
    assert float(facing[0]) == pytest.approx(math.sin(0.3))  # to the subject's left


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no curves"),
        ("a,b\n1,2\n", "0 of the 52 channels"),
        ("Timecode,JawOpen\nnoon,0.5\n", "wrong timecodes"),
        ("Timecode,JawOpen\n00:00:00:01,half\n00:00:00:02,0.5\n", "JawOpen = 'half'|jawOpen = 'half'"),
    ],
)
def test_damaged_livelink_csv_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(StudioError, match=message):
        read_livelink_csv(tmp_path / "t.csv")
