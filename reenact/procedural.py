"""Life that nobody recorded: blinks, gaze, breath and head motion. Made of statistics and a seed, and labelled so.

Where the numbers come from:
- Blinks: 17 a minute at rest and 26 in conversation (Bentivoglio et al., "Analysis of blink rate patterns in normal
  subjects", 1997); intervals are log-normal; the lid falls in about 90 ms and rises in about 180 ms, faster at first
  (Evinger et al., "Eyelid movements", 1991; Trutoiu et al., "Modeling and animating eye blinks", 2011). Speakers blink
  at the ends of phrases (Nakano and Kitazawa, "Eyeblink entrainment at breakpoints of speech", 2010).
- Gaze: in conversation the eyes rest about 1.9 s on the partner and 0.9 s beside (Lee, Badler and Badler, "Eyes alive",
  2002: listening looks 5 times as long as away, speaking about twice); saccades last 2.2 ms a degree and 21 ms
  (Bahill, Clark and Stark, "The main sequence", 1975); small ones of up to a degree come about once a second; blinks go
  along with large ones (Evinger et al., "Not looking while leaping", 1994).
- Breath: 12 to 16 a minute, a little longer out than in.
- Head: energy at 1 to 2 Hz in speech, following the loudness of the voice (Chandrasekaran et al. 2009; Munhall et al.,
  "Visual prosody", 2004), slow wandering else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator
from scipy.signal import butter, sosfiltfilt

from reenact.gaze import looking
from reenact.torso import NECK_PIVOT
from studio.codes import Codes, CodeTrack
from studio.errors import StudioError
from studio.media.audio import Audio
from studio.rotations import axis_angle_to_matrix, rigid

_CLOSE_SECONDS, _SHUT_SECONDS, _OPEN_SECONDS = 0.09, 0.03, 0.19
_INTERVAL_SPREAD = 0.55  # of the logarithm of an interval between blinks
_LEAST_INTERVAL = 0.45  # seconds
_PHRASE_END = 0.5  # chance that a blink that is due about then waits for a pause
_NEAR_PAUSE = 0.7  # seconds within which a pause draws a blink
_BREATHS = 14.0  # a minute
_HOP = 0.01  # seconds between loudness values
_SPEECH_DB = 25.0  # below the loudest: no speech
_PAUSE_SECONDS = 0.2


@dataclass(frozen=True)
class ProceduralConfig:
    """What is made, and how much of it.

    Args:
        seed: of everything random.
        blinks: a minute; 17 at rest and 26 where there is a voice, when not given.
        gaze: how far the eyes wander, 1 as in conversation, 0 not at all.
        breath: strength of the breathing.
        head: strength of the head's motion.
    """

    seed: int = 0
    blinks: float | None = None
    gaze: float = 1.0
    breath: float = 1.0
    head: float = 1.0

    def __post_init__(self) -> None:
        for name in ("gaze", "breath", "head"):
            if not 0 <= getattr(self, name) <= 3:
                raise StudioError(f"impossible strength {name}", got=getattr(self, name), expected="0 to 3")
        if self.blinks is not None and not 0 <= self.blinks <= 60:
            raise StudioError("impossible rate of blinks", got=self.blinks, expected="0 to 60 a minute")


def procedural(
    frames: int, fps: float, config: ProceduralConfig | None = None, voice: Audio | None = None
) -> CodeTrack:
    """Blinks, gaze, breath and head motion, relative to a head at rest at the world's origin.

    Args:
        frames: T.
        fps: frames per second.
        config: how much.
        voice: what is said: blinks then come with pauses, the head moves with its loudness.
    """
    config = config or ProceduralConfig()
    times = np.arange(frames) / fps
    generators = [np.random.default_rng([config.seed, part]) for part in range(4)]
    prosody = Prosody.of(voice, frames, fps)
    turn, rise = head_motion(times, prosody, config, generators[0])
    jumps = gaze_targets(frames / fps, generators[1], speaking=prosody.speaks)
    moments = blink_times(frames / fps, config.blinks, prosody.pauses, jumps, generators[2])
    breath = breathing(times, generators[3]) * config.breath
    return _assembled(
        times, fps, turn, rise, breath, closed_lids(times, moments), gaze_angles(times, jumps, config.gaze)
    )


@dataclass(frozen=True)
class Prosody:
    """What of a voice drives a head.

    Args:
        loudness: [T] 0..1, smoothed.
        pauses: [P, 2] beginnings and ends of silences, seconds.
        speaks: whether anything is said.
    """

    loudness: np.ndarray
    pauses: np.ndarray
    speaks: bool

    @staticmethod
    def of(voice: Audio | None, frames: int, fps: float) -> Prosody:
        if voice is None or not len(voice.samples) or float(np.abs(voice.samples).max()) < 1e-4:
            return Prosody(np.zeros(frames), np.zeros((0, 2)), False)
        decibels = loudness_db(voice)
        moments = np.arange(len(decibels)) * _HOP
        loud = np.clip((decibels - decibels.max()) / _SPEECH_DB + 1, 0, 1)
        steady = np.convolve(loud, np.hanning(13) / np.hanning(13).sum(), mode="same")
        return Prosody(np.interp(np.arange(frames) / fps, moments, steady, 0, 0), silences(loud), True)


def loudness_db(voice: Audio) -> np.ndarray:
    """Loudness in dB every 10 ms, of all channels together."""
    samples = voice.samples.mean(1).astype(np.float64)
    hop = max(1, round(_HOP * voice.rate))
    count = math.ceil(len(samples) / hop)
    power = np.pad(samples, (0, count * hop - len(samples))).reshape(count, hop)
    return 10 * np.log10((power**2).mean(1) + 1e-10)


def silences(loud: np.ndarray) -> np.ndarray:
    """[P, 2] beginnings and ends, seconds, of stretches of at least 0.2 s without speech; ``loud`` every 10 ms."""
    edges = np.diff(np.concatenate(([0], (loud < 0.15).astype(int), [0])))
    found = np.stack((np.flatnonzero(edges > 0), np.flatnonzero(edges < 0)), axis=1) * _HOP
    return found[found[:, 1] - found[:, 0] >= _PAUSE_SECONDS]


def blink_times(
    seconds: float, rate: float | None, pauses: np.ndarray, jumps: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Moments of blinks: log-normal intervals, drawn to the beginnings of pauses and to large changes of gaze.

    Args:
        seconds: length.
        rate: a minute; of rest or conversation when None.
        pauses: [P, 2] seconds.
        jumps: [N, 3] see ``gaze_targets``.
        rng: source of chance.
    """
    rate = (26.0 if len(pauses) else 17.0) if rate is None else rate
    if rate <= 0:
        return np.zeros(0)
    # The mean of a log-normal is exp(mu + sigma^2 / 2).
    mu = math.log(60.0 / rate) - 0.5 * _INTERVAL_SPREAD**2
    big = [row[0] for before, row in pairwise(jumps) if math.dist(before[1:], row[1:]) > 0.2]
    anchors = np.array(sorted([*(pauses[:, 0] + 0.05), *big]))
    moments: list[float] = []
    now = float(rng.uniform(0, 60.0 / rate))
    while now < seconds:
        near = anchors[np.abs(anchors - now) < _NEAR_PAUSE] if len(anchors) else anchors
        drawn = rng.random() < _PHRASE_END
        moment = float(near[np.argmin(np.abs(near - now))]) if len(near) and drawn else now
        if not moments or moment - moments[-1] >= _LEAST_INTERVAL:
            moments.append(moment)
        now += max(float(rng.lognormal(mu, _INTERVAL_SPREAD)), _LEAST_INTERVAL)
    return np.array(moments)


