"""Where the space round a head is torn when it moves: between the lips and teeth, and between eyeballs and lids.

Points on the two sides of such a place are close together at rest and part when the mouth opens, or slide past each
other. No displacement that varies smoothly says this, so each side gets one of its own, from its own vertices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from studio.heads.mediapipe_points import LIPS
from studio.heads.model import JOINTS, HeadModel

_INNER = ("mouth_interior", "teeth_upper", "teeth_lower", "gums", "tongue")
_TOLD, _FARTHEST = 300, 0.01  # vertices of each side that tell where it is, and how far from the other, metres
_SMOOTHING = 0.1  # of what they tell
_DEEP = 0.055  # metres that a mouth without inner parts reaches behind its lips
_ROUND_MOUTH = 0.6  # metres of the box round the lips' own, of their width: how far an open jaw takes them
_ROUND_EYE = 1.8  # radii of the eyeball
_LID, _COVERED = 0.003, 0.0015  # metres: lids lie so near to the eyeball, their vertices so near to each other
_THICK = 0.005  # metres that lids reach into it, where they are: more than a step of a ray
_OUTSIDE = 2e-4  # metres that the eyeball is taken for larger than it is: lids lie on it


@dataclass(frozen=True)
class Tear:
    """A box [metres, head frame] that is torn in two, and what belongs to which side.

    Args:
        lower: [3] its corner.
        upper: [3] the opposite one.
        first: [V] bool: vertices that tell how the first side moves, also where the second is.
        second: [V] bool: the same for the second side.
        depths: [2, M, M, M] metres that points of a lattice over the box lie deep in either side, negative outside.
    """

    lower: np.ndarray
    upper: np.ndarray
    first: np.ndarray
    second: np.ndarray
    depths: np.ndarray

    def points(self) -> np.ndarray:
        """[M³, 3] the lattice, metres."""
        return lattice(self.lower, self.upper, self.depths.shape[-1])


def lattice(lower: np.ndarray, upper: np.ndarray, side: int) -> np.ndarray:
    """[side³, 3] points over a box, its corners included."""
    axes = [np.linspace(low, high, side) for low, high in zip(lower, upper)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def find_tears(
    head: HeadModel,  # without identity parameters
    side: int,  # lattice points along each side
) -> list[Tear]:
    """The mouth and both eyes, as far as the head model has them."""
    found = [_mouth(head, side), *(_eye(head, name, side) for name in ("eye_left", "eye_right"))]
    return [tear for tear in found if tear is not None]


def _mouth(head: HeadModel, side: int) -> Tear | None:
    """The upper lip and teeth against the lower ones, which follow the jaw."""
    rest = head.template.double().numpy()
    lips = head.landmarks(head.template)[[i for i in LIPS if bool(head.landmark_valid[i])]].double().numpy()
    if not len(lips):
        return None
    low, high = lips.min(0), lips.max(0)
    width, center = high[0] - low[0], (low + high) / 2
    inner = np.zeros(len(rest), bool)
    inner[head.faces[head.region_faces(*_INNER)].unique().numpy()] = True
    skin = (np.abs(rest[:, 0] - center[0]) < width / 2) & (np.abs(rest[:, 1] - center[1]) < width / 2)
    skin &= rest[:, 2] > low[2] - _DEEP
    follows = head.skin_weights[:, JOINTS.index("jaw")].numpy() > 0.5
    above, below = (inner | skin) & ~follows, (inner | skin) & follows
    if not above.any() or not below.any():
        return None
    margin = _ROUND_MOUTH * width
    back = min(low[2] - _DEEP, rest[inner, 2].min() if inner.any() else np.inf)
    lower = np.array([low[0] - margin / 2, low[1] - 1.5 * margin, back])
    upper = np.array([high[0] + margin / 2, high[1] + margin / 2, high[2] + margin / 2])
    heights = _between(rest[above], rest[below], lattice(lower, upper, side))
    heights = heights.reshape(side, side, side)
    return Tear(lower, upper, ~below, ~above, np.stack((heights, -heights)))


def _between(above: np.ndarray, below: np.ndarray, points: np.ndarray) -> np.ndarray:
    """[N] a smooth function that is, near two sets of vertices, the distance to the other one, negative below."""
    places, values = [], []
    for sign, own, other in ((1.0, above, below), (-1.0, below, above)):
        own = own[np.linspace(0, len(own) - 1, min(_TOLD, len(own))).round().astype(int)]
        distances = cKDTree(other).query(own)[0]
        places.append(own)
        values.append(sign * np.minimum(distances, _FARTHEST))
    unique, first = np.unique(np.concatenate(places).round(5), axis=0, return_index=True)
    smooth = RBFInterpolator(1e3 * unique, np.concatenate(values)[first], kernel="linear", smoothing=_SMOOTHING)
    return np.asarray(smooth(1e3 * points))


def _eye(head: HeadModel, name: str, side: int) -> Tear | None:
    """The lids and all else against the eyeball."""
    joint = JOINTS.index(name)
    rest, center = head.template.double().numpy(), head.joint_positions[joint].double().numpy()
    ball = head.skin_weights[:, joint].numpy() > 0.5
    if not ball.any():
        return None
    spokes = rest[ball] - center
    radii = np.linalg.norm(spokes, axis=1)
    reach = _ROUND_EYE * radii.max()
    lower, upper = center - reach, center + reach
    away = lattice(lower, upper, side) - center
    distances = np.linalg.norm(away, axis=1)
    directions = away / np.maximum(distances, 1e-9)[:, None]
    heights = distances - radii[cKDTree(spokes / radii[:, None]).query(directions)[1]] - _OUTSIDE
    around = rest[~ball] - center
    far = np.linalg.norm(around, axis=1)
    over = np.abs(far - radii.max()) < _LID  # what lies on the eyeball
    gaps = radii.max() * cKDTree(around[over] / far[over, None]).query(directions)[0] if over.any() else np.inf
    thick = _THICK * np.clip(2.0 - gaps / _COVERED, 0.0, 1.0)
    return Tear(lower, upper, ~ball, ball, np.stack((heights + thick, -heights)).reshape(2, side, side, side))
