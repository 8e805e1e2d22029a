"""Phones of English: how each sounds (formants), how long it lasts, and how the face makes it.

ARPAbet names. Formants after Peterson and Barney (1952) and Klatt, "Software for a cascade/parallel formant
synthesizer" (1980); mouth shapes after the published viseme tables for ARKit channels, with lips that really close for
P, B, M and a lower lip that really meets the teeth for F, V.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from studio.errors import StudioError

Shape = Mapping[str, float]


@dataclass(frozen=True)
class Phone:
    """One sound.

    Args:
        viseme: how the face makes it.
        seconds: usual length.
        formants: F1 to F3 in Hz.
        voice, breath, hiss: strength of the vocal folds, of breath through the tract and of friction at the teeth.
        hiss_hz: centre of the friction.
        stop: a closure that ends in a burst.
        glide: phone whose formants the second half moves to (diphthongs).
    """

    viseme: str
    seconds: float
    formants: tuple[float, float, float]
    voice: float = 1.0
    breath: float = 0.0
    hiss: float = 0.0
    hiss_hz: float = 4000.0
    stop: bool = False
    glide: str | None = None


_NASAL = (270.0, 1300.0, 2300.0)
PHONES: Mapping[str, Phone] = MappingProxyType(
    {
        "SIL": Phone("sil", 0.18, (500, 1500, 2500), voice=0.0),
        "AA": Phone("aa", 0.13, (730, 1090, 2440)),
        "AE": Phone("aa", 0.13, (660, 1720, 2410)),
        "AH": Phone("aa_short", 0.08, (640, 1190, 2390)),
        "AO": Phone("O", 0.13, (570, 840, 2410)),
        "AW": Phone("aa", 0.17, (730, 1090, 2440), glide="UH"),
        "AY": Phone("aa", 0.17, (730, 1090, 2440), glide="IY"),
        "EH": Phone("E", 0.10, (530, 1840, 2480)),
        "ER": Phone("RR", 0.12, (490, 1350, 1690)),
        "EY": Phone("E", 0.14, (480, 1900, 2500), glide="IY"),
        "IH": Phone("I", 0.08, (390, 1990, 2550)),
        "IY": Phone("I", 0.11, (270, 2290, 3010)),
        "OW": Phone("O", 0.15, (540, 900, 2400), glide="UW"),
        "OY": Phone("O", 0.17, (570, 840, 2410), glide="IY"),
        "UH": Phone("U", 0.09, (440, 1020, 2240)),
        "UW": Phone("U", 0.12, (300, 870, 2240)),
        "B": Phone("PP", 0.075, (250, 900, 2200), voice=0.25, stop=True),
        "P": Phone("PP", 0.085, (250, 900, 2200), voice=0.0, breath=0.5, stop=True),
        "M": Phone("PP", 0.075, _NASAL, voice=0.45),
        "D": Phone("DD", 0.06, (250, 1700, 2600), voice=0.25, hiss=0.25, hiss_hz=3800, stop=True),
        "T": Phone("DD", 0.075, (300, 1700, 2600), voice=0.0, breath=0.4, hiss=0.5, hiss_hz=4200, stop=True),
        "N": Phone("nn", 0.065, (270, 1600, 2500), voice=0.45),
        "L": Phone("nn", 0.065, (360, 1200, 2700), voice=0.7),
        "G": Phone("kk", 0.065, (250, 1900, 2300), voice=0.25, stop=True),
        "K": Phone("kk", 0.08, (300, 1900, 2300), voice=0.0, breath=0.5, hiss=0.2, hiss_hz=2200, stop=True),
        "NG": Phone("kk", 0.075, (270, 1900, 2300), voice=0.45),
        "F": Phone("FF", 0.10, (350, 1100, 2300), voice=0.0, hiss=0.22, hiss_hz=5200),
        "V": Phone("FF", 0.07, (300, 1100, 2300), voice=0.45, hiss=0.12, hiss_hz=5200),
        "TH": Phone("TH", 0.09, (350, 1300, 2500), voice=0.0, hiss=0.16, hiss_hz=5600),
        "DH": Phone("TH", 0.05, (300, 1300, 2500), voice=0.5, hiss=0.08, hiss_hz=5600),
        "S": Phone("SS", 0.10, (350, 1600, 2600), voice=0.0, hiss=0.6, hiss_hz=6200),
        "Z": Phone("SS", 0.08, (300, 1600, 2600), voice=0.35, hiss=0.35, hiss_hz=6200),
        "SH": Phone("CH", 0.11, (350, 1700, 2500), voice=0.0, hiss=0.65, hiss_hz=3100),
        "ZH": Phone("CH", 0.08, (300, 1700, 2500), voice=0.35, hiss=0.4, hiss_hz=3100),
        "CH": Phone("CH", 0.11, (350, 1700, 2500), voice=0.0, hiss=0.65, hiss_hz=3300, stop=True),
        "JH": Phone("CH", 0.09, (300, 1700, 2500), voice=0.25, hiss=0.4, hiss_hz=3300, stop=True),
        "R": Phone("RR", 0.07, (330, 1150, 1500), voice=0.75),
        "W": Phone("U", 0.07, (300, 650, 2200), voice=0.7),
        "Y": Phone("I", 0.06, (270, 2200, 2900), voice=0.7),
        "HH": Phone("aa_short", 0.06, (500, 1500, 2500), voice=0.0, breath=0.6),
    }
)

# Channels of each mouth shape; "Both" stands for Left and Right.
VISEMES: Mapping[str, Shape] = MappingProxyType(
    {
        "sil": {},
        "PP": {"mouthPressBoth": 0.45, "mouthRollLower": 0.25, "mouthRollUpper": 0.2},
        "FF": {"mouthRollLower": 0.45, "mouthUpperUpBoth": 0.3, "mouthShrugLower": 0.2, "jawOpen": 0.06},
        "TH": {"jawOpen": 0.14, "mouthLowerDownBoth": 0.2, "tongueOut": 0.35},
        "DD": {"jawOpen": 0.16, "mouthLowerDownBoth": 0.15, "mouthUpperUpBoth": 0.1},
        "kk": {"jawOpen": 0.22, "mouthLowerDownBoth": 0.1},
        "CH": {"mouthFunnel": 0.55, "mouthPucker": 0.3, "jawOpen": 0.14},
        "SS": {"jawOpen": 0.07, "mouthStretchBoth": 0.25, "mouthUpperUpBoth": 0.2, "mouthLowerDownBoth": 0.3},
        "nn": {"jawOpen": 0.16, "mouthLowerDownBoth": 0.15},
        "RR": {"mouthPucker": 0.4, "mouthFunnel": 0.3, "jawOpen": 0.15},
        "aa": {"jawOpen": 0.52, "mouthLowerDownBoth": 0.2, "mouthUpperUpBoth": 0.1},
        "aa_short": {"jawOpen": 0.32, "mouthLowerDownBoth": 0.15},
        "E": {"jawOpen": 0.34, "mouthStretchBoth": 0.25, "mouthLowerDownBoth": 0.2, "mouthSmileBoth": 0.1},
        "I": {"jawOpen": 0.15, "mouthStretchBoth": 0.3, "mouthSmileBoth": 0.25, "mouthLowerDownBoth": 0.2},
        "O": {"mouthFunnel": 0.55, "mouthPucker": 0.35, "jawOpen": 0.36},
        "U": {"mouthPucker": 0.75, "mouthFunnel": 0.35, "jawOpen": 0.12},
    }
)
# How strongly a shape asserts itself against its neighbours; the tongue's sounds leave the lips to the vowels.
DOMINANCE: Mapping[str, float] = MappingProxyType(
    {"sil": 0.5, "PP": 1.6, "FF": 1.4, "CH": 1.2, "SS": 0.9, "RR": 0.8, "TH": 0.6, "DD": 0.35, "nn": 0.35, "kk": 0.3}
)

SENTENCES: Mapping[str, str] = MappingProxyType(
    {
        # "My voice was made for you, we both move as one."
        "voice": "M AY V OY S W AH Z M EY D F ER Y UW SIL W IY B OW TH M UW V AE Z W AH N",
        # "Five brave people watched the blue boat move away from shore."
        "boat": "F AY V B R EY V P IY P AH L W AA CH T DH AH B L UW B OW T M UW V AH W EY F R AH M SH AO R",
        # "Please show me how you open your mouth."
        "show": "P L IY Z SH OW M IY HH AW Y UW OW P AH N Y AO R M AW TH",
        # "Today the weather is fair, but maybe it rains tomorrow."
        "weather": ("T AH D EY DH AH W EH DH ER IH Z F EH R SIL B AH T M EY B IY IH T R EY N Z T AH M AA R OW"),
    }
)


@dataclass(frozen=True)
class TimedPhone:
    """A phone from ``start`` to ``end`` seconds."""

    name: str
    start: float
    end: float

    @property
    def phone(self) -> Phone:
        return PHONES[self.name]


def schedule(
    text: str,  # ARPAbet names separated by spaces; stress digits are ignored
    start: float,
    end: float,
) -> list[TimedPhone]:
    """Spread phones over a time, each in proportion to its usual length.

    Raises:
        StudioError: a name that is no phone, or none at all.
    """
    names = [name.rstrip("012").upper() for name in text.split()]
    unknown = [name for name in names if name not in PHONES]
    if unknown or not names:
        raise StudioError(
            "the sentence is not written in ARPAbet", got=" ".join(unknown) or "nothing", expected=" ".join(PHONES)
        )
    lengths = np.array([PHONES[name].seconds for name in names])
    edges = start + (end - start) * np.concatenate(([0.0], np.cumsum(lengths) / lengths.sum()))
    return [TimedPhone(name, float(a), float(b)) for name, a, b in zip(names, edges[:-1], edges[1:], strict=True)]


def usual_seconds(text: str) -> float:
    """How long a sentence takes at an ordinary pace."""
    return sum(item.phone.seconds for item in schedule(text, 0.0, 1.0))
