"""Faces to try with one click, as weights of ARKit channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from studio.codes import Codes, CodeSpace


def _both(**weights: float) -> dict[str, float]:
    """The same weight on the left and the right channel of each name."""
    return {f"{name}{side}": weight for name, weight in weights.items() for side in ("Left", "Right")}


PRESETS: Mapping[str, Mapping[str, float]] = {
    "Smile": _both(mouthSmile=0.75, cheekSquint=0.45, eyeSquint=0.3, mouthDimple=0.2) | {"jawOpen": 0.08},
    "Surprise": _both(eyeWide=0.8, browOuterUp=0.8) | {"browInnerUp": 0.8, "jawOpen": 0.45, "mouthFunnel": 0.25},
    "Anger": _both(browDown=0.9, eyeSquint=0.4, noseSneer=0.55, mouthPress=0.5, mouthFrown=0.35),
    "Sadness": _both(mouthFrown=0.7, eyeBlink=0.2, mouthLowerDown=0.1) | {"browInnerUp": 0.85, "mouthShrugLower": 0.45},
    "Kiss": {"mouthPucker": 0.9, "mouthFunnel": 0.2},
    "Wink": {"eyeBlinkLeft": 1.0, "eyeSquintLeft": 0.4, "cheekSquintLeft": 0.6, "mouthSmileLeft": 0.5}
    | {"mouthSmileRight": 0.25},
}


def presets_for(space: CodeSpace) -> tuple[str, ...]:
    """The names of the faces that a code space can make."""
    return tuple(name for name, weights in PRESETS.items() if set(weights) <= set(space.channels))


def wear(codes: Codes, rest: Codes, preset: str) -> Codes:
    """The state with a preset's face in place of its expression: added to the rest, joints and place as they are."""
    expression = rest.expression.clone()
    for channel, weight in PRESETS[preset].items():
        expression[codes.space.index(channel)] += weight
    return replace(codes, expression=expression.clamp(codes.space.low, codes.space.high))
