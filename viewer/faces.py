"""Faces to put on: made ones, emotions of the table, single shapes, random ones, and the other way round."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial

import torch

from studio.codes import ARKIT52, Codes, CodeSpace
from viewer.controls import Dial
from viewer.presets import presets_for, wear

_RANDOM_REGIONS = 3
_EMOTIONS = "Emotion: "


Face = Callable[[Codes, Codes, float], Codes]  # state, rest, strength 0..1 -> state


def palette(space: CodeSpace) -> dict[str, Face]:
    """Every face by name: presets, emotions, single shapes."""
    faces: dict[str, Face] = {name: partial(_preset, name) for name in presets_for(space)}
    if space.hash == ARKIT52.hash:
        faces |= {_EMOTIONS + name: partial(_emotion, name) for name in emotions()}
    return faces | {channel: partial(_shape, channel) for channel in space.channels}


@cache
def emotions() -> tuple[str, ...]:
    """The emotions that the studio's table knows."""
    from reenact.emotion.table import read_table

    return tuple(name for name in read_table().emotions if name != "neutral")


def randomized(codes: Codes, dials: Sequence[Dial], seed: int | None = None) -> Codes:
    """A plausible face by chance: a few regions, within what was recorded, both sides alike."""
    chance = random.Random(seed)
    by_name = {dial.name: dial for dial in dials}
    groups = sorted({dial.group for dial in dials if dial.name in codes.space.channels and dial.group != "Tongue"})
    for group in chance.sample(groups, min(_RANDOM_REGIONS, len(groups))):
        members = [dial for dial in dials if dial.group == group and dial.name in codes.space.channels]
        for dial in chance.sample(members, min(2, len(members))):
            low, high = dial.seen or (dial.low, dial.high)
            low, high = max(low, dial.low), min(max(high, low + 0.15 * (dial.high - dial.low)), dial.high)
            value = chance.uniform(low, high)
            codes = dial.write(codes, value)
            if dial.twin in by_name:
                codes = by_name[dial.twin].write(codes, value)
    return codes


def mirrored(codes: Codes, dials: Sequence[Dial]) -> Codes:
    """The face with left and right exchanged; what moves sideways goes the other way."""
    result = codes
    ways = {"jawLeft": "jawRight", "mouthLeft": "mouthRight"}
    pairs = {dial.name: dial.twin for dial in dials if dial.twin and not dial.name.startswith("eyeLook")}
    pairs |= ways | {to: of for of, to in ways.items()}
    for side, other in (("OutLeft", "OutRight"), ("InLeft", "InRight")):  # a look to the left becomes one to the right
        pairs |= {f"eyeLook{side}": f"eyeLook{other}", f"eyeLook{other}": f"eyeLook{side}"}
    for of, to in pairs.items():
        if of in codes.space.channels and to in codes.space.channels:
            result = result.with_channels(**{to: codes.expression[codes.space.index(of)]})
    return result


def _preset(name: str, codes: Codes, rest: Codes, strength: float) -> Codes:
    face = wear(codes, rest, name)
    return replace(face, expression=torch.lerp(rest.expression, face.expression, strength))


def _shape(channel: str, codes: Codes, rest: Codes, strength: float) -> Codes:
    return replace(codes, expression=rest.with_channels(**{channel: strength * rest.space.high}).expression)


def _emotion(name: str, codes: Codes, rest: Codes, strength: float) -> Codes:
    from reenact.emotion.directions import Action
    from reenact.emotion.layer import perform

    layer = perform((Action(name, strength, 0.0, 2.0),), 50, 25.0).codes[25]
    space = codes.space
    return replace(codes, expression=(rest.expression + layer.expression).clamp(space.low, space.high))
