"""From sources to the codes of a character: routes, cross-fades, emotion, guard. A function of its inputs alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from reenact.emotion.directions import read_direction
from reenact.emotion.layer import Action, add_emotion, of_affect, perform
from reenact.procedural import ProceduralConfig, procedural
from reenact.project.channels import CHANNELS, Part, amplified, assembled, members, mixed, part_of, smoothed
from reenact.project.handover import carried_over, ramp
from reenact.project.schema import HEAD_OFFSETS, Character, EmotionKey, Route
from reenact.retarget import retarget
from reenact.timeline import sampled
from studio.avatar import Avatar
from studio.code_guard import Excess, guarded
from studio.codes import Codes, CodeTrack
from studio.errors import StudioError
from studio.media.audio import Audio
from studio.rotations import axis_angle_to_matrix, rigid


@dataclass(frozen=True)
class Played:
    """A source, as the avatar would play it.

    Args:
        track: codes for the avatar.
        closed: [T] 0..1 how far the lips must be closed, at the track's frames; None where the source does not say.
        at: when it begins, seconds of the project.
    """

    track: CodeTrack
    closed: np.ndarray | None
    at: float = 0.0


def play(
    track: CodeTrack, relative: bool, rest: Codes | None, avatar: Avatar, character: Character, at: float = 0.0
) -> Played:
    """A source's track as codes for an avatar. Raises StudioError for codes of another space."""
    avatar.space.require(track.codes.space, "the source")
    closed = track.extras.get("closure")
    if relative:
        track = retarget(track, avatar.code_range, character.retarget, rest)
    return Played(track, None if closed is None else np.asarray(closed, np.float32), at)


def compose(
    character: Character,
    avatar: Avatar,
    played: Mapping[str, Played],
    frames: int,
    fps: float,
    voice: Audio | None = None,
) -> tuple[CodeTrack, tuple[Excess, ...]]:
    """The character's codes for all frames, and what of them the avatar has never learned.

    Args:
        character: routes, emotion and so on.
        avatar: whose codes they become.
        played: its sources by name.
        frames: T.
        fps: frames per second; frame t is at t / fps.
        voice: what it says: procedural motion goes along with it.
    """
    rest = _repeated(avatar.code_range.neutral, frames)
    idle = rest
    if character.alive is not None:
        made = procedural(frames, fps, ProceduralConfig(seed=character.alive), voice)
        moved = retarget(made, avatar.code_range, character.retarget, Codes.neutral(avatar.space))
        idle = moved.codes
    parts, provenance = {}, {}
    closed = torch.zeros(frames)
    for channel in CHANNELS:
        routes = character.channels.get(channel, character.channels.get("all", ()))
        parts[channel] = _channel(channel, routes, played, rest, idle, fps)
        provenance[channel] = _told(routes, channel, character)
        if channel == "mouth":
            closed = _closures(routes, played, frames, fps)
    track = CodeTrack(assembled(parts, avatar.space), fps, torch.ones(frames, dtype=torch.bool), provenance)
    actions = emotion_actions(character.emotion, frames / fps)
    if actions:
        track = add_emotion(track, perform(actions, frames, fps), closed if bool(closed.any()) else None)
    codes, beyond = guarded(track.codes, avatar.code_range)
    return (replace(track, codes=codes) if character.guard else track), beyond


def emotion_actions(keys: Sequence[EmotionKey], seconds: float) -> tuple[Action, ...]:
    """The actions of all keys; each lasts until it says so, or until the next one begins."""
    ordered = sorted(keys, key=lambda key: key.at)
    actions: list[Action] = []
    for index, key in enumerate(ordered):
        following = ordered[index + 1].at if index + 1 < len(ordered) else seconds
        until = key.until if key.until is not None else following
        found: tuple[Action, ...] = read_direction(key.do, until - key.at) if key.do else ()
        if key.valence is not None or key.arousal is not None:
            found += of_affect(key.valence or 0.0, key.arousal or 0.0, until - key.at)
        actions += [
            replace(item, start=item.start + key.at, end=item.end + key.at, intensity=item.intensity * key.strength)
            for item in found
        ]
    return tuple(actions)


