"""Actions as a layer of codes, and that layer on top of speech without opening lips that speech closes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from reenact.emotion.directions import Action
from reenact.emotion.table import Table, Word, read_table, sided
from reenact.gaze import gaze_directions, looking
from reenact.mouth import lip_gap
from reenact.torso import NECK_PIVOT, torso_to_world, with_torso
from studio.codes import ARKIT52, Codes, CodeTrack
from studio.rotations import axis_angle_to_matrix, matrix_to_axis_angle, rigid

__all__ = ["Action", "add_emotion", "of_affect", "perform"]
# What opens lips that a P, B or M closes. The corners of a smile stay where they are.
_OPENERS = ("jawOpen", "mouthLowerDown", "mouthUpperUp", "mouthFunnel")
_JAW = ("jawOpen", "jaw_pose")
_CLOSED_GAP = 0.0015  # metres between inner lips: they touch
_LONGEST_CLOSURE = 0.3  # seconds: lips that are closed for longer are silent
_END_OF_SILENCE = 0.1  # seconds
_EASE = 0.09  # seconds in which lips go to a closure and come from it
_NEARNESS = 0.35  # of the circle of valence and arousal within which a category is felt
_PARTING = 0.35  # share of an emotion's opening of the mouth that is kept while speech moves the jaw


def perform(actions: Sequence[Action], frames: int, fps: float, table: Table | None = None) -> CodeTrack:
    """Actions as codes: what they add to a face at rest.

    Args:
        actions: see ``Action``; actions of the same channel add up to 1.
        frames: T.
        fps: frames per second.
        table: of units and words; the project's own when not given.

    Raises:
        StudioError: an action that the table does not know.
    """
    table = table or read_table()
    times = torch.arange(frames) / fps
    weights = torch.zeros(frames, len(ARKIT52))
    gaze, head = torch.zeros(frames, 2), torch.zeros(frames, 3)
    for action in actions:
        meaning = table.meaning(action.name)
        amount = action.intensity * envelope(times, action)
        for channel, weight in _channels(meaning, action, table).items():
            index = ARKIT52.index(channel)
            weights[:, index] = weights[:, index] + (amount * weight).clamp(max=1.5)
        if meaning.gaze is not None:
            goal = torch.tensor([math.radians(angle) for angle in meaning.gaze])
            strong = amount.clamp(max=1.5)[:, None]
            gaze = torch.lerp(gaze, goal.expand(frames, 2) * strong.clamp(min=1.0), strong.clamp(max=1.0))
        turn = torch.tensor([math.radians(angle) for angle in meaning.head])
        head = head + turn * _beaten(times, action, meaning, amount)
    left, up, roll = head.unbind(-1)
    rotation = axis_angle_to_matrix(torch.stack((-up, left, roll), dim=-1))
    pivot = torch.tensor(NECK_PIVOT)
    codes = replace(
        Codes.neutral(batch=(frames,)),
        expression=weights.clamp(0, 1),
        neck_pose=matrix_to_axis_angle(rotation),
        head_to_world=rigid(rotation, pivot - rotation @ pivot),
    )
    across, high = gaze.unbind(-1)
    direction = torch.stack((across.tan(), high.tan(), torch.ones(frames)), dim=-1)
    codes = looking(codes, direction[:, None].expand(-1, 2, -1))
    told = ", ".join(dict.fromkeys(action.name for action in actions)) or "nothing"
    return CodeTrack(codes, fps, torch.ones(frames, dtype=torch.bool), {"expression": f"emotion layer: {told}"})


def envelope(times: Tensor, action: Action) -> Tensor:
    """[T] 0..1: comes within ``rise`` from the start, goes within ``fall`` after the end."""

    def smooth(t: Tensor) -> Tensor:
        t = t.clamp(0, 1)
        return t * t * (3 - 2 * t)

    coming = smooth((times - action.start) / max(action.rise, 1e-3))
    going = smooth((times - action.end) / max(action.fall, 1e-3))
    return coming * (1 - going)


def of_affect(valence: float, arousal: float, seconds: float, table: Table | None = None) -> tuple[Action, ...]:
    """A point on the circle of valence and arousal as the categories near it, weaker towards the middle."""
    table = table or read_table()
    point = np.clip([valence, arousal], -1, 1)
    radius = min(float(np.linalg.norm(point)), 1.0)
    places = {name: np.array(item.place) for name, item in table.emotions.items() if name != "neutral"}
    # Directions count, not lengths: half of a joy is nearer to joy than to anything else.
    units = {name: place / np.linalg.norm(place) for name, place in places.items()}
    here = point / max(radius, 1e-9)
    far = {name: float(np.linalg.norm(here - unit)) for name, unit in units.items()}
    near = {name: math.exp(-0.5 * (distance / _NEARNESS) ** 2) for name, distance in far.items()}
    total = sum(near.values())
    # Where no category is (calm, drowsy), little is shown.
    felt = {name: radius * value / max(total, 0.6) for name, value in near.items()}
    return tuple(Action(name, amount, 0.0, seconds) for name, amount in felt.items() if amount > 0.02)


def add_emotion(track: CodeTrack, layer: CodeTrack, closed: Tensor | np.ndarray | None = None) -> CodeTrack:
    """A layer on top of a track of the same frames.

    Weights add up and never pass 1. Where speech closes the lips, nothing of the layer opens them; where it moves the
    jaw, the layer opens it less. The layer's gaze and head motion come on top of the track's.

    Args:
        track: what is said, or whatever moves.
        layer: from ``perform``.
        closed: [T] 0..1 how far the lips must be closed; found in the motion of the track's lips when not given.
    """
    codes, extra = track.codes, layer.codes
    shut = _closures(codes, track.fps) if closed is None else torch.as_tensor(closed).float().clamp(0, 1)
    shut = _eased(shut, track.fps)
    added = extra.expression.clone()
    names = codes.space.channels
    openers = [index for index, name in enumerate(names) if name.startswith(_OPENERS)]
    added[:, openers] *= (1 - shut)[:, None]
    jaw = [index for index, name in enumerate(names) if name.startswith(_JAW)]
    speaking = (codes.expression[:, jaw].amax(-1) / 0.1).clamp(0, 1)
    added[:, jaw] *= (1 - (1 - _PARTING) * speaking)[:, None]
    looks = [index for index, name in enumerate(names) if name.startswith("eyeLook")]
    added[:, looks] = 0.0
    expression = codes.expression + added * (1 - codes.expression).clamp(0, 1)
    moved = _closed_again(replace(codes, expression=expression), codes, shut)
    moved = _looked(moved, extra)
    torso = torso_to_world(codes)
    pivot = torch.tensor(NECK_PIVOT)
    turn = extra.head_to_world[:, :3, :3]
    moved = with_torso(replace(moved, head_to_world=codes.head_to_world @ rigid(turn, pivot - turn @ pivot)), torso)
    how = {"emotion": layer.provenance.get("expression", "a layer")}
    return replace(track, codes=moved, provenance={**track.provenance, **how})


def _closed_again(moved: Codes, before: Codes, shut: Tensor) -> Codes:
    """Lips as close as they were where they must be closed: what a smile still opens, mouthClose takes back."""
    if not bool(shut.any()):
        return moved
    opened = (lip_gap(moved) - lip_gap(before)).clamp(min=0)
    index = moved.space.index("mouthClose")
    expression = moved.expression.clone()
    expression[:, index] = (expression[:, index] + shut * opened / _closing_reach()).clamp(max=1)
    return replace(moved, expression=expression)


@cache
def _closing_reach() -> float:
    """Metres that mouthClose at 1 brings lips together by."""
    open_mouth = Codes.neutral(batch=(2,)).with_channels(jawOpen=0.5, mouthClose=torch.tensor([0.0, 0.25]))
    gaps = lip_gap(open_mouth)
    return float(gaps[0] - gaps[1]) / 0.25


def _looked(codes: Codes, extra: Codes) -> Codes:
    """The gaze turned further by that of the layer."""
    looks = [index for index, name in enumerate(extra.space.channels) if name.startswith("eyeLook")]
    if not bool((extra.expression[:, looks] > 0).any()):
        return codes
    ahead = gaze_directions(extra)[:, 0]
    across, up = torch.atan2(ahead[:, 0], ahead[:, 2]), torch.asin(ahead[:, 1].clamp(-1, 1))
    turn = axis_angle_to_matrix(torch.stack((-up, across, torch.zeros_like(up)), dim=-1))
    return looking(codes, (turn[:, None] @ gaze_directions(codes)[..., None])[..., 0])


def _closures(codes: Codes, fps: float) -> Tensor:
    """[T] lips that meet for a moment between open ones, as in P, B and M.

    Of longer meetings, which are silences, the ends count: a P may begin a phrase or end it.
    """
    closed = (lip_gap(codes) < _CLOSED_GAP).float()
    edges = torch.cat((torch.zeros(1), closed, torch.zeros(1))).diff()
    starts, stops = torch.nonzero(edges > 0)[:, 0].tolist(), torch.nonzero(edges < 0)[:, 0].tolist()
    found = torch.zeros(len(closed))
    end = max(1, round(_END_OF_SILENCE * fps))
    for start, stop in zip(starts, stops):
        short = stop - start <= _LONGEST_CLOSURE * fps
        found[start : stop if short else start + end] = 1.0
        found[max(stop - end, start) : stop] = 1.0
    found[: end if starts and starts[0] == 0 else 0] = 0.0  # a track may begin and end in silence
    if len(closed) and bool(closed[-1]):
        found[-end:] = 0.0
    return found


def _eased(shut: Tensor, fps: float) -> Tensor:
    """The same with a way there and back, so that lips do not jump: 1 stays 1."""
    reach = max(1, round(_EASE * fps))
    padded = torch.nn.functional.pad(shut, (reach, reach))
    around = padded.unfold(0, 2 * reach + 1, 1)
    slope = torch.cos(torch.arange(-reach, reach + 1) / (reach + 1) * (math.pi / 2)).square()
    return (around * slope).amax(-1)


def _channels(meaning: Word, action: Action, table: Table) -> dict[str, float]:
    side = action.side if action.side != "both" else meaning.side
    channels: dict[str, float] = {}
    for number, strength in meaning.units.items():
        for name, weight in table.units[number].channels.items():
            for channel in sided(name, side):
                channels[channel] = channels.get(channel, 0.0) + strength * weight
    return channels


def _beaten(times: Tensor, action: Action, meaning: Word, amount: Tensor) -> Tensor:
    """[T, 1] how far the head has gone: there for the time, or there and back in beats."""
    if not meaning.beats:
        return amount[:, None]
    length = max(action.end - action.start, 1e-3)
    phase = ((times - action.start) / length).clamp(0, 1)
    turn = math.pi * phase * meaning.beats
    swing = torch.sin(2 * turn) if meaning.head[0] else torch.sin(turn).square()
    return (action.intensity * swing * torch.sin(math.pi * phase).clamp(min=0).sqrt())[:, None]
