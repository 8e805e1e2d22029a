"""Nobody drives: blinks, gaze, breath and head motion by procedure, in time with a sound if there is one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from reenact.drivers import Driving
from reenact.procedural import ProceduralConfig, procedural
from studio.codes import Codes
from studio.errors import StudioError
from studio.folders import content_hash
from studio.media.audio import read_wav


@dataclass(frozen=True)
class ProceduralDriver:
    """Life made of statistics and a seed.

    Args:
        source: a wav file whose speech it goes along with; silence when not given.
        seconds: length where there is no sound.
        fps: frames per second.
        seed: of everything random.
        blinks: a minute; as in conversation or at rest when not given.
        gaze: how far the eyes wander, 1 as in conversation.
        breath: strength of the breathing.
        head: strength of the head's motion.
    """

    source: Path | None = None
    seconds: float = 10.0
    fps: float = 25.0
    seed: int = 0
    blinks: float | None = None
    gaze: float = 1.0
    breath: float = 1.0
    head: float = 1.0
    relative: ClassVar[bool] = True

    def drive(self) -> Driving:
        """Make the codes. Raises StudioError when the sound cannot be read."""
        voice = read_wav(self.source) if self.source is not None else None
        seconds = voice.duration if voice is not None else self.seconds
        frames = round(seconds * self.fps)
        if frames < 1 or not 1 <= self.fps <= 240:
            raise StudioError("nothing to make", got=f"{seconds} s at {self.fps} frames/s", expected="a frame at least")
        config = ProceduralConfig(self.seed, self.blinks, self.gaze, self.breath, self.head)
        parents = {self.source.name: content_hash(self.source)} if self.source else {"procedural": f"seed {self.seed}"}
        return Driving(procedural(frames, self.fps, config, voice), voice, parents, rest=Codes.neutral())


DRIVER = ProceduralDriver