def closed_lids(
    times: np.ndarray,  # [T] seconds
    moments: np.ndarray,  # [N] seconds at which lids begin to be shut
) -> np.ndarray:
    """[T] how far the lids are closed; every blink is seen fully closed in at least one frame."""
    closed = np.zeros(len(times))
    step = times[1] - times[0] if len(times) > 1 else 0.0
    shut = max(_SHUT_SECONDS, 1.01 * step)
    for moment in moments:
        away = times - moment
        falling = np.clip(1 + away / _CLOSE_SECONDS, 0, 1)
        rising = np.clip((away - shut) / _OPEN_SECONDS, 0, 1)
        fall = falling * falling * (3 - 2 * falling)
        rise = 1 - (1 - rising) ** 2.2  # quick at first, then slow
        closed = np.maximum(closed, np.where(away < 0, fall, 1 - rise))
    return closed


def gaze_targets(seconds: float, rng: np.random.Generator, speaking: bool) -> np.ndarray:
    """[N, 3] when the eyes jump, and to what angles (across to the subject's left, up; radians).

    Long looks at the camera, shorter ones beside it, and small saccades in between; the first is at the camera.
    """
    rows = [(0.0, 0.0, 0.0)]
    now, at_camera, place = 0.0, True, np.zeros(2)
    stay = rng.lognormal(math.log(1.9), 0.5)
    while now < seconds:
        small = rng.exponential(1.1) + 0.25
        if small < stay:
            now, stay = now + small, stay - small
            shown = place + rng.normal(0, math.radians(0.5), 2)
        else:
            now += stay
            at_camera = not at_camera
            # Speakers look away longer than listeners.
            typical = 1.9 if at_camera else (0.95 if speaking else 0.45)
            stay = rng.lognormal(math.log(typical), 0.45)
            size = rng.gamma(4.0, math.radians(2.4))
            angle = rng.choice([0.0, math.pi]) + rng.normal(0, 0.6)  # mostly to the sides
            place = np.zeros(2) if at_camera else size * np.array([math.cos(angle), 0.7 * math.sin(angle)])
            shown = place
        rows.append((now, *np.clip(shown, (-0.4, -0.25), (0.4, 0.25))))
    return np.array(rows)


