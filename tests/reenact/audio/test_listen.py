"""The network: pieces give what the whole gives, its file is small and safe, it hears what a voice says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.synthetic.phones import schedule, usual_seconds
from capture.synthetic.speech import synthesise
from reenact.audio.articulation import CLOSE, JAW, MOVEMENTS
from reenact.audio.features import RATE, SIZE
from reenact.audio.listen import LATENCY, Heard, Listener, best_phones, hear_all, settled
from reenact.audio.network import SHIPPED, NetworkConfig, SpeechNetwork, load_network, save_network, shipped_network
from reenact.audio.phones import NAMES, VISEMES
from reenact.audio.scores import closure_score, heard_visemes, viseme_score, viseme_track
from reenact.audio.stream import Sampler, SpeechStream
from reenact.audio.train import TrainConfig, load_takes, save_takes, train, viseme_log_probabilities
from studio.errors import StudioError

TEXT = "SIL M AA M AH B IY P AO P UW B AE S IY M UW V P AA P SIL"


@pytest.fixture(scope="module")
def spoken() -> tuple[np.ndarray, list]:
    seconds = usual_seconds(TEXT) * 1.3
    phones = schedule(TEXT, 0.0, seconds)
    return synthesise(phones, seconds).resampled(RATE).samples[:, 0], phones


@given(st.lists(st.integers(1, 12_000), min_size=1, max_size=6))
@settings(max_examples=8, deadline=None)
def test_pieces_of_any_size_give_what_the_whole_gives(sizes):
    sound = np.random.default_rng(1).normal(0, 0.1, RATE)
    whole, listener, parts, place = hear_all(sound), Listener(), [], 0
    for size in sizes:
        parts.append(listener.push(sound[place : place + size]))
        place += size
    joined = Heard.joined([*parts, listener.push(sound[place:]), listener.flush()])
    count = len(whole.phones)
    assert count == 50
    assert np.abs(joined.phones[:count] - whole.phones).max() < 1e-4
    assert np.abs(joined.moved[:count] - whole.moved).max() < 1e-4


@pytest.mark.parametrize("chunk", [320, 640, 1000])
def test_a_stream_is_at_most_200_ms_behind_and_equals_the_recording(chunk, spoken):
    sound = spoken[0]
    stream, frames, late = SpeechStream(fps=30.0), [], []
    for start in range(0, len(sound), chunk):
        codes = stream.push(sound[start : start + chunk])
        heard = min(start + chunk, len(sound)) / RATE
        late += [heard - (len(frames) + k) / 30.0 for k in range(len(codes))]
        frames += list(codes)
    frames += list(stream.flush())
    assert max(late[3:]) <= LATENCY + 0.021 + chunk / RATE <= 0.2 + max(0, chunk - 640) / RATE
    again = SpeechStream(fps=30.0)
    whole = np.concatenate((again.push(sound), again.flush()))
    assert np.abs(np.array(frames)[: len(whole)] - whole[: len(frames)]).max() < 1e-4


def test_hears_the_lips_of_a_voice(spoken):
    sound, phones = spoken
    heard = hear_all(sound)
    seconds = len(sound) / RATE
    score = viseme_score(heard_visemes(heard.phones, 50, seconds), viseme_track(phones, seconds))
    assert score.all > 0.5
    closures = closure_score(phones, heard.times, heard.moved[:, CLOSE])
    assert closures.recall >= 0.7
    assert closures.false_share < 0.3


@pytest.mark.parametrize(("level", "most"), [(0.0, 0.0), (1e-4, 0.0), (3e-3, 0.3)])
def test_a_mouth_in_silence_and_noise_is_still(level, most):
    heard = hear_all(np.random.default_rng(0).normal(0, 1, 2 * RATE) * level)
    assert heard.moved[:, JAW].max() <= most
    assert heard.moved[25:, JAW].max() < 0.2
    assert heard.moved[60:, JAW].max() < 0.06


def test_lips_meet_where_a_bilabial_is_certain():
    phones = np.full((3, len(NAMES)), 0.1 / (len(NAMES) - 1))
    phones[0, NAMES.index("B")], phones[1, NAMES.index("AA")], phones[2, NAMES.index("SIL")] = 0.9, 0.9, 1.0
    result = settled(phones, np.full((3, len(MOVEMENTS)), 0.5))
    assert result[0, CLOSE] == pytest.approx(1.0)
    assert result[0, JAW] <= 0.11
    assert result[1, CLOSE] == pytest.approx(0.5)
    assert result[2].max() == 0.0


def test_best_phones_are_no_flicker():
    choice = np.array([NAMES.index(name) for name in ["SIL", "SIL", "AA", "AA", "AA", "T", "M", "M", "SIL", "SIL"]])
    assert [item.name for item in best_phones(choice)] == ["SIL", "AA", "SIL", "M", "SIL"]


def test_frames_never_lose_a_closure():
    moved = np.zeros((20, len(MOVEMENTS)))
    moved[7, CLOSE] = 1.0
    frames = Sampler(25.0).push(moved, last=True)
    assert frames[:, CLOSE].max() == 1.0
    assert len(frames) == 10


def test_the_shipped_file_is_small_and_loads():
    assert SHIPPED.stat().st_size < 3_000_000
    network = shipped_network()
    logits, moved, hidden, _ = network(torch.zeros(1, 20, SIZE))
    assert logits.shape == (1, 10, len(NAMES))
    assert moved.shape == (1, 10, len(MOVEMENTS))
    assert hidden.shape == (1, 10, network.config.width)


def test_a_file_that_is_no_network_is_one_line(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(StudioError, match="no speech network"):
        load_network(tmp_path / "x.safetensors")
    with pytest.raises(StudioError, match="no such network"):
        load_network(tmp_path / "y.safetensors")


def test_training_learns_and_its_result_is_stored(tmp_path):
    from reenact.audio.engines import Voice
    from reenact.audio.takes import Take

    rng = np.random.default_rng(0)
    phones = np.repeat(rng.integers(0, len(NAMES), 120), 10).astype(np.uint8)
    patterns = rng.normal(size=(len(NAMES), SIZE))
    moved = np.repeat(rng.random((120, len(MOVEMENTS))), 10, axis=0)
    take = Take(patterns[phones].astype(np.float16), phones, moved.astype(np.float16), Voice("formant", "x", 1.0, 1.0))
    save_takes(tmp_path / "takes.safetensors", [take, take])
    (back, _) = load_takes(tmp_path / "takes.safetensors")
    assert np.array_equal(back.features, take.features)
    assert back.voice == take.voice
    network = train(TrainConfig(tmp_path, steps=30, batch=2, width=24, rate=1e-2), [back])
    logits = network(torch.from_numpy(take.features[None].astype(np.float32)))[0][0]
    said = torch.from_numpy(take.phones[::2].astype(np.int64))
    right = (logits[5:].argmax(-1) == said[:-5]).float().mean()
    assert right > 0.08  # by chance 0.025
    save_network(tmp_path / "small.safetensors", network, {"steps": 60})
    again = load_network(tmp_path / "small.safetensors")
    assert again.config.width == 24
    features = torch.from_numpy(take.features[None, :100].astype(np.float32))
    assert torch.allclose(again(features)[1], network(features)[1], atol=0.02)


def test_visemes_gather_the_probability_of_their_phones():
    logits = torch.zeros(2, len(NAMES))
    logits[0, NAMES.index("P")] = 20.0
    given = viseme_log_probabilities(logits).exp()
    assert float(given[0, VISEMES.index("PP")]) == pytest.approx(1.0, abs=1e-3)
    assert torch.allclose(given.sum(-1), torch.ones(2))
    assert float(given[1, VISEMES.index("FF")]) == pytest.approx(2 / len(NAMES))


def test_network_state_carries_over():
    torch.manual_seed(0)
    network = SpeechNetwork(NetworkConfig(16)).eval()
    features = torch.randn(1, 60, SIZE)
    whole = network(features)[0]
    first, _, _, state = network(features[:, :22])
    second = network(features[:, 22:], state)[0]
    assert torch.allclose(torch.cat((first, second), 1), whole, atol=1e-5)
