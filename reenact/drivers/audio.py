"""A voice drives: mouth and jaw from sound alone, from sound and its transcript, or as a captured subject speaks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reenact.audio.articulation import Strength
from reenact.audio.capture_adapter import adapter_of
from reenact.audio.speaking import Speech, mono, speak_codes
from reenact.drivers import Driving
from reenact.emotion.felt import Felt, felt, with_feeling
from studio.codes import Codes
from studio.errors import StudioError
from studio.folders import content_hash
from studio.media.audio import Audio
from studio.media.video_reader import read_audio

_FELT = 600.0  # seconds of sound in which a feeling is looked for


@dataclass(frozen=True)
class AudioDriver:
    """A recording of speech.

    Args:
        source: a sound file, or a video with sound.
        transcript: what is said, or a text file of it; not needed.
        textgrid: the phones and their times, as Praat's TextGrid; not needed.
        language: of the transcript, as espeak-ng names it.
        aligner: of the transcript: pocketsphinx (English), network, or auto.
        capture: a capture with sound and a track, whose subject's own way of speaking is used.
        track: which track of it.
        features: your own network of speech features (HuBERT, wav2vec2 …; an ONNX file that takes [1, N] at 16 kHz and
            gives [1, N / 320, D]), for the adapted layer.
        layer: what makes the codes: aligned, network, adapted, or auto: the first that has what it needs of adapted,
            aligned, network.
        fps: frames per second of the codes.
        jaw: gain of the jaw.
        lips: gain of the lips.
        channel: which channel is the speaker's, from 0; the mean of all when not given.
        feel: how strongly the feeling that voice and transcript tell shows on the face; 0 only tells it.
        emotion: a direction in plain words that is shown in its place.
        baseline: the same speaker, calm: what the voice is compared with; by default it is compared with itself.
        emotion_model: your own network of emotion (ONNX: [1, N] at 16 kHz to valence and arousal [1, 2]).
    """

    source: Path
    transcript: str | None = None
    textgrid: Path | None = None
    language: str = "en-us"
    aligner: str = "auto"
    capture: Path | None = None
    track: str | None = None
    features: Path | None = None
    layer: str = "auto"
    fps: float = 30.0
    jaw: float = 1.0
    lips: float = 1.0
    channel: int | None = None
    feel: float = 0.0
    emotion: str | None = None
    baseline: Path | None = None
    emotion_model: Path | None = None

    @property
    def relative(self) -> bool:
        """Whether the motion is another's; an adapted mouth is the subject's own."""
        return self.capture is None

    def drive(self) -> Driving:
        """Listen. Raises StudioError when the sound cannot be used, or a layer lacks what it needs."""
        if not self.source.is_file():
            raise StudioError(f"no such sound: {self.source}", expected="a sound or video file", next="check the path")
        sound = read_audio(self.source)
        if sound is None:
            raise StudioError(f"{self.source} holds no sound", expected="a recording of speech")
        adapter = adapter_of(self.capture, self.track, features=self.features) if self.capture else None
        speech = Speech(self._text(), self.textgrid, self.language, self.aligner, adapter)
        track = speak_codes(sound, speech, self.fps, Strength(self.jaw, self.lips), self.layer, self.channel)
        track = with_feeling(track, self._felt(sound), self.feel, self.emotion)
        files = (self.source, self.textgrid, self.features, self.baseline, self.emotion_model)
        used = [item for item in files if item is not None]
        parents = {item.name: content_hash(item) for item in used}
        if self.capture and adapter:
            parents[self.capture.name] = content_hash(self.capture / "manifest.json")
        return Driving(track, sound, parents, rest=Codes.neutral() if self.relative else None)

    def _felt(self, sound: Audio) -> Felt:
        calm = read_audio(self.baseline) if self.baseline else None
        if self.baseline and calm is None:
            raise StudioError(f"{self.baseline} holds no sound", expected="a calm recording of the same speaker")
        return felt(
            sound.duration,
            mono(sound.between(0.0, min(sound.duration, _FELT)), self.channel),
            self._text(),
            mono(calm) if calm else None,
            self.emotion_model,
        )

    def _text(self) -> str | None:
        if self.transcript is None:
            return None
        path = Path(self.transcript)
        is_file = len(self.transcript) < 1000 and path.suffix == ".txt"
        if is_file and not path.is_file():
            raise StudioError(f"no such transcript: {path}", expected="a text file, or the words themselves")
        return path.read_text("utf-8", errors="replace") if is_file else self.transcript


DRIVER = AudioDriver
