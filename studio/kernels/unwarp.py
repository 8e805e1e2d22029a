"""From a posed head back to the resting one, where displacements of the resting one are known on lattices."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from studio.errors import StudioError
from studio.kernels import unwarp_cpu
from studio.kernels.backends import choose_kernels
from studio.kernels.buffers import borrow
from studio.kernels.tensors import flat

ROUNDS = 8  # of Newton's method at most
NEAR = 1e-4  # sides of the cube: what was found so exactly is not looked for any more
SLACK = 1.5e-3  # by which a point may miss, or be on the wrong side of a tear
STEEP = 0.15  # determinant below which a step goes by the difference alone: space is folded there


@dataclass(frozen=True)
class Warps:
    """What C motions do to the unit cube, in its units.

    Some boxes in it are torn: displacements differ on the two sides of a surface.

    Args:
        whole: [C, N, N, N, 3] displacements of lattice points over the cube.
        halves: [C, P, 2, M, M, M, 3] the same over P boxes, for the first side of each tear and for the second.
        depths: [P, 2, M, M, M] how deep in either side the lattice points lie, negative outside of it.
        boxes: [P, 2, 3] lower and upper corners.
        starts: [C, G, G, G, 3] displacements of what has come to the cells of the cube, or zero: where to begin.
        half_starts: [C, P, 2, K, K, K, 3] the same for the halves.
    """

    whole: Tensor
    halves: Tensor
    depths: Tensor
    boxes: Tensor
    starts: Tensor
    half_starts: Tensor

    @classmethod
    def smooth(cls, whole: Tensor) -> Warps:
        """Without tears."""
        count, blank = len(whole), whole.new_zeros
        fine = blank(count, 0, 2, 2, 2, 2, 3)
        return cls(whole, fine, blank(0, 2, 2, 2, 2), blank(0, 2, 3), blank(count, 1, 1, 1, 3), fine)

    @property
    def consistent(self) -> bool:
        """Whether the shapes fit."""
        count, side = len(self.whole), self.whole.shape[1]
        parts, fine, first, second = (
            len(self.boxes),
            self.depths.shape[-1],
            self.starts.shape[1],
            self.half_starts.shape[3],
        )
        return (
            min(side, fine) >= 2
            and self.whole.shape == (count, side, side, side, 3)
            and self.halves.shape == (count, parts, 2, fine, fine, fine, 3)
            and self.depths.shape == (parts, 2, fine, fine, fine)
            and self.boxes.shape == (parts, 2, 3)
            and self.starts.shape == (count, first, first, first, 3)
            and self.half_starts.shape == (count, parts, 2, second, second, second, 3)
        )


def unwarp_points(
    points: Tensor,  # [S, 3], 0..1: where they are seen
    index: Tensor,  # [S] int64 in 0..C - 1: the motion of each
    warps: Warps,
    *,
    kernels: str = "auto",
) -> tuple[Tensor, Tensor]:
    """[S, 3] the points y of which y + d(y) = x, and [S] bool whether there is one; without gradients.

    d is interpolated linearly, y found by Newton's method. Where space is folded (a chin before a neck) there are
    several; the one near to where it begins is found, so that surfaces come before the air in front of others. In a
    torn box y is looked for on either side, and the one that lies deeper in its own is taken; where both are on the
    wrong side (between open lips) there is no such point.

    Raises:
        StudioError: shapes do not fit, or ``kernels`` is not available.
    """
    if not warps.consistent or points.ndim != 2 or points.shape[1] != 3 or index.shape != points.shape[:1]:
        got = [tuple(value.shape) for value in (points, index, *vars(warps).values())]
        raise StudioError("points to unwarp", got=got, expected="points [S, 3], index [S] and warps that fit together")
    if choose_kernels(kernels, points.device) == "cuda":
        return unwarp_points_reference(points, index, warps)
    out = torch.from_numpy(borrow("unwarped", tuple(points.shape)))
    there = torch.empty(len(points), dtype=torch.bool)
    volumes = unwarp_cpu.Volumes(*(value.detach().contiguous().numpy() for value in vars(warps).values()))
    limits = unwarp_cpu.Limits(ROUNDS, NEAR, SLACK, STEEP)
    unwarp_cpu.unwarp(flat(points), flat(index), volumes, limits, flat(out), flat(there))
    return out, there


@torch.no_grad()
def unwarp_points_reference(points: Tensor, index: Tensor, warps: Warps) -> tuple[Tensor, Tensor]:
    """The same in plain torch, of any float type and device."""
    cube = torch.stack((torch.zeros_like(points[0]), torch.ones_like(points[0]))) if len(points) else warps.boxes[:0]
    found, _ = _solve(points, warps.whole, warps.starts, index, cube)
    there, free = (
        torch.ones(len(points), dtype=torch.bool, device=points.device),
        torch.ones_like(index, dtype=torch.bool),
    )
    for part, box in enumerate(warps.boxes):
        inside = free & ((points >= box[0]) & (points <= box[1])).all(1)
        free &= ~inside
        own, chosen = points[inside], index[inside]
        if not len(own):
            continue
        volumes = zip(warps.halves[:, part].unbind(1), warps.half_starts[:, part].unbind(1))
        sides = [_solve(own, displaced, starts, chosen, box) for displaced, starts in volumes]
        depths = []
        for half, (place, missed) in enumerate(sides):
            depth = _look_up(place, warps.depths[None, part, half, ..., None], torch.zeros_like(chosen), box)[0][:, 0]
            depths.append(torch.where(missed <= SLACK, depth, -torch.inf))
        first = depths[0] >= depths[1]
        found[inside] = torch.where(first[:, None], sides[0][0], sides[1][0])
        there[inside] = torch.maximum(*depths) >= -SLACK
    return found, there


def _solve(points: Tensor, volumes: Tensor, starts: Tensor, index: Tensor, box: Tensor) -> tuple[Tensor, Tensor]:
    """Newton's method for all points [S, 3]: where they come from, and by how much that misses [S]."""
    cells = starts.shape[1]
    cell = ((points - box[0]) / (box[1] - box[0]) * cells).long().clamp(0, cells - 1)
    place = points - starts[index, cell[:, 0], cell[:, 1], cell[:, 2]]
    best, least = place.clone(), points.new_full((len(points),), torch.inf)
    for round in range(ROUNDS + 1):
        moved, slopes = _look_up(place, volumes, index, box)
        missed = place + moved - points
        far = missed.abs().amax(1)
        better = far < least
        best[better], least[better] = place[better], far[better]
        if round == ROUNDS:
            break
        jacobian = slopes + torch.eye(3).to(slopes)
        steep = torch.linalg.det(jacobian) >= STEEP
        safe = torch.where(steep[:, None, None], jacobian, torch.eye(3).to(slopes))
        step = torch.linalg.solve(safe, missed[..., None])[..., 0]
        place = torch.where((least > NEAR)[:, None], place - step, place)
    return best, least


