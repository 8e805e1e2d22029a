"""Figures of a driver: known answers, and controls that must fail."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from capture.synthetic.phones import schedule, usual_seconds
from capture.synthetic.script import perform
from capture.synthetic.speech import synthesise
from reenact.audio.articulation import codes_of, movements
from reenact.audio.jaw import heard_opening
from reenact.drivers import Driving
from reenact.judge.motion import (
    Interval,
    action_units,
    against,
    blink_figures,
    blinks,
    closure_recall,
    correlation,
    dynamic_range,
    jitter,
    phones_of,
    silence_motion,
)
from reenact.judge.offset import find_offset, offsets, voice_envelope
from reenact.judge.report import NETWORKS, judge
from reenact.procedural import ProceduralConfig, procedural
from studio.cli.main import main
from studio.codes import Codes, CodeTrack
from studio.errors import StudioError
from studio.media.audio import Audio
from studio.rotations import axis_angle_to_matrix, rigid

FPS = 25.0


def _track(codes: Codes, fps: float = FPS) -> CodeTrack:
    return CodeTrack(codes, fps, torch.ones(codes.batch[0], dtype=torch.bool), {"expression": "made up"})


def _spoken(frames: int = 250, seed: int = 3) -> tuple[CodeTrack, Audio, list[Interval]]:
    played = perform("sentence", frames, FPS, seed)
    phones = [Interval(item.start, item.end, item.name) for item in played.phones]
    return _track(played.codes), played.audio, phones


def test_a_track_against_itself() -> None:
    track, _, _ = _spoken(100)
    figures = against(track, track)
    for name in ("LMD, mm", "LVE, mm2", "FDD, mm2", "AED", "AUE, lower face", "AUE, upper face"):
        assert figures[name] == pytest.approx(0.0, abs=1e-6), name
    assert figures["APD, degrees"] < 0.05
    assert figures["jitter, ratio"] == pytest.approx(1.0)
    assert figures["mouth opening, r"] == pytest.approx(1.0, abs=1e-5)
    assert figures["mouth opening, ratio of ranges"] == pytest.approx(1.0)


def test_known_differences() -> None:
    """Half of the expression, and a head turned by 0.1 rad in half of the frames."""
    track, _, _ = _spoken(100)
    turns = torch.zeros(100, 3)
    turns[::2, 1] = 0.1
    still = replace(track, codes=replace(track.codes, head_to_world=torch.eye(4).expand(100, 4, 4)))
    pose = rigid(axis_angle_to_matrix(turns), torch.zeros(100, 3))
    codes = replace(track.codes, expression=0.5 * track.codes.expression, head_to_world=pose)
    figures = against(replace(track, codes=codes), still)
    assert figures["AED"] == pytest.approx(0.5 * float(track.codes.expression.mean()), rel=1e-4)
    assert figures["APD, degrees"] == pytest.approx(np.degrees(0.05), rel=1e-2)
    units = action_units(track.codes)
    expected = sum(float((0.5 * units[number]).square().mean()) for number in (1, 2, 4, 5, 6, 7, 9, 43))
    assert figures["AUE, upper face"] == pytest.approx(expected, rel=1e-4)
    assert figures["mouth opening, ratio of ranges"] == pytest.approx(0.5, abs=0.1)
    assert figures["LMD, mm"] > 0.1
    assert figures["FDD, mm2"] > 0  # the reference moves more


def test_lmd_by_hand() -> None:
    """Lips moved as a whole are no error; one of 40 points moved is its share."""
    from reenact.judge.motion import LIPS

    lips = torch.rand(1, len(LIPS), 2)
    moved = lips + 0.3
    assert torch.allclose(lips - lips.mean(1, keepdim=True), moved - moved.mean(1, keepdim=True), atol=1e-6)
    assert len(LIPS) == len(set(LIPS)) == 40


def test_jitter_of_a_shaken_track_is_larger() -> None:
    track, _, _ = _spoken(100)
    noise = 0.05 * torch.randn(100, 52, generator=torch.Generator().manual_seed(0))
    shaken = replace(track, codes=replace(track.codes, expression=(track.codes.expression + noise).clamp(0, 1)))
    assert jitter(shaken) > 1.3 * jitter(track)
    assert jitter(_track(Codes.neutral(batch=(9,)))) == 0


@pytest.mark.parametrize("fps", [25.0, 30.0, 60.0])
def test_blinks_are_counted_and_timed(fps: float) -> None:
    frames = round(20 * fps)
    times = torch.arange(frames) / fps
    lids = torch.zeros(frames)
    for moment in (1.0, 4.0, 9.0, 16.0):
        lids = torch.maximum(lids, (1 - ((times - moment) / 0.12).abs()).clamp(min=0))
    lids[(times > 12) & (times < 14)] = 1.0  # sleep is no blink
    track = _track(Codes.neutral(batch=(frames,)).with_channels(eyeBlinkLeft=lids, eyeBlinkRight=lids), fps)
    assert [round(item.start) for item in blinks(track)] == [1, 4, 9, 16]
    figures = blink_figures(track)
    assert figures["blinks a minute"] == pytest.approx(12.0)
    assert figures["interval between blinks, median s"] == pytest.approx(5.0, abs=0.1)
    assert 0.08 < figures["blink duration, s"] < 0.2


def test_procedural_blinks_are_found() -> None:
    track = procedural(1500, FPS, ProceduralConfig(seed=1, blinks=20.0))
    assert blink_figures(track)["blinks a minute"] == pytest.approx(20.0, abs=7)


def test_closure_recall_and_a_mouth_that_never_closes() -> None:
    track, _, phones = _spoken()
    assert sum(item.name in ("P", "B", "M") for item in phones) > 2
    assert closure_recall(track, phones) == 1.0
    open_mouth = replace(track, codes=track.codes.with_channels(jawOpen=0.3, mouthClose=0.0))
    assert closure_recall(open_mouth, phones) == 0.0
    assert closure_recall(track, [Interval(0.1, 0.2, "AA")]) is None


def test_silence() -> None:
    codes = Codes.neutral(batch=(100,))
    moving = 0.2 + 0.2 * torch.sin(torch.arange(100) * 0.9)
    moving[50:] = 0.2
    track = _track(codes.with_channels(jawOpen=moving))
    found = silence_motion(track, [Interval(2.1, 4.0)])
    assert found is not None
    assert found["silent mouth, share of speech"] < 0.01
    loud = silence_motion(
        _track(codes.with_channels(jawOpen=0.2 + 0.2 * torch.sin(torch.arange(100) * 0.9))), [Interval(2, 4)]
    )
    assert loud is not None
    assert loud["silent mouth, share of speech"] > 0.8
    assert silence_motion(track, []) is None


@pytest.mark.parametrize("late", [-0.2, 0.0, 0.12])
def test_offset_is_found_and_shuffled_sound_is_not(late: float) -> None:
    """A voice whose loudness opens the mouth, ``late`` seconds afterwards."""
    rng = np.random.default_rng(0)
    seconds, rate = 16.0, 16_000
    knots = np.clip(rng.normal(0.5, 0.5, round(seconds * 6)), 0, 1)
    loud = np.interp(np.arange(0, seconds, 1 / rate), np.arange(len(knots)) / 6, knots)
    samples = loud**2 * rng.normal(size=len(loud)) * 0.2
    audio = Audio(samples.astype(np.float32)[:, None], rate)
    times = np.arange(round(seconds * FPS)) / FPS
    opening = np.interp(times - late, np.arange(len(knots)) / 6, knots)
    track = _track(Codes.neutral(batch=(len(times),)).with_channels(jawOpen=0.5 * torch.from_numpy(opening).float()))
    found = find_offset(track, voice_envelope(audio))
    assert found is not None
    assert found.counts
    assert found.lag == pytest.approx(late, abs=0.05)
    assert found.r > 0.8
    other = Audio((np.roll(samples, rate * 5)).astype(np.float32)[:, None], rate)
    missed = find_offset(track, voice_envelope(other))
    assert missed is not None
    assert missed.r < found.null + 0.2
    figures = offsets(
        track, audio, jaw=lambda sound: np.interp(np.arange(0, seconds, 0.01), np.arange(len(knots)) / 6, knots)
    )
    assert isinstance(figures["A/V lag, s"], float)
    assert figures["A/V lag, s"] == pytest.approx(late, abs=0.05)
    assert offsets(track, audio)["A/V lag, s"] == "not measured"  # one estimator alone says nothing


def test_a_still_mouth_has_no_offset() -> None:
    track, audio, _ = _spoken(200)
    assert find_offset(_track(Codes.neutral(batch=(200,))), voice_envelope(audio)) is None
    assert find_offset(replace(track, codes=track.codes[:20], valid=track.valid[:20]), voice_envelope(audio)) is None
    with pytest.raises(StudioError, match="too short"):
        voice_envelope(Audio(np.zeros((10, 1), np.float32), 16_000))


def test_what_needs_a_network_is_not_measured() -> None:
    track, audio, phones = _spoken(150)
    starts, ends = (np.array([getattr(item, end) for item in phones]) for end in ("start", "end"))
    extras = {"phones/start": starts, "phones/end": ends, "phones/name": np.array([item.name for item in phones])}
    found = judge(Driving(replace(track, extras=extras), audio), track)
    assert all(found["figures"][name] == "not measured" for name in NETWORKS)
    assert found["figures"]["closure recall on P, B, M"] == 1.0
    assert phones_of(extras)[1].name == phones[1].name
    json.dumps(found, allow_nan=False)
    with pytest.raises(StudioError, match="the reference is another clip"):
        judge(Driving(track), _track(Codes.neutral(batch=(10,))))


def test_dynamic_range_and_correlation() -> None:
    codes = Codes.neutral(batch=(101,)).with_channels(jawOpen=torch.linspace(0, 0.5, 101))
    assert 0.01 < dynamic_range(codes) < 0.03
    ramp = torch.linspace(0, 1, 9)
    assert correlation(ramp, 3 * ramp + 1) == pytest.approx(1.0)
    assert correlation(ramp, -ramp) == pytest.approx(-1.0)
    assert correlation(ramp, torch.zeros(9)) == 0.0


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    track, _, _ = _spoken(60)
    track.save(tmp_path / "talk")
    arguments = ["eval", "driver=track", f"driver.source={tmp_path}/talk", f"reference={tmp_path}/talk"]
    assert main([*arguments, f"out={tmp_path}/judged"]) == 0
    printed = capsys.readouterr().out
    assert "blinks a minute" in printed
    assert "not measured" in printed
    found = json.loads((tmp_path / "judged" / "metrics.json").read_text())
    assert found["figures"]["AED"] == 0.0
    assert main([*arguments, f"out={tmp_path}/judged"]) == 2
    assert main(["eval"]) == 2


def test_a_heard_opening_is_a_second_estimator() -> None:
    """Made-up speech, and a mouth that speaks it 120 ms late: the lag of what the network hears."""
    names = "M AA P AE B UW M IY P OW B AA M EH P AA SIL"
    text = f"SIL {names} {names}"
    seconds = usual_seconds(text)
    phones = schedule(text, 0.0, seconds)
    audio = synthesise(phones, seconds)
    times = np.arange(int(seconds * FPS)) / FPS
    codes = Codes.neutral(batch=(len(times),))
    codes.expression[:] = torch.from_numpy(codes_of(movements(phones, times - 0.12))).float()
    opening = heard_opening(audio)
    assert len(opening) == pytest.approx(100 * audio.duration, abs=4)
    found = find_offset(_track(codes), opening)
    assert found is not None
    assert found.lag == pytest.approx(0.12, abs=0.06)
    figures = offsets(_track(codes), audio, heard_opening)
    assert isinstance(figures["A/V r by phones"], float)
