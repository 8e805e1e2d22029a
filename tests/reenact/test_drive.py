"""Drivers, retargeting and render jobs together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from reenact.drive import DriveConfig, drive
from reenact.drivers import Driving
from reenact.drivers.track import TrackDriver
from reenact.retarget import RetargetConfig
from studio.cameras import Camera
from studio.captures import Split, capture_body, write_cameras
from studio.codes import ARKIT52, Codes, CodeSpace, CodeTrack
from studio.errors import StudioError
from studio.folders import Manifest, write_folder
from studio.media.audio import Audio, write_wav


@dataclass(frozen=True)
class _Talker:
    """Another person, who smiles at rest and opens the mouth."""

    relative: ClassVar[bool] = True

    def drive(self) -> Driving:
        jaw = 0.4 * torch.sin(torch.arange(40) * 0.4).clamp(min=0)
        codes = Codes.neutral(batch=(40,)).with_channels(mouthSmileLeft=0.5, jawOpen=jaw)
        return Driving(CodeTrack(codes, 25.0, torch.ones(40, dtype=torch.bool)))


def test_another_person_is_retargeted_and_the_same_person_is_not(avatar: Any) -> None:
    smile = ARKIT52.index("mouthSmileLeft")
    assert drive(avatar, _Talker()).track.codes.expression[:, smile].max() < 0.01
    kept = drive(avatar, _Talker(), DriveConfig(relative=False, guard=False)).track.codes.expression
    assert torch.equal(kept, _Talker().drive().track.codes.expression)
    half = drive(avatar, _Talker(), DriveConfig(retarget=RetargetConfig(expression=0.5))).track.codes.expression
    assert half[:, ARKIT52.index("jawOpen")].max() < 0.21


def test_codes_of_another_space_are_refused(avatar: Any) -> None:
    other = replace(avatar, space=CodeSpace("flame2023/100", ("a", "b")))
    for relative in (True, False):
        with pytest.raises(StudioError, match=r"codes of the driver _Talker are of another space.*arkit52 -> flame"):
            drive(other, _Talker(), DriveConfig(relative=relative))


def _capture(folder: Path, camera: Camera) -> Path:
    """A capture of 20 frames without images: sound that counts seconds, one track, a tail and scattered frames."""
    splits = {"tail": Split(tuple(range(15, 20)), (0,)), "scattered": Split((1, 5, 9), (0,))}
    names = [f"{index:05d}" for index in range(20)]
    with write_folder(folder, Manifest("capture", body=capture_body(names, 10.0, splits))) as temporary:
        write_cameras(temporary / "cameras.json", camera)
        write_wav(temporary / "audio.wav", Audio(np.linspace(0, 0.5, 2000, dtype=np.float32)[:, None], 1000))
    codes = Codes.neutral(batch=(20,)).with_channels(jawOpen=torch.arange(20) / 40)
    CodeTrack(codes, 10.0, torch.ones(20, dtype=torch.bool), {"expression": "made up"}).save(
        folder / "tracks" / "fitted"
    )
    return folder


def test_a_split_of_a_capture_drives_with_its_own_part_of_the_sound(tmp_path: Path, avatar: Any) -> None:
    capture = _capture(tmp_path / "talk", avatar.camera)
    driving = TrackDriver(capture, split="tail").drive()
    assert len(driving.track) == 5
    assert driving.track.codes.expression[0, ARKIT52.index("jawOpen")] == pytest.approx(15 / 40)
    assert driving.audio is not None
    assert driving.audio.duration == pytest.approx(0.5)
    assert float(driving.audio.samples[0, 0]) == pytest.approx(0.375, abs=1e-3)
    assert len(TrackDriver(capture, name="fitted").drive().track) == 20
    with pytest.raises(StudioError, match=r"split scattered .* is no clip"):
        TrackDriver(capture, split="scattered").drive()
    with pytest.raises(StudioError, match="no track truth"):
        TrackDriver(capture, name="truth").drive()


def test_several_tracks_must_be_chosen_from(tmp_path: Path, avatar: Any) -> None:
    capture = _capture(tmp_path / "talk", avatar.camera)
    CodeTrack.load(capture / "tracks" / "fitted").save(capture / "tracks" / "truth")
    with pytest.raises(StudioError, match="several tracks; got fitted, truth"):
        TrackDriver(capture).drive()
    assert len(TrackDriver(capture, name="truth").drive().track) == 20