def _look_up(points: Tensor, volumes: Tensor, index: Tensor, box: Tensor) -> tuple[Tensor, Tensor]:
    """Interpolated values [S, K] of volumes [C, N, N, N, K] over a box [2, 3], and slopes [S, K, 3]."""
    side = volumes.shape[1]
    scale = (side - 1) / (box[1] - box[0])
    place = (points - box[0]) * scale
    within = (place >= 0) & (place <= side - 1)
    place = place.clamp(0.0, side - 1.0)
    low = place.long().clamp(max=side - 2)
    share = place - low
    values: Tensor | float = 0.0
    slopes: list[Tensor | float] = [0.0, 0.0, 0.0]
    for corner in torch.cartesian_prod(*[torch.arange(2, device=points.device)] * 3):
        i, j, k = (low + corner).unbind(-1)
        value = volumes[index, i, j, k]
        weight = torch.where(corner == 1, share, 1.0 - share)
        values = values + weight.prod(1)[:, None] * value
        for axis in range(3):
            others = weight[:, [a for a in range(3) if a != axis]].prod(1)
            sign = 2.0 * corner[axis].to(points) - 1.0
            slopes[axis] = slopes[axis] + (sign * others * scale[axis] * within[:, axis])[:, None] * value
    assert isinstance(values, Tensor)
    return values, torch.stack([torch.as_tensor(slope) for slope in slopes], dim=2)
