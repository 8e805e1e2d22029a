"""How somebody moves, learned from a track and put on another's motion; and motion as a few directions to edit along.

A style is what stays when the words are taken away (after StyleTalk's idea, without a network): the habitual pose of
each channel, how far each group of channels moves, how fast, how much more the one side does than the other, and how
often the person blinks and nods.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.signal import butter, find_peaks, sosfiltfilt
from torch import Tensor

from reenact.curves.files import read_json, written_whole
from reenact.judge.motion import blinks
from reenact.mouth import lip_gap
from reenact.procedural import blink_times, closed_lids
from reenact.project.channels import CHANNELS, members
from reenact.torso import NECK_PIVOT, torso_to_world, with_torso
from studio.building import build
from studio.code_range import head_motion, mean_pose
from studio.codes import ARKIT52, Codes, CodeTrack
from studio.errors import StudioError
from studio.rotations import axis_angle_to_matrix, rigid

_LEAST_SECONDS = 4.0
_GAIN = (0.4, 2.5)
_MOVES = 0.02  # deviation below which a channel's amplitude says nothing
_EXPRESSIVE = ("mouth", "jaw", "brows", "nose")
_NOD_BAND = (0.5, 3.0)
_NOD_SECONDS, _NOD_TURN = 0.6, 0.06  # of a nod that is added: how long, and radians down
_NOD_LEAST = 4.0  # seconds in which nods are looked for
_NOD_APART = 1.0  # seconds, at least, between nods that are added
_SLOPES = {
    "mouth": 0.3,
    "jaw": 0.3,
    "brows": 1.0,
    "nose": 1.0,
}  # of spectra that tempo tilts; words stay


@dataclass(frozen=True)
class Style:
    """A way of moving.

    Args:
        pose: habitual weight of each expression channel by name, the median of speech.
        amplitude: channel of the timeline -> root mean square of what its weights do about their median.
        tempo: channel of the timeline -> its usual speed over its amplitude, 1 a second.
        asymmetry: name without side -> how much more the left moves, -1..1.
        blinks: a minute.
        nods: turns of the head's pitch a minute.
        head: deviation of the head's turns, radians.
        seconds: of what it was learned from.
    """

    pose: Mapping[str, float]
    amplitude: Mapping[str, float]
    tempo: Mapping[str, float]
    asymmetry: Mapping[str, float]
    blinks: float
    nods: float
    head: tuple[float, float, float]
    seconds: float

    def save(self, path: Path) -> None:
        """Write JSON. Raises StudioError when the file exists."""
        with written_whole(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1, allow_nan=False) + "\n")

    @staticmethod
    def load(path: Path) -> Style:
        """Read it back. Raises StudioError when it is missing or damaged."""
        data = read_json(path, "a style, see reenact.style")
        if not isinstance(data, Mapping):
            raise StudioError(f"{path} is no style", got=type(data).__name__, expected="an object")
        style = build(Style, data, path.name)
        unknown = [name for name in style.pose if name not in ARKIT52.channels]
        if unknown:
            raise StudioError(f"{path} names unknown channels", got=", ".join(unknown[:4]))
        return style


def learn_style(track: CodeTrack) -> Style:
    """The style of a track.

    Raises:
        StudioError: too short, or codes of another space.
    """
    ARKIT52.require(track.codes.space, "the track")
    codes = track.codes[track.valid]
    seconds = codes.batch[0] / track.fps
    if seconds < _LEAST_SECONDS:
        raise StudioError("too short to learn a style from", got=f"{seconds:.1f} s", expected=f"{_LEAST_SECONDS} s")
    middle = codes.expression.quantile(0.5, dim=0)
    away = codes.expression - middle
    amplitude, tempo = {}, {}
    for channel in _EXPRESSIVE:
        indices = members(channel, ARKIT52)
        amplitude[channel] = float(away[:, indices].square().mean().sqrt())
        speed = float(away[:, indices].diff(dim=0).square().mean().sqrt()) * track.fps
        tempo[channel] = speed / max(amplitude[channel], 1e-6)
    valid = replace(track, codes=codes, valid=track.valid[track.valid], extras={})
    turns, _ = head_motion(codes.head_to_world, mean_pose(codes.head_to_world))
    spread = turns.std(dim=0).tolist()
    return Style(
        pose=dict(zip(ARKIT52.channels, middle.tolist())),
        amplitude=amplitude,
        tempo=tempo,
        asymmetry=_asymmetry(away),
        blinks=60 * len(blinks(valid)) / seconds,
        nods=_nods(turns[:, 0], track.fps),
        head=(spread[0], spread[1], spread[2]),
        seconds=seconds,
    )


def apply_style(track: CodeTrack, style: Style, strength: float = 1.0, seed: int = 0) -> CodeTrack:
    """A track moved as a style says. Lips that meet still meet; the words keep their time.

    Args:
        track: the motion.
        style: of somebody else.
        strength: 0 leaves it as it is, 1 takes the style over.
        seed: of blinks that are added.

    Raises:
        StudioError: an impossible strength, or codes of another space.
    """
    if not 0 <= strength <= 1.5:
        raise StudioError("impossible strength of a style", got=strength, expected="0 to 1.5")
    if strength == 0:
        return track
    own = learn_style(track)
    names = ARKIT52.channels
    middle = torch.tensor([own.pose[name] for name in names])
    goal = torch.tensor([style.pose.get(name, 0.0) for name in names])
    lids = torch.tensor([name.startswith(("eyeBlink", "eyeLook")) for name in names])
    shift = torch.where(lids, 0.0, strength * (goal - middle))
    gains = torch.ones(len(names))
    for channel in _EXPRESSIVE:
        if own.amplitude[channel] > _MOVES and style.amplitude.get(channel, 0.0) > _MOVES:
            gains[members(channel, ARKIT52)] = _gain(style.amplitude[channel] / own.amplitude[channel], strength)
    # One gain for what closes lips together.
    both = members("mouth", ARKIT52) + members("jaw", ARKIT52)
    gains[both] = gains[both].mean()
    away = track.codes.expression - middle
    for channel, steepest in _SLOPES.items():
        if own.amplitude[channel] > _MOVES and style.amplitude.get(channel, 0.0) > _MOVES:
            indices = members(channel, ARKIT52)
            ratio = _gain(style.tempo.get(channel, 0.0) / max(own.tempo[channel], 1e-6), strength)
            away[:, indices] = hastened(away[:, indices], ratio, steepest)
    away = _sided(gains * away, own, style, strength)
    expression = (middle + shift + away).clamp(0, 1)
    codes = _closed_as_before(replace(track.codes, expression=expression), track.codes)
    codes = _blinking(replace(track, codes=codes), style, own, strength, seed)
    codes = _head_of(codes, track.fps, own, style, strength, seed)
    how = {**track.provenance, "style": f"of {style.seconds:.0f} s of another track, strength {strength:g}"}
    return replace(track, codes=codes, provenance=how)


@dataclass(frozen=True)
class MotionBasis:
    """Orthonormal directions of a channel's motion, the largest first.

    Args:
        channel: of the timeline.
        mean: [n] weights.
        directions: [K, n] orthonormal.
        deviations: [K] of the track along them.
    """

    channel: str
    mean: Tensor
    directions: Tensor
    deviations: Tensor

    def coordinates(self, codes: Codes) -> Tensor:
        """[T, K] where codes are along the directions."""
        weights = codes.expression[..., members(self.channel, codes.space)]
        return (weights - self.mean) @ self.directions.T

    def edited(
        self,
        codes: Codes,
        moved: Tensor,  # [T, K] or [K], added along the directions
    ) -> Codes:
        """Codes moved along the directions; every other channel stays as it is."""
        indices = members(self.channel, codes.space)
        expression = codes.expression.clone()
        expression[..., indices] = (expression[..., indices] + moved @ self.directions).clamp(
            codes.space.low, codes.space.high
        )
        return replace(codes, expression=expression)


def motion_basis(track: CodeTrack, channel: str, count: int = 4) -> MotionBasis:
    """The directions in which a channel moves in a track (principal components).

    Raises:
        StudioError: no such channel, or one without weights.
    """
    if channel not in CHANNELS or not members(channel, track.codes.space):
        valid = ", ".join(name for name, stems in CHANNELS.items() if stems)
        raise StudioError("no basis for this channel", got=channel, expected=valid)
    values = track.codes.expression[track.valid][:, members(channel, track.codes.space)]
    mean = values.mean(0)
    _, sizes, directions = torch.linalg.svd(values - mean, full_matrices=False)
    count = min(count, len(directions))
    # A sign that does not depend on the machine: the largest entry is positive.
    largest = directions.abs().argmax(1, keepdim=True)
    directions = directions * directions.gather(1, largest).sign()
    return MotionBasis(channel, mean, directions[:count], sizes[:count] / max(len(values) - 1, 1) ** 0.5)


def _gain(ratio: float, strength: float) -> float:
    return float(np.clip(ratio, *_GAIN) ** strength)


def _asymmetry(away: Tensor) -> dict[str, float]:
    """(left - right) / (left + right) of how far both sides move [T, E] about their median, where they do."""
    found = {}
    for name in ARKIT52.channels:
        if name.endswith("Left") and not name.startswith(("eye", "jaw")) and name != "mouthLeft":
            sides = (name, name.removesuffix("Left") + "Right")
            left, right = (float(away[:, ARKIT52.index(side)].square().mean().sqrt()) for side in sides)
            if left + right > 2 * _MOVES:
                found[name.removesuffix("Left")] = (left - right) / (left + right)
    return found


def _sided(away: Tensor, own: Style, style: Style, strength: float) -> Tensor:
    """Motion about the median [T, E] with more of it on the one side and less on the other."""
    away = away.clone()
    for stem, goal in style.asymmetry.items():
        if stem not in own.asymmetry:
            continue
        now, wanted = own.asymmetry[stem], own.asymmetry[stem] + strength * (goal - own.asymmetry[stem])
        for side, sign in (("Left", 1.0), ("Right", -1.0)):
            ratio = (1 + sign * wanted) / max(1 + sign * now, 0.1)
            away[:, ARKIT52.index(f"{stem}{side}")] *= min(max(ratio, 0.0), _GAIN[1])
    return away


def _closed_as_before(moved: Codes, before: Codes) -> Codes:
    """Lips that met still meet: what the style opens there, mouthClose takes back."""
    closed = (lip_gap(before) < 1e-3).float()
    opened = (lip_gap(moved) - lip_gap(before)).clamp(min=0)
    probe = lip_gap(Codes.neutral(batch=(2,)).with_channels(jawOpen=0.5, mouthClose=torch.tensor([0.0, 0.25])))
    index = ARKIT52.index("mouthClose")
    expression = moved.expression.clone()
    expression[:, index] = (expression[:, index] + closed * opened * 0.25 / (probe[0] - probe[1])).clamp(0, 1)
    return replace(moved, expression=expression)


def _blinking(track: CodeTrack, style: Style, own: Style, strength: float, seed: int) -> Codes:
    """Blinks added where the style has more of them, or the last of them left out where it has fewer."""
    codes, seconds = track.codes, len(track) / track.fps
    more = strength * (style.blinks - own.blinks)
    indices = [ARKIT52.index(f"eyeBlink{side}") for side in ("Left", "Right")]
    expression = codes.expression.clone()
    rng = np.random.default_rng([seed, 7])
    times = np.arange(len(track)) / track.fps
    if more > 1:
        none = np.zeros((0, 2))
        moments = blink_times(seconds, more, none, np.zeros((1, 3)), rng)
        closed = torch.from_numpy(closed_lids(times, moments)).float()
        expression[:, indices] = torch.maximum(expression[:, indices], closed[:, None])
    elif more < -1:
        found = blinks(track)
        chosen = rng.permutation(len(found))[: round(min(-more * seconds / 60, len(found)))]
        rest = expression[:, indices].quantile(0.5, dim=0)
        for number in chosen:
            near = torch.from_numpy((times > found[number].start - 0.2) & (times < found[number].end + 0.25))
            lids = expression[:, indices]
            expression[:, indices] = torch.where(near[:, None], torch.minimum(lids, rest), lids)
    return replace(codes, expression=expression)


def hastened(
    away: Tensor,  # [T, n] motion about a pose
    ratio: float,
    steepest: float = 1.0,
) -> Tensor:
    """Motion as large as before and up to ``ratio`` times as fast, at the same moments.

    Its spectrum is tilted by a power of the frequency, at most ``steepest`` either way, which shifts nothing in time:
    swings become sharper or softer, and stay where the words are.
    """
    size = float(away.square().mean().sqrt())
    if len(away) < 4 or size < 1e-6 or abs(ratio - 1.0) < 1e-3:
        return away
    doubled = torch.cat((away, away.flip(0)))  # ends meet
    spectrum = torch.fft.rfft(doubled, dim=0)
    places = torch.arange(len(spectrum)).clamp(min=1)[:, None] / len(spectrum)

    def tilted(slope: float) -> Tensor:
        moved = torch.fft.irfft(spectrum * places**slope, n=len(doubled), dim=0)[: len(away)]
        return moved * size / moved.square().mean().sqrt()

    def speed(motion: Tensor) -> float:
        return float(motion.diff(dim=0).square().mean().sqrt())

    low, high, goal = -steepest, steepest, ratio * speed(away)
    for _ in range(20):  # the speed grows with the slope
        middle = 0.5 * (low + high)
        low, high = (middle, high) if speed(tilted(middle)) < goal else (low, middle)
    return tilted(0.5 * (low + high))


def nodding(
    pitch: np.ndarray,  # [T] radians, down is positive
    fps: float,
    wanted: float,  # nods a minute
    seed: int,
) -> np.ndarray:
    """The pitch of a head with nods added between its own, or its nods made smaller until fewer count as such."""
    now, seconds = _nods(torch.from_numpy(pitch), fps), len(pitch) / fps
    missing = round((wanted - now) * seconds / 60)
    if missing > 0:
        rng, times = np.random.default_rng([seed, 11]), np.arange(len(pitch)) / fps
        moments: list[float] = []
        for moment in rng.permutation(np.arange(0.0, seconds - _NOD_SECONDS, 0.1)):
            if len(moments) < missing and all(abs(moment - other) > _NOD_APART for other in moments):
                moments.append(moment)
        phases = [np.clip((times - moment) / _NOD_SECONDS, 0, 1) for moment in moments]
        return pitch + sum((_NOD_TURN * np.sin(np.pi * phase) ** 2 for phase in phases), np.zeros(len(pitch)))
    if missing < 0:
        swings = sosfiltfilt(_nod_band(fps), pitch)
        for share in np.linspace(0.1, 1.0, 10):
            if _nods(torch.from_numpy(pitch - share * swings), fps) <= wanted:
                return pitch - share * swings
        return pitch - swings
    return pitch


def _head_of(codes: Codes, fps: float, own: Style, style: Style, strength: float, seed: int) -> Codes:
    """The head's turns about its mean as large, and its nods as frequent, as the style's; the torso stays."""
    torso, mean = torso_to_world(codes), mean_pose(codes.head_to_world)
    turns, shifts = head_motion(codes.head_to_world, mean)
    gains = [_gain(b / a, strength) if min(a, b) > 5e-3 else 1.0 for a, b in zip(own.head, style.head)]
    pivot = torch.tensor(NECK_PIVOT)
    styled = turns * torch.tensor(gains)
    if len(turns) >= _NOD_LEAST * fps:
        wanted = own.nods + strength * (style.nods - own.nods)
        styled[:, 0] = torch.from_numpy(nodding(styled[:, 0].double().numpy(), fps, wanted, seed)).to(styled)
    old, new = axis_angle_to_matrix(turns), axis_angle_to_matrix(styled)
    pose = mean @ rigid(new, shifts + (old - new) @ pivot)
    return with_torso(replace(codes, head_to_world=pose), torso)


def _nods(pitch: Tensor, fps: float) -> float:
    """Nods a minute: swings of the pitch by more than a degree, as fast as heads nod."""
    if len(pitch) < _NOD_LEAST * fps:
        return 0.0
    moved = sosfiltfilt(_nod_band(fps), pitch.double().numpy())
    peaks, _ = find_peaks(moved, prominence=np.radians(1.0))
    return 60.0 * len(peaks) / (len(pitch) / fps)


def _nod_band(fps: float) -> np.ndarray:
    return butter(2, (_NOD_BAND[0], min(_NOD_BAND[1], 0.45 * fps)), "bandpass", fs=fps, output="sos")
