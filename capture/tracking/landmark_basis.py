"""What the tracker knows of a head model: its landmarks as a linear model, and how far each may be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from studio.codes import CodeSpace
from studio.errors import StudioError
from studio.heads.mediapipe_points import CONTOUR, GROUPS
from studio.heads.model import HeadModel

SKIN_POINTS = 468  # MediaPipe's points before the irises
# Points that meet when lips or lids close. Their distance is seen far more precisely than their place.
GAPS = (
    *((13, 14), (82, 87), (81, 178), (80, 88), (312, 317), (311, 402), (310, 318)),
    *((159, 145), (158, 153), (160, 144), (157, 154), (161, 163)),
    *((386, 374), (385, 380), (387, 373), (384, 381), (388, 390)),
)
# The rims of open lids are seen a few pixels of lashes too high or too low; that lids meet is seen exactly.
_LID_SLACK = 0.2


@dataclass(frozen=True)
class LandmarkBasis:
    """MediaPipe's skin points on a head model, linear in identity and expression (joints at rest).

    Args:
        space: the code space of the expression channels.
        indices: [N] int64, which of MediaPipe's points the model has (irises left out).
        rest: [N, 3] metres, head frame.
        identity: [I, N, 3] metres per standard deviation.
        expression: [E, N, 3] metres for a channel at 1.
        normals: [N, 3] unit normals of the template there.
        weights: [N] relative trust.
        gaps: [G, 2] int64 positions in ``indices`` of points that meet when lips or lids close.
        gap_slack: [G] share of its own size that a gap may be wrong by.
    """

    space: CodeSpace
    indices: Tensor
    rest: Tensor
    identity: Tensor
    expression: Tensor
    normals: Tensor
    weights: Tensor
    gaps: Tensor
    gap_slack: Tensor

    @staticmethod
    def of(head: HeadModel) -> LandmarkBasis:
        """Raises StudioError when the model has too few of MediaPipe's points to be fitted."""
        indices = torch.nonzero(head.landmark_valid[:SKIN_POINTS])[:, 0]
        if len(indices) < 60:
            raise StudioError(
                f"head model {head.name} cannot be tracked",
                got=f"{len(indices)} MediaPipe points on it",
                expected="at least 60",
                next="choose head=procedural or head=ict",
            )
        corners = head.faces[head.landmark_faces[indices]]  # [N, 3]
        bary = head.landmark_bary[indices]

        def on_surface(values: Tensor) -> Tensor:  # [..., V, 3] -> [..., N, 3]
            return (values[..., corners, :] * bary[..., None]).sum(-2)

        a, b, c = head.template[corners].unbind(1)
        normals = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1)
        place = {int(index): position for position, index in enumerate(indices)}
        weights = torch.ones(len(indices))
        for names, weight in ((GROUPS["lips"] + GROUPS["lids"], 1.5), (CONTOUR, 0.5)):
            weights[[place[point] for point in names if point in place]] = weight
        pairs = [(place[a], place[b]) for a, b in GAPS if a in place and b in place]
        gaps = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)
        return LandmarkBasis(
            head.space,
            indices,
            on_surface(head.template),
            on_surface(head.identity_basis),
            on_surface(head.expression_basis),
            normals,
            weights,
            gaps,
            _LID_SLACK * torch.isin(indices[gaps[:, 0]], torch.tensor(GROUPS["lids"])),
        )