def gaze_angles(times: np.ndarray, jumps: np.ndarray, strength: float) -> np.ndarray:
    """[T, 2] angles of the eyes: jumps along the main sequence, rests in between."""
    index = np.searchsorted(jumps[:, 0], times, side="right") - 1
    here, before = jumps[index, 1:], jumps[np.maximum(index - 1, 0), 1:]
    degrees = np.degrees(np.linalg.norm(here - before, axis=1))
    length = 0.021 + 0.0022 * degrees
    t = np.clip((times - jumps[index, 0]) / length, 0, 1)[:, None]
    return strength * (before + (here - before) * t * t * (3 - 2 * t))


def breathing(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[T] -1..1: in a little quicker than out, no two breaths alike."""
    seconds = times[-1] if len(times) else 0.0
    moments, levels, now = [-2.0], [0.0], float(rng.uniform(-3, 0))
    while now < seconds + 6:
        period = 60 / _BREATHS * rng.lognormal(0, 0.12)
        deep = rng.lognormal(0, 0.15)
        moments += [now, now + 0.42 * period]
        levels += [-1.0, min(deep, 1.5)]
        now += period
    order = np.argsort(moments, kind="stable")
    knots, first = np.unique(np.array(moments)[order], return_index=True)
    values: np.ndarray = PchipInterpolator(knots, np.array(levels)[order][first])(times)
    return values


def head_motion(
    times: np.ndarray, prosody: Prosody, config: ProceduralConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Turns [T, 3] (axis-angle, radians) and how far the brows rise [T] (0..1)."""
    fps = 1 / (times[1] - times[0]) if len(times) > 1 else 25.0
    slow = _wander(times, (0.05, 0.4), 3, rng) * (0.018, 0.028, 0.012)
    beat = _wander(times, (0.9, 2.0), 3, rng) * (0.020, 0.014, 0.010)
    stress = _band(prosody.loudness, fps, (0.7, 2.0))
    amount = prosody.loudness[:, None]
    # Stressed syllables come with a nod (Munhall et al. 2004): down is positive.
    turns = slow + amount * beat + np.outer(0.05 * stress, (1.0, 0.0, 0.0))
    rise = np.clip(stress - 0.25, 0, 1) * 0.5
    return config.head * turns, config.head * rise


def _wander(times: np.ndarray, band: tuple[float, float], width: int, rng: np.random.Generator) -> np.ndarray:
    """[T, width] smooth random curves of unit deviation within a band of frequencies, the same for any length."""
    count = 24
    rates, phases = rng.uniform(*band, (count, width)), rng.uniform(0, 2 * math.pi, (count, width))
    waves = np.sin(2 * math.pi * times[:, None, None] * rates + phases)
    curves: np.ndarray = waves.sum(1) * math.sqrt(2 / count)
    return curves


def _band(values: np.ndarray, fps: float, band: tuple[float, float]) -> np.ndarray:
    """A curve within a band of frequencies (zero phase)."""
    high = min(band[1], 0.45 * fps)
    if len(values) < 32 or band[0] >= high or not np.any(values):
        return np.zeros(len(values))
    sections = butter(2, (band[0], high), "bandpass", fs=fps, output="sos")
    passed: np.ndarray = sosfiltfilt(sections, values, padlen=min(len(values) - 1, 3 * round(fps / band[0])))
    return passed


def _assembled(
    times: np.ndarray,
    fps: float,
    turn: np.ndarray,
    rise: np.ndarray,
    breath: np.ndarray,
    closed: np.ndarray,
    gaze: np.ndarray,
) -> CodeTrack:
    """Codes of all of it. The eyes make up for the head, as they do when something is looked at."""
    frames = len(times)

    def tensor(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).float()

    turns = tensor(turn)
    turns[:, 0] -= 0.006 * tensor(breath)  # the head rises a little with each breath
    rotation, pivot = axis_angle_to_matrix(turns), torch.tensor(NECK_PIVOT)
    lift = torch.stack((torch.zeros(frames), 0.0012 * tensor(breath), torch.zeros(frames)), dim=-1)
    codes = replace(
        Codes.neutral(batch=(frames,)),
        neck_pose=turns,
        head_to_world=rigid(rotation, pivot - rotation @ pivot + lift),
        neck_translation=0.4 * lift,
    )
    across, up = gaze.T
    world = np.stack((np.sin(across) * np.cos(up), np.sin(up), np.cos(across) * np.cos(up)), axis=-1)
    direction = (rotation.transpose(1, 2) @ tensor(world)[..., None])[..., 0]
    codes = looking(codes, direction[:, None].expand(-1, 2, -1))
    shut, brow = tensor(closed), tensor(rise)
    nostrils = 0.05 * tensor(np.clip(breath, 0, None))
    codes = codes.with_channels(
        eyeBlinkLeft=shut,
        eyeBlinkRight=shut,
        browInnerUp=brow,
        browOuterUpLeft=0.7 * brow,
        browOuterUpRight=0.7 * brow,
        noseSneerLeft=nostrils,
        noseSneerRight=nostrils,
    )
    label = "procedural"
    provenance = {"expression": label, "lids": label, "gaze": label, "head": label, "neck": label}
    return CodeTrack(codes, fps, torch.ones(frames, dtype=torch.bool), provenance)
