"""The head model's motion undone: surfaces go back to where they rest, and open lips have nothing between them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from recon.mesh_warp import MeshWarp
from studio.codes import Codes
from studio.heads import load_head
from studio.heads.model import HeadModel
from studio.kernels.unwarp import unwarp_points

Back = Callable[[Tensor, Codes], tuple[Tensor, Tensor]]


@pytest.fixture(scope="module")
def head() -> HeadModel:
    model = load_head("procedural")
    return model.with_identity(torch.zeros(model.num_identity))


@pytest.fixture(scope="module")
def back(head: HeadModel) -> Back:
    """From points in metres and a state to where they rest, and whether there is such a place."""
    lower, upper = head.template.amin(0) - 0.05, head.template.amax(0) + 0.05
    warp = MeshWarp(head, lower, upper)

    def function(points: Tensor, codes: Codes) -> tuple[Tensor, Tensor]:
        one = Codes(codes.space, **{name: value[None] for name, value in codes.tensors().items()})
        index = torch.zeros(len(points), dtype=torch.int64)
        found, there = unwarp_points((points - lower) / (upper - lower), index, warp.volumes(one))
        return lower + found * (upper - lower), there

    return function


def _of(head: HeadModel, *regions: str) -> Tensor:
    return head.faces[head.region_faces(*regions)].unique()


def _posed(head: HeadModel, codes: Codes) -> Tensor:
    return head.vertices_head(torch.zeros(0), codes)


def test_at_rest_everything_stays(head: HeadModel, back: Back) -> None:
    found, there = back(head.template, Codes.neutral(head.space))
    assert bool(there.all())
    assert float((found - head.template).abs().max()) < 1e-6


@pytest.mark.parametrize("motion", [{"jawOpen": 1.0}, {"mouthSmileLeft": 1.0, "mouthUpperUpLeft": 0.8}])
def test_lips_teeth_and_tongue_go_back(head: HeadModel, back: Back, motion: dict[str, float]) -> None:
    codes = Codes.neutral(head.space).with_channels(**motion)
    found, there = back(_posed(head, codes), codes)
    missed = (found - head.template).norm(dim=1)
    for regions, most in ((("teeth_upper", "teeth_lower"), 5e-4), (("tongue",), 4e-3), (("face",), 1e-3)):
        own = _of(head, *regions)
        assert float(missed[own].quantile(0.95)) < most, regions
        assert float(there[own].float().mean()) > 0.95, regions


def test_between_open_lips_is_nothing_and_between_closed_ones_is_no_gap(head: HeadModel, back: Back) -> None:
    closed = Codes.neutral(head.space)
    opened = closed.with_channels(jawOpen=1.0)
    upper, lower = head.landmarks(_posed(head, opened))[[13, 14]]
    shares = torch.linspace(0.3, 0.7, 5)[:, None]
    between = upper + shares * (lower - upper)
    assert not bool(back(between, opened)[1].any())
    assert bool(back(between, closed)[1].all())


def test_a_closed_lid_covers_the_eye(head: HeadModel, back: Back) -> None:
    """At the pupil there is what rests above or below the opening when the eye is closed, also a step of a ray deep."""
    ball = _of(head, "eye_left")
    front = head.template[ball][head.template[ball, 2].argmax()]
    around = torch.cartesian_prod(torch.linspace(-0.005, 0.005, 5), torch.linspace(-0.002, 0.003, 4))
    points = front + torch.cat((around, torch.zeros(len(around), 1)), dim=1)
    upper, lower = head.landmarks(head.template)[[386, 374], 1]
    for closed, depth in ((True, 0.0), (True, 0.002), (False, 0.0), (False, 0.002)):
        codes = Codes.neutral(head.space).with_channels(eyeBlinkLeft=float(closed))
        found, there = back(points - torch.tensor([0.0, 0.0, depth]), codes)
        opening = (found[:, 1] > lower + 0.001) & (found[:, 1] < upper - 0.001)
        share = float((there & ~opening).float().mean())
        assert share > 0.8 if closed else share < 0.1, (closed, depth, share)


def test_a_chin_comes_before_the_neck_behind_it(head: HeadModel, back: Back) -> None:
    codes = Codes.neutral(head.space).with_channels(jawOpen=1.0)
    chin = head.landmarks(head.template)[152]
    near = torch.nonzero((head.template - chin).norm(dim=1) < 0.01)[:, 0]
    found, _ = back(_posed(head, codes)[near], codes)
    assert float((found - head.template[near]).norm(dim=1).max()) < 5e-3
