"""One usable example of each driver, by name: what the contract of drivers is tried on.

An example that needs the reference recordings is skipped where they are absent.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from capture.synthetic.phones import schedule
from capture.synthetic.speech import synthesise
from reenact.audio.espeak import find_espeak
from reenact.curves.audio2face import write_audio2face
from reenact.curves.livelink_csv import write_livelink_csv
from reenact.drivers import Driver, driver_class
from studio.codes import Codes, CodeTrack
from studio.media.audio import Audio, write_wav


def moving_track(frames: int = 30, fps: float = 30.0) -> CodeTrack:
    """A mouth that opens."""
    codes = Codes.neutral(batch=(frames,)).with_channels(jawOpen=torch.linspace(0, 0.6, frames))
    return CodeTrack(codes, fps, torch.ones(frames, dtype=torch.bool), {"expression": "made up"})


def _track(folder: Path) -> Driver:
    moving_track().save(folder / "walk")
    return driver_class("track")(source=folder / "walk")  # type: ignore[call-arg]


def _livelink(folder: Path) -> Driver:
    write_livelink_csv(folder / "take.csv", moving_track())
    write_wav(folder / "take.wav", Audio(np.zeros((16_000, 1), np.float32), 16_000))
    return driver_class("livelink")(source=folder / "take.csv", audio=folder / "take.wav")  # type: ignore[call-arg]


def _curves(folder: Path) -> Driver:
    write_audio2face(folder / "take.json", moving_track())
    return driver_class("curves")(source=folder / "take.json")  # type: ignore[call-arg]


def _procedural(folder: Path) -> Driver:
    time = np.arange(24_000) / 16_000
    sound = 0.3 * np.sin(900 * time) * (np.sin(20 * time) > 0)
    write_wav(folder / "line.wav", Audio(sound.astype(np.float32)[:, None], 16_000))
    return driver_class("procedural")(source=folder / "line.wav")  # type: ignore[call-arg]


def _video(folder: Path) -> Driver:
    project = Path(__file__).resolve().parents[2]
    clip = Path(os.environ.get("STUDIO_SHARED") or project.parent / "shared") / "data/talking_heads/demo1_video.mp4"
    if not clip.is_file():
        pytest.skip(f"no reference recording {clip} (set STUDIO_SHARED)")
    return driver_class("video")(source=clip, frames=16, keep=folder / "capture")  # type: ignore[call-arg]


def _audio(folder: Path) -> Driver:
    phones = schedule("SIL M AA P IY SIL", 0.0, 1.2)
    write_wav(folder / "voice.wav", synthesise(phones, 1.2))
    return driver_class("audio")(source=folder / "voice.wav")  # type: ignore[call-arg]


def _text(folder: Path) -> Driver:
    if find_espeak() is None:
        pytest.skip("espeak-ng is not installed")
    (folder / "words.txt").write_text("Mary may come by.")
    return driver_class("text")(source=folder / "words.txt")  # type: ignore[call-arg]


def _still(folder: Path) -> Driver:
    moving_track().save(folder / "track")
    return driver_class("still")(source=folder / "track", frame=3, do="joy 50%", yaw=20.0)  # type: ignore[call-arg]


EXAMPLES: Mapping[str, Callable[[Path], Driver]] = {
    "track": _track,
    "livelink": _livelink,
    "curves": _curves,
    "procedural": _procedural,
    "video": _video,
    "audio": _audio,
    "text": _text,
    "still": _still,
}
