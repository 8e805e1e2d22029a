"""One usable example of each driver, by name: what the contract of drivers is tried on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from reenact.drivers import Driver, driver_class
from reenact.livelink_csv import write_livelink_csv
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


EXAMPLES: Mapping[str, Callable[[Path], Driver]] = {"track": _track, "livelink": _livelink}
