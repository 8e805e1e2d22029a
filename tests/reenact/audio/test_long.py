"""Sound and tracks in pieces: the same as in one, in memory that does not grow."""

import numpy as np
import pytest

from capture.synthetic.phones import schedule
from capture.synthetic.speech import synthesise
from reenact.audio.long import speak_file
from reenact.audio.speaking import Speech, speak_codes
from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.media.audio import Audio, write_wav
from studio.media.video_reader import read_audio, read_audio_blocks
from studio.track_pieces import write_track


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    text = "SIL M AA P IY S UW T B OW L SIL"
    sound = synthesise(schedule(text, 0.0, 2.5), 2.5)
    path = tmp_path_factory.mktemp("sound") / "voice.wav"
    samples = np.tile(sound.resampled(44_100).samples, (3, 2))
    write_wav(path, Audio(np.ascontiguousarray(samples[: 44_100 * 7 + 123]), 44_100))
    return path


@pytest.mark.parametrize("seconds", [0.3, 2.0, 60.0])
def test_blocks_of_a_file_are_its_sound(recording, seconds):
    whole, parts = read_audio(recording), list(read_audio_blocks(recording, seconds))
    assert {len(part.samples) for part in parts[:-1]} <= {round(seconds * 44_100)}
    assert np.array_equal(np.concatenate([part.samples for part in parts]), whole.samples)


def test_a_file_in_pieces_gives_the_track_of_the_whole(recording, tmp_path, monkeypatch):
    monkeypatch.setattr("reenact.audio.speaking.BLOCK_SECONDS", 2)
    monkeypatch.setattr("reenact.audio.long.BLOCK_SECONDS", 2)
    count = speak_file(recording, tmp_path / "track", 25.0)
    kept, whole = CodeTrack.load(tmp_path / "track"), speak_codes(read_audio(recording), Speech(), 25.0)
    assert count == len(kept) == len(whole)
    for name, value in whole.codes.tensors().items():
        assert np.allclose(kept.codes.tensors()[name], value, atol=1e-4)
    assert kept.provenance == whole.provenance
    assert list(kept.extras["phones/name"]) == list(whole.extras["phones/name"])
    assert np.allclose(kept.extras["closure"], whole.extras["closure"], atol=1e-4)
    with pytest.raises(StudioError, match="exists already"):
        speak_file(recording, tmp_path / "track")


def test_memory_does_not_grow_with_the_pieces(tmp_path):
    import tracemalloc

    piece = CodeTrack.load(_stored(tmp_path / "one", 1))
    peaks = []
    for count in (4, 64):
        tracemalloc.start()
        assert write_track(tmp_path / str(count), (piece for _ in range(count))) == count * len(piece)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_no_piece_is_no_track(tmp_path):
    with pytest.raises(StudioError, match="no frames"):
        write_track(tmp_path / "none", [])
    assert not (tmp_path / "none").exists()


def _stored(folder, seconds):
    silence = Audio(np.zeros((16_000 * seconds, 1), dtype=np.float32), 16_000)
    track = speak_codes(silence, Speech(), 25.0)
    write_track(folder, [track.__class__(track.codes, 25.0, track.valid, track.provenance)])
    return folder
