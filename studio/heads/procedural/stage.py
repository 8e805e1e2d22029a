"""What the expression shapes are made with: reference positions, masks and brushes over the neutral head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from studio.heads.procedural import eyes, mouth
from studio.heads.procedural.mesh import Mesh
from studio.heads.procedural.skull import Array, gaussian, smoothstep

MIDLINE_BLEND = 5.0  # mm over which a one-sided shape fades across the midline


@dataclass
class Stage:
    """The neutral head prepared for sculpting; all arrays are per vertex of the whole head.

    Args:
        mesh: the neutral head.
        at: [V, 3] where a brush meets the vertex: its own place, or for the inside of the lips that of their edge.
        soft: [V] how much the vertex gives way to brushes (0 for bone, eyeballs, teeth, hair …).
        upper: [V] 1 above the line between the lips, 0 below, 0.5 in the corners.
        lips: [V] 1 on the lips fading to 0 at nose, chin and cheeks.
    """

    mesh: Mesh
    at: Array
    soft: Array
    upper: Array
    lips: Array

    def side(self, sign: float) -> Array:
        """Mask [V] of the left (1) or right (-1) half of the face; 0 selects both."""
        return np.ones(len(self.at)) if sign == 0 else smoothstep(-MIDLINE_BLEND, MIDLINE_BLEND, sign * self.at[:, 0])

    def brush(
        self,
        center: tuple[float, float],
        radii: tuple[float, float],
        move: Sequence[float],
        sign: float,
        turn: float = 0.0,
    ) -> Array:
        """Move [V, 3] of the skin round a point of the left half seen from ahead, mirrored for sign -1, both for 0."""
        total = np.zeros_like(self.at)
        for hand in (1.0, -1.0) if sign == 0 else (sign,):
            amount = (
                gaussian(hand * self.at[:, 0], self.at[:, 1], center, radii, turn)
                * self.soft
                * self.side(hand if center[0] else sign)
            )
            total += amount[:, None] * np.array([hand * move[0], move[1], move[2]])
        return total if center[0] or sign else total / 2.0


def prepare(mesh: Mesh) -> Stage:
    """The stage for a neutral head."""
    at, soft, upper = mesh.vertices.copy(), np.zeros(len(mesh.vertices)), np.zeros(len(mesh.vertices))
    skin = mesh.skin
    soft[mesh.spans["skin"]] = smoothstep(-62.0, -22.0, skin.vertices[:, 2]) * smoothstep(16.0, 14.0, skin.level)
    for name in ("brow_left", "brow_right"):
        soft[mesh.spans[name]] = 1.0
    upper[at[:, 1] > mouth.MOUTH_LINE] = 1.0
    upper[skin.mouth_loops[1:]] = 0.5 + 0.5 * eyes.is_upper(skin.mouth_loops.shape[1])
    contact = skin.mouth_loops[mouth.CONTACT_LOOP]
    for loop, give in zip(skin.mouth_loops[mouth.CONTACT_LOOP + 1 :], (1.0, 0.9, 0.45, 0.1, 0.0, 0.0)):
        at[loop] = at[contact]
        soft[loop] = soft[contact] * give
    soft[np.setdiff1d(skin.faces[skin.inner_faces], skin.mouth_loops)] = 0.0
    for loops in skin.eye_loops:
        soft[loops[1 : eyes.FOLD_LOOP]] *= np.array([0.7, 0.45, 0.2])[:, None]
        soft[loops[eyes.FOLD_LOOP :]] = 0.0
    x, y, _ = at.T
    lips = smoothstep(-49.0, -60.0, y) * smoothstep(-101.0, -83.0, y) * smoothstep(48.0, 22.0, np.abs(x)) * soft
    return Stage(mesh, at, soft, upper, lips)


def turn_about_x(points: Array, pivot: Array, radians: float) -> Array:
    """Points [N, 3] turned about a horizontal axis; positive lowers what lies in front of it."""
    local = points - pivot
    cosine, sine = np.cos(radians), np.sin(radians)
    y, z = local[:, 1] * cosine - local[:, 2] * sine, local[:, 1] * sine + local[:, 2] * cosine
    return pivot + np.stack((local[:, 0], y, z), axis=-1)
