"""Sound files and resampling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from studio.errors import StudioError
from studio.media.audio import Audio, read_wav, write_wav


def _tone(rate: int, seconds: float = 1.0, hertz: float = 440.0) -> Audio:
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)
    return Audio(np.stack((wave, -wave), axis=1).astype(np.float32), rate)


def test_wav_round_trip(tmp_path: Path) -> None:
    tone = _tone(16_000)
    write_wav(tmp_path / "deep" / "t.wav", tone)
    back = read_wav(tmp_path / "deep" / "t.wav")
    assert back.rate == 16_000
    assert np.abs(back.samples - tone.samples).max() <= 1 / 32768
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["t.wav"]


@pytest.mark.parametrize(
    ("dtype", "scale", "offset"),
    [("uint8", 127, 128), ("int16", 32767, 0), ("int32", 2**31 - 256, 0), ("float32", 1, 0)],
)
def test_every_sample_type_is_read_to_unit_range(tmp_path: Path, dtype: str, scale: float, offset: float) -> None:
    tone = _tone(8_000)
    wavfile.write(tmp_path / "t.wav", 8_000, (tone.samples[:, 0] * scale + offset).astype(dtype))
    back = read_wav(tmp_path / "t.wav")
    assert back.samples.shape == (8_000, 1)
    assert np.abs(back.samples[:, 0] - tone.samples[:, 0]).max() < 0.02


@pytest.mark.parametrize(("source", "target"), [(44_100, 48_000), (16_000, 48_000), (48_000, 16_000)])
def test_resampling_keeps_time_and_pitch(source: int, target: int) -> None:
    expected, got = _tone(target), _tone(source).resampled(target)
    assert got.rate == target
    inner = slice(target // 10, -target // 10)
    assert np.abs(got.samples[inner] - expected.samples[inner]).max() < 2e-3


def test_between_cuts_and_fills_with_silence() -> None:
    sound = Audio(np.arange(1, 11, dtype=np.float32)[:, None] / 10, 10)
    np.testing.assert_allclose(sound.between(0.5, 0.8).samples[:, 0], [0.6, 0.7, 0.8])
    np.testing.assert_allclose(sound.between(-0.2, 0.2).samples[:, 0], [0, 0, 0.1, 0.2])
    np.testing.assert_allclose(sound.between(0.9, 1.2).samples[:, 0], [1.0, 0, 0])


def test_bad_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="no such sound"):
        read_wav(tmp_path / "none.wav")
    (tmp_path / "bad.wav").write_bytes(b"RIFFnothing")
    with pytest.raises(StudioError, match="cannot read the sound"):
        read_wav(tmp_path / "bad.wav")
    with pytest.raises(StudioError, match=r"float32 \[samples, channels\]"):
        Audio(np.zeros(5, np.float32), 10)


def test_recorded_speech(shared: Path) -> None:
    audio = read_wav(shared / "data/talking_heads/demo1_audio.wav")
    assert 9 < audio.duration < 11
    assert 0.05 < np.abs(audio.samples).max() <= 1
