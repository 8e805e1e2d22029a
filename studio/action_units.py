"""Facial action units (FACS) from ARKit's channels.

The table is py-feat's (docs/pages/au_reference.md, which calls it approximate); units that no channel shows are absent:
11, 13, 21, 31, 32, 33 and 35. Intensities are the channels' own weights, 0 to 1: ordinal, not the A to E of a coder.
Units 23 and 24 and units 25 to 27 share their channels; the latter are told apart by how far the jaw is open.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from studio.codes import ARKIT52, Codes

# Unit -> what it is called, and the channels whose strongest says how much of it there is. "Both" is Left and Right.
UNITS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "AU01": ("inner brow raiser", ("browInnerUp",)),
    "AU02": ("outer brow raiser", ("browOuterUpBoth",)),
    "AU04": ("brow lowerer", ("browDownBoth",)),
    "AU05": ("upper lid raiser", ("eyeWideBoth",)),
    "AU06": ("cheek raiser", ("cheekSquintBoth",)),
    "AU07": ("lid tightener", ("eyeSquintBoth",)),
    "AU08": ("lips toward each other", ("mouthClose",)),
    "AU09": ("nose wrinkler", ("noseSneerBoth",)),
    "AU10": ("upper lip raiser", ("mouthUpperUpBoth",)),
    "AU12": ("lip corner puller", ("mouthSmileBoth",)),
    "AU14": ("dimpler", ("mouthDimpleBoth",)),
    "AU15": ("lip corner depressor", ("mouthFrownBoth",)),
    "AU16": ("lower lip depressor", ("mouthLowerDownBoth",)),
    "AU17": ("chin raiser", ("mouthShrugLower",)),
    "AU18": ("lip pucker", ("mouthPucker",)),
    "AU19": ("tongue show", ("tongueOut",)),
    "AU20": ("lip stretcher", ("mouthStretchBoth",)),
    "AU22": ("lip funneler", ("mouthFunnel",)),
    "AU23": ("lip tightener", ("mouthPressBoth",)),
    "AU24": ("lip pressor", ("mouthPressBoth",)),
    "AU25": ("lips part", ("jawOpen",)),
    "AU26": ("jaw drop", ("jawOpen",)),
    "AU27": ("mouth stretch", ("jawOpen",)),
    "AU28": ("lip suck", ("mouthRollLower", "mouthRollUpper")),
    "AU29": ("jaw thrust", ("jawForward",)),
    "AU30": ("jaw sideways", ("jawLeft", "jawRight")),
    "AU34": ("cheek puff", ("cheekPuff",)),
    "AU43": ("eyes closed", ("eyeBlinkBoth",)),
    "AU45": ("blink", ("eyeBlinkBoth",)),
}
# The part of jawOpen over which each of the three rises from 0 to 1; parted lips need little, a stretched mouth most.
_OPENING = {"AU25": (0.0, 0.15), "AU26": (0.1, 0.6), "AU27": (0.6, 1.0)}


def action_units(codes: Codes) -> dict[str, Tensor]:
    """Intensity [...] in 0..1 of every unit of ``UNITS``, sides averaged.

    Lips that are held together (mouthClose) while the jaw is open are not parted.

    Raises:
        StudioError: codes of another space than ARKit's.
    """
    ARKIT52.require(codes.space, "the track")
    found = {name: _strongest(codes, channels) for name, (_, channels) in UNITS.items()}
    apart = (found["AU25"] - _of(codes, "mouthClose")).clamp(min=0.0)
    for name, (low, high) in _OPENING.items():
        opened = apart if name == "AU25" else found[name]
        found[name] = ((opened - low) / (high - low)).clamp(0.0, 1.0)
    return found


def _strongest(codes: Codes, channels: tuple[str, ...]) -> Tensor:
    return torch.stack([_of(codes, channel) for channel in channels]).amax(0)


def _of(codes: Codes, channel: str) -> Tensor:
    if channel.endswith("Both"):
        stem = channel.removesuffix("Both")
        return 0.5 * (_of(codes, f"{stem}Left") + _of(codes, f"{stem}Right"))
    return codes.expression[..., codes.space.index(channel)].clamp(0.0, 1.0)
