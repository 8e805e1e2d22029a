"""Stabilisation: laws of the network, and that it is better than the points of the skull on people it never saw."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from capture.stabilise import Stabiliser, by_skull
from capture.stabilise.pairs import FacePoints, Pairs, draw, identities
from capture.stabilise.train import judge, sequence, train
from studio.errors import StudioError
from studio.heads import load_head
from studio.rotations import axis_angle_to_matrix, rigid, transform_points


@pytest.fixture(scope="module")
def points() -> FacePoints:
    return FacePoints.of(load_head("procedural"))


@pytest.fixture(scope="module")
def pairs(points: FacePoints) -> Pairs:
    generator = torch.Generator().manual_seed(5)
    return draw(points, identities(points, 16, generator), generator)


@pytest.fixture(scope="module")
def shipped() -> Stabiliser:
    return Stabiliser.load()


def somewhere(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    turn = 0.4 * torch.randn(3, generator=generator)
    return rigid(axis_angle_to_matrix(turn), 0.2 * torch.randn(3, generator=generator))


def test_a_face_that_only_moves_is_followed_exactly(points: FacePoints) -> None:
    motion = somewhere(0)
    moved = transform_points(motion, points.rest)
    torch.testing.assert_close(by_skull(points.rest, moved), motion, atol=1e-5, rtol=0)
    torch.testing.assert_close(Stabiliser.fresh(0).motion(points.rest, moved), motion, atol=1e-5, rtol=0)


def test_moving_the_face_moves_the_answer(pairs: Pairs, shipped: Stabiliser) -> None:
    motion = somewhere(1)
    found = shipped.motion(pairs.neutral, pairs.face)
    elsewhere = shipped.motion(pairs.neutral, transform_points(motion, pairs.face))
    torch.testing.assert_close(elsewhere, motion @ found, atol=2e-5, rtol=0)


def test_where_the_neutral_lies_does_not_matter(pairs: Pairs, shipped: Stabiliser) -> None:
    shift = torch.tensor([0.3, -0.1, 0.2])
    moved = shipped.motion(pairs.neutral + shift, pairs.face)
    from_origin = moved[..., :3, 3] + (moved[..., :3, :3] @ shift)
    torch.testing.assert_close(from_origin, shipped.motion(pairs.neutral, pairs.face)[..., :3, 3], atol=2e-5, rtol=0)


def test_it_is_better_than_the_points_of_the_skull(points: FacePoints, shipped: Stabiliser) -> None:
    skull, network = judge(shipped, points, people=8)
    for figure in ("expressions, mm", "sequences, mm", "degrees, sequences", "unrest, mm"):
        assert network[figure] < 0.8 * skull[figure], figure  # type: ignore[operator]


def test_a_stabilised_sequence_rests(points: FacePoints, shipped: Stabiliser) -> None:
    film = sequence(points, identities(points, 1, torch.Generator().manual_seed(9))[0], seed=9, frames=30)
    expression = transform_points(torch.linalg.inv(film.motion), film.face)
    left = (shipped.stabilised(film.neutral, film.face) - expression).norm(dim=-1).mean()
    assert left < 0.0006
    assert (film.face - film.neutral).norm(dim=-1).mean() > 5 * left


def test_training_learns(points: FacePoints, pairs: Pairs) -> None:
    from capture.stabilise.train import skull_errors

    network = train({"procedural": points}, steps=30, seed=1)
    untrained, trained = (
        float(skull_errors(pairs, find.motion(pairs.neutral, pairs.face)).mean())
        for find in (Stabiliser.fresh(1), network)
    )
    assert trained < untrained


def test_files_of_other_networks_are_refused(tmp_path: Path, shipped: Stabiliser) -> None:
    shipped.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").stat().st_size < 500_000
    torch.testing.assert_close(Stabiliser.load(tmp_path / "again.safetensors").layers, shipped.layers)
    save_file({"layer0": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(StudioError, match="another network"):
        Stabiliser.load(tmp_path / "other.safetensors")
    with pytest.raises(StudioError, match="cannot read"):
        Stabiliser.load(tmp_path / "none.safetensors")
