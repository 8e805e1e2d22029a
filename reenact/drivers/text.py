"""A text drives: espeak-ng speaks it, and the phones that it says move the mouth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from reenact.audio.articulation import Strength
from reenact.audio.espeak import Espeak
from reenact.audio.features import RATE
from reenact.audio.speaking import phone_track
from reenact.drivers import Driving
from reenact.emotion.felt import felt, with_feeling
from studio.codes import Codes
from studio.errors import StudioError
from studio.folders import content_hash


@dataclass(frozen=True)
class TextDriver:
    """What to say. For the user's own voice with a text, see the audio driver and its transcript.

    Args:
        source: a text file.
        text: the words themselves, in place of a file.
        voice: language of espeak-ng, with a variant after "+": en-us, de, fr-fr+f2.
        rate: words in a minute.
        pitch: 0 to 99.
        fps: frames per second of the codes.
        jaw: gain of the jaw.
        lips: gain of the lips.
        feel: how strongly the feeling that the words tell shows on the face; 0 only tells it.
        emotion: a direction in plain words that is shown in its place.
    """

    source: Path | None = None
    text: str | None = None
    voice: str = "en-us"
    rate: int = 160
    pitch: int = 50
    fps: float = 30.0
    jaw: float = 1.0
    lips: float = 1.0
    feel: float = 0.0
    emotion: str | None = None
    relative: ClassVar[bool] = True

    def drive(self) -> Driving:
        """Speak. Raises StudioError when espeak-ng is not installed, or there is nothing to say."""
        with Espeak() as espeak:
            spoken = espeak.speak(self._words(), self.voice, self.rate, self.pitch)
        samples = spoken.audio.resampled(RATE).samples[:, 0]
        strength = Strength(self.jaw, self.lips)
        made = f"text, spoken by espeak-ng ({self.voice})"
        track = phone_track(spoken.phones, spoken.audio.duration, self.fps, strength, made, samples)
        feeling = felt(spoken.audio.duration, words=self._words())
        track = with_feeling(track, feeling, self.feel, self.emotion)
        parents = {self.source.name: content_hash(self.source)} if self.source else {"text": self._words()[:80]}
        return Driving(track, spoken.audio, parents, rest=Codes.neutral())

    def _words(self) -> str:
        if self.source is None:
            if self.text is None:
                raise StudioError("nothing to say", expected="source= a text file, or text= the words")
            return self.text
        if not self.source.is_file():
            raise StudioError(f"no such text: {self.source}", expected="a text file", next="check the path")
        return self.source.read_text("utf-8", errors="replace")


DRIVER = TextDriver
