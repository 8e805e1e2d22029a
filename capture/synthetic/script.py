"""What a subject does in front of the cameras: expressions in named segments, a spoken sentence, blinks, gaze, head.

The lower face follows the segments; brows, blinks, gaze and the head have a life of their own, so that every frame
shows something of everything. All is a function of time and a seed, and smooth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from scipy.interpolate import CubicSpline

from capture.synthetic.articulation import articulate, channels
from capture.synthetic.phones import SENTENCES, Shape, TimedPhone, schedule, usual_seconds
from capture.synthetic.speech import synthesise
from studio.codes import ARKIT52, Codes
from studio.errors import StudioError
from studio.media.audio import Audio
from studio.rotations import axis_angle_to_matrix, rigid

# Segments of the lower face: the poses each goes through.
SEGMENTS: Mapping[str, tuple[Shape, ...]] = MappingProxyType(
    {
        "smile": (
            {"mouthSmileBoth": 0.6, "cheekSquintBoth": 0.2},
            {"mouthSmileBoth": 1.0, "cheekSquintBoth": 0.5, "mouthUpperUpBoth": 0.4, "jawOpen": 0.08},
        ),
        "jaw": ({"jawOpen": 0.35}, {"jawOpen": 0.7, "mouthLowerDownBoth": 0.3}),
        "rounding": ({"mouthPucker": 0.9}, {"mouthFunnel": 0.8, "jawOpen": 0.2}),
        "sides": ({"mouthLeft": 0.7, "jawLeft": 0.4}, {"mouthRight": 0.7, "jawRight": 0.4}),
        "frown": (
            {"mouthFrownBoth": 0.8, "mouthShrugLower": 0.5},
            {"mouthStretchBoth": 0.8, "mouthLowerDownBoth": 0.5},
        ),
        "lips": ({"mouthRollLower": 0.7, "mouthRollUpper": 0.6}, {"mouthPressBoth": 0.8, "mouthDimpleBoth": 0.4}),
        "cheeks": ({"cheekPuff": 0.8}, {"noseSneerBoth": 0.8, "mouthUpperUpBoth": 0.6}),
        "one_sided": (
            {"mouthSmileLeft": 0.8, "cheekSquintLeft": 0.4},
            {"mouthSmileRight": 0.8, "mouthUpperUpRight": 0.4},
        ),
        "wide_open": ({"jawOpen": 0.95, "mouthStretchBoth": 0.2}, {"jawOpen": 0.5, "mouthFunnel": 0.5}),
    }
)
# Never shown in training: familiar movements in combinations that are new.
UNSEEN_SEGMENTS: Mapping[str, tuple[Shape, ...]] = MappingProxyType(
    {
        "laugh": ({"mouthSmileBoth": 0.8, "jawOpen": 0.4, "cheekSquintBoth": 0.5, "mouthUpperUpBoth": 0.3},),
        "awe": ({"jawOpen": 0.5, "mouthPucker": 0.3, "browInnerUp": 0.6},),
        "disgust": ({"noseSneerBoth": 0.5, "mouthFrownBoth": 0.5, "mouthLowerDownBoth": 0.3},),
    }
)
_BROWS: tuple[Shape, ...] = (
    {"browInnerUp": 0.7, "browOuterUpBoth": 0.7, "eyeWideBoth": 0.4},
    {"browDownBoth": 0.8, "eyeSquintBoth": 0.5},
    {"browInnerUp": 0.8},
    {"browOuterUpLeft": 0.7, "browDownRight": 0.4},
)
SCRIPTS = ("mixed", "expressions", "sentence", "claps")
_SPEECH_SHARE = 0.4  # of the time of a mixed script
_CLAP_SECONDS = 1.0
NECK_PIVOT = (0.0, -0.12, -0.08)  # where heads of every model turn, near enough


@dataclass(frozen=True)
class Performance:
    """A script, played.

    Args:
        codes: batch [T].
        audio: the sound, from the first frame's time on.
        segments: [T] name of the segment that each frame belongs to.
        unseen: [T] bool: frames that are kept out of training.
        phones: what is said, and when.
    """

    codes: Codes
    audio: Audio
    segments: tuple[str, ...]
    unseen: np.ndarray
    phones: tuple[TimedPhone, ...]


def perform(script: str, frames: int, fps: float, seed: int, sentence: str | None = None) -> Performance:
    """Play a script.

    Args:
        script: "mixed" (expressions, then the sentence), "expressions", "sentence", or "claps" (once a second the mouth
            opens for exactly one frame, with a click at that frame's time: to test that sound and picture are in sync).
        frames: T.
        fps: frames per second; frame t is at t / fps.
        seed: of everything that is left to chance.
        sentence: a name in ``SENTENCES`` or ARPAbet phones; chosen by the seed when not given.

    Raises:
        StudioError: unknown script, or a sentence that is neither.
    """
    if script not in SCRIPTS:
        raise StudioError("unknown script", got=script, expected=" | ".join(SCRIPTS))
    rng = np.random.default_rng([seed, 1])
    times, seconds = np.arange(frames) / fps, frames / fps
    talk = {"mixed": (1 - _SPEECH_SHARE) * seconds, "sentence": 0.0}.get(script, seconds)
    lower, names, unseen = _lower_face(times, talk if script in ("mixed", "expressions") else 0.0)
    phones: list[TimedPhone] = []
    if talk < seconds:
        phones = _spoken(sentence or list(SENTENCES)[seed % len(SENTENCES)], talk, seconds)
        lower = lower + articulate(phones, times)
        speaking = times >= talk
        names = np.where(speaking, "sentence", names)
        unseen = unseen | (speaking & (times >= talk + 0.8 * (seconds - talk)))
    weights = lower if script == "claps" else lower + _upper_face(times, fps, rng)
    audio = synthesise(phones, seconds, pitch=rng.uniform(95, 210), tract=rng.uniform(0.95, 1.15), seed=seed)
    if script == "claps":
        weights, audio = _claps(weights, times, audio)
    codes = _with_head_motion(np.clip(weights, 0, 1), times, rng, still=script == "claps")
    return Performance(codes, audio, tuple(names.tolist()), unseen, tuple(phones))


def _lower_face(times: np.ndarray, end: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights [T, 52], segment names [T] and which are unseen [T], over the time from 0 to ``end``."""
    poses = [(name, pose, False) for name, shapes in SEGMENTS.items() for pose in shapes]
    poses += [(name, pose, True) for name, shapes in UNSEEN_SEGMENTS.items() for pose in shapes]
    weights, names = np.zeros((len(times), len(ARKIT52))), np.full(len(times), "neutral", dtype="<U16")
    unseen = np.zeros(len(times), dtype=bool)
    length = end / len(poses)
    for index, (name, pose, new) in enumerate(poses):
        start = index * length
        during = (times >= start - 1e-9) & (times < start + length - 1e-9)
        weights[during] += np.outer(_rise_and_fall((times[during] - start) / length), channels(pose))
        names[during], unseen[during] = name, new
    return weights, names, unseen


def _rise_and_fall(t: np.ndarray) -> np.ndarray:
    """0 at both ends of 0..1, 1 over the middle, smooth."""
    s = np.clip(np.minimum(t, 1 - t) / 0.3, 0, 1)
    return s * s * (3 - 2 * s)


def _spoken(sentence: str, start: float, end: float) -> list[TimedPhone]:
    """The sentence in its time, repeated where there is much more of it than it needs."""
    text = SENTENCES.get(sentence, sentence)
    pause = min(0.12, 0.05 * (end - start))
    repeats = max(1, round((end - start) / (usual_seconds(text) + 0.3)))
    return schedule(" SIL ".join([text] * repeats), start + pause, end - pause)


def _upper_face(times: np.ndarray, fps: float, rng: np.random.Generator) -> np.ndarray:
    """Weights [T, 52] of brows, blinks and gaze."""
    seconds = times[-1] if len(times) else 0.0
    weights = np.zeros((len(times), len(ARKIT52)))
    start, number = rng.uniform(0.0, 0.4), int(rng.integers(len(_BROWS)))
    while start < seconds:
        length = rng.uniform(0.6, 1.2)
        during = (times >= start) & (times < start + length)
        strength = rng.uniform(0.5, 1.0)
        pose = channels(_BROWS[number % len(_BROWS)])
        weights[during] += strength * np.outer(_rise_and_fall((times[during] - start) / length), pose)
        start, number = start + length + rng.uniform(0.1, 0.7), number + 1
    weights += _gaze(times, rng)
    shut = channels({"eyeBlinkBoth": 1.0}) > 0
    closed = _blinks(times, fps, rng)
    return np.where(shut, np.maximum(weights, closed[:, None]), weights * (1 - 0.7 * closed[:, None]))


def _blinks(times: np.ndarray, fps: float, rng: np.random.Generator) -> np.ndarray:
    """How far the lids are shut [T]; every blink has a frame in which they are shut completely."""
    closed = np.zeros(len(times))
    moment = rng.uniform(0.3, 1.0)
    while len(times) and moment < times[-1]:
        peak = round(moment * fps) / fps
        before, after = (peak - times) / 0.09, (times - peak) / 0.17
        closed = np.maximum(closed, np.clip(1.25 - 1.25 * np.maximum(before, after), 0, 1))
        moment += rng.uniform(1.0, 2.6)
    return closed


def _gaze(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Weights [T, 52] of eyeLook channels: the eyes rest on a place, then jump."""
    moments, goals = [0.0], [np.zeros(2)]
    while len(times) and moments[-1] < times[-1]:
        moments.append(moments[-1] + rng.uniform(0.35, 0.9))
        goals.append(rng.normal(0, (0.4, 0.3)).clip(-0.85, 0.85))
    index = np.searchsorted(moments, times, side="right") - 1
    fresh = np.clip((times - np.array(moments)[index]) / 0.05, 0, 1)[:, None]
    here, before = np.array(goals)[index], np.array(goals)[np.maximum(index - 1, 0)]
    across, up = (before + (here - before) * fresh * fresh * (3 - 2 * fresh)).T  # positive: subject's left, up
    weights = np.zeros((len(times), len(ARKIT52)))
    for name, amount in (
        ("eyeLookOutLeft", across),
        ("eyeLookInRight", across),
        ("eyeLookInLeft", -across),
        ("eyeLookOutRight", -across),
        *((f"eyeLookUp{side}", up) for side in ("Left", "Right")),
        *((f"eyeLookDown{side}", -up) for side in ("Left", "Right")),
    ):
        weights[:, ARKIT52.index(name)] = np.clip(amount, 0, 1)
    return weights


def _claps(weights: np.ndarray, times: np.ndarray, audio: Audio) -> tuple[np.ndarray, Audio]:
    weights, samples = weights.copy(), audio.samples.copy()
    decay = np.exp(-np.arange(round(0.03 * audio.rate)) / (0.004 * audio.rate))
    click = 0.9 * decay * np.sign(np.sin(np.arange(len(decay)) * 0.9))
    for moment in np.arange(0.5 * _CLAP_SECONDS, times[-1], _CLAP_SECONDS):
        frame = int(np.argmin(np.abs(times - moment)))
        weights[frame, ARKIT52.index("jawOpen")] = 0.8
        first = round(times[frame] * audio.rate)
        part = samples[first : first + len(click), 0]
        part[:] = click[: len(part)]
    return weights, Audio(samples, audio.rate)


def _with_head_motion(weights: np.ndarray, times: np.ndarray, rng: np.random.Generator, still: bool) -> Codes:
    """The head turns on a torso that only sways a little."""
    turn = np.zeros((len(times), 3)) if still else _wander(times, rng, (0.10, 0.17, 0.06))
    sway = np.zeros((len(times), 3)) if still else _wander(times, rng, (0.006, 0.004, 0.006))
    neck = torch.from_numpy(turn).float()
    rotation = axis_angle_to_matrix(neck)
    pivot = torch.tensor(NECK_PIVOT)
    shift = pivot - rotation @ pivot + torch.from_numpy(sway).float()
    neutral = Codes.neutral(ARKIT52, (len(times),))
    parts = neutral.tensors() | {
        "expression": torch.from_numpy(weights).float(),
        "neck_pose": neck,
        "head_to_world": rigid(rotation, shift),
    }
    return Codes(ARKIT52, **parts)


def _wander(times: np.ndarray, rng: np.random.Generator, spread: Sequence[float]) -> np.ndarray:
    """Smooth random motion [T, len(spread)] with a new goal about every 0.8 seconds, starting at rest."""
    knots = np.arange(0.0, (times[-1] if len(times) else 0.0) + 2.4, 0.8)
    goals = rng.normal(size=(len(knots), len(spread))).clip(-1.6, 1.6) * spread
    goals[0] = 0
    return CubicSpline(knots, goals, bc_type="clamped")(times)