def _channel(
    channel: str, routes: Sequence[Route], played: Mapping[str, Played], rest: Codes, idle: Codes, fps: float
) -> Part:
    """A channel over the whole project: each route faded in over what was before."""
    at_rest, procedural_part = part_of(channel, rest), part_of(channel, idle)
    result = procedural_part if _alive(channel) else at_rest
    frames = torch.arange(len(at_rest))
    ordered = sorted(routes, key=lambda route: route.start)
    for index, route in enumerate(ordered):
        part, present = _source_part(channel, route, played[route.source], at_rest, fps)
        part = carried_over(part, present, at_rest, procedural_part, route.missing, route.fade, fps)
        part = smoothed(part, route.smoothing, fps)
        part = _moved(channel, amplified(part, at_rest[torch.tensor([0])], route.gain), route.offset, rest.space)
        weight = ramp(frames, route.start * fps, route.fade * fps) if route.start > 0 else torch.ones(len(frames))
        if route.end is not None:
            following = ordered[index + 1] if index + 1 < len(ordered) else None
            end = route.end
            if following is not None and following.start <= route.end + route.fade:
                end = max(end, following.start + following.fade)  # until the next one has taken over
            weight = weight * (1 - ramp(frames, end * fps, route.fade * fps))
        result = mixed(result, part, weight)
    return result


def _source_part(channel: str, route: Route, source: Played, rest: Part, fps: float) -> tuple[Part, Tensor]:
    """A source's channel at the project's frames, and where it has something to say [T]."""
    times = torch.arange(len(rest), dtype=torch.float64) / fps - source.at - route.delay
    codes, present = sampled(source.track, times)
    return part_of(channel, codes), present


def _moved(channel: str, part: Part, offset: Mapping[str, float], space: object) -> Part:
    """Offsets added to a part: weights of its channels, degrees of the head."""
    values = dict(part.values)
    indices = members(channel, space)  # type: ignore[arg-type]
    for place, index in enumerate(indices):
        name = space.channels[index]  # type: ignore[attr-defined]
        if name in offset:
            weights = values["weights"].clone()
            weights[:, place] += offset[name]
            values["weights"] = weights
    if channel == "head" and any(name in offset for name in HEAD_OFFSETS):
        yaw, pitch, roll = (math.radians(offset.get(name, 0.0)) for name in HEAD_OFFSETS)
        pose = values["head_to_world"]
        turn = axis_angle_to_matrix(torch.tensor([[pitch, yaw, -roll]]))
        values["head_to_world"] = pose @ rigid(turn, torch.zeros(1, 3))
    return Part(values)


def _closures(routes: Sequence[Route], played: Mapping[str, Played], frames: int, fps: float) -> Tensor:
    """[T] how far the mouth's sources say that lips must be closed."""
    closed = torch.zeros(frames)
    moments = np.arange(frames) / fps
    for route in routes:
        source = played[route.source]
        if source.closed is None or len(source.closed) != len(source.track):
            continue
        times = moments - source.at - route.delay
        values = np.interp(times, np.arange(len(source.closed)) / source.track.fps, source.closed, 0.0, 0.0)
        during = (moments >= route.start) & (moments < (route.end if route.end is not None else math.inf))
        closed = torch.maximum(closed, torch.from_numpy(values * during).float())
    return closed


def _alive(channel: str) -> bool:
    """Whether a channel without a source moves by procedure: all but what speaks."""
    return channel not in ("mouth", "jaw")


def _told(routes: Sequence[Route], channel: str, character: Character) -> str:
    if not routes:
        alive = character.alive is not None and _alive(channel)
        return f"procedural, seed {character.alive}" if alive else "rest"
    return "; ".join(f"{route.source} from {route.start:g} s" for route in routes)


def _repeated(state: Codes, frames: int) -> Codes:
    """A state [T]."""
    named = {name: value.expand(frames, *value.shape).clone() for name, value in state.tensors().items()}
    return Codes(state.space, **named)


def require_frames(seconds: float, fps: float) -> int:
    """T. Raises StudioError where there is not one frame."""
    frames = math.ceil(seconds * fps - 1e-6)
    if frames < 1:
        raise StudioError("a project of no length", got=f"{seconds} s", expected="seconds, or a source that has some")
    return frames
