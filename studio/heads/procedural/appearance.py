"""How a subject looks apart from shape: colours of skin, lips, hair, eyes and cloth, and details of the skin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Color = tuple[float, float, float]  # sRGB 0..1

SKIN_TONES: tuple[Color, ...] = (
    (0.93, 0.77, 0.69),
    (0.89, 0.71, 0.60),
    (0.80, 0.60, 0.47),
    (0.68, 0.48, 0.36),
    (0.52, 0.35, 0.25),
    (0.37, 0.24, 0.17),
)
HAIR_COLORS: tuple[Color, ...] = (
    (0.09, 0.07, 0.06),
    (0.20, 0.13, 0.09),
    (0.34, 0.22, 0.13),
    (0.62, 0.46, 0.28),
    (0.47, 0.22, 0.11),
    (0.58, 0.57, 0.56),
)
IRIS_COLORS: tuple[Color, ...] = (
    (0.30, 0.18, 0.09),
    (0.42, 0.29, 0.13),
    (0.36, 0.44, 0.25),
    (0.33, 0.49, 0.62),
    (0.47, 0.53, 0.56),
)
CLOTH_COLORS: tuple[Color, ...] = (
    (0.20, 0.31, 0.46),
    (0.55, 0.17, 0.18),
    (0.24, 0.38, 0.28),
    (0.78, 0.75, 0.69),
    (0.22, 0.22, 0.25),
    (0.72, 0.52, 0.20),
    (0.42, 0.30, 0.50),
)
PATTERNS = ("plain", "stripes", "checks")


@dataclass(frozen=True)
class Appearance:
    """The colours and details of one subject.

    Args:
        skin, hair, iris, cloth: base colours.
        pattern: of the cloth, one of PATTERNS.
        redness: of cheeks, nose and ears, 0..1.
        freckles: density, 0..1.
        stubble: density of a shaved beard, 0..1.
        lip_color: how much redder the lips are than the skin, 0..1.
        brow_density: fullness of the eyebrows, 0..1.
        age: depth of the painted lines, 0..1.
        seed: of everything random (strokes, pores, freckles).
    """

    skin: Color = SKIN_TONES[1]
    hair: Color = HAIR_COLORS[1]
    iris: Color = IRIS_COLORS[3]
    cloth: Color = CLOTH_COLORS[0]
    pattern: str = "plain"
    redness: float = 0.5
    freckles: float = 0.15
    stubble: float = 0.25
    lip_color: float = 0.5
    brow_density: float = 0.7
    age: float = 0.25
    seed: int = 0

    @staticmethod
    def random(seed: int) -> Appearance:
        """A plausible person. Neighbouring seeds differ in skin, hair and cloth."""
        rng = np.random.default_rng(seed)
        tone = (seed * 2 + int(rng.integers(2))) % len(SKIN_TONES)
        hair = int(rng.integers(len(HAIR_COLORS))) if tone < 3 else int(rng.integers(2))
        iris = int(rng.integers(len(IRIS_COLORS))) if tone < 3 else int(rng.integers(2))
        return Appearance(
            skin=SKIN_TONES[tone],
            hair=HAIR_COLORS[hair],
            iris=IRIS_COLORS[iris],
            cloth=CLOTH_COLORS[(3 * seed + int(rng.integers(3))) % len(CLOTH_COLORS)],
            pattern=PATTERNS[int(rng.integers(len(PATTERNS)))],
            redness=float(rng.uniform(0.2, 0.9)),
            freckles=float(rng.uniform(0.0, 0.7) ** 2 if tone < 3 else 0.0),
            stubble=float(max(rng.uniform(-0.6, 1.0), 0.0)),
            lip_color=float(rng.uniform(0.3, 1.0)),
            brow_density=float(rng.uniform(0.45, 1.0)),
            age=float(rng.uniform(0.0, 0.9)),
            seed=seed,
        )
