"""Where a head can be at all: the visual hull of mattes, on a grid of cells."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from studio.cameras import Camera
from studio.captures import Capture
from studio.errors import StudioError
from studio.kernels.march import OccupancyGrid
from studio.rotations import rigid_inverse

_TIMESTEPS = 12  # that are looked at, at most
_BORDER = 0.015  # of the image's larger side, that mattes are widened by
_COARSE = 32  # cells a side while the box is looked for
_MARGIN = 1.5  # coarse cells round what was found


@dataclass(frozen=True)
class Hull:
    """Where a head can be.

    Args:
        grid: a box round it, and the cells that can hold something.
        doubtful: [K] int64 those of them that fewer than half of the cameras see at any of the timesteps: in the
            corners of a few images much is possible.
    """

    grid: OccupancyGrid
    doubtful: Tensor


def find_hull(
    capture: Capture,
    timesteps: tuple[int, ...],
    cameras: tuple[int, ...],
    poses: Tensor,  # [T, 4, 4] of all the capture's timesteps: the frame that is looked at, to the world
    cells: int,
    *,
    agreeing: float,
    at_once: bool,
    min_views: int,
    around: tuple[Tensor, Tensor] | None = None,
) -> Hull:
    """A box round the person, and the cells in it that can hold something.

    Args:
        agreeing: share of the views that see a cell in which it is the person.
        at_once: this must hold at one timestep at least; otherwise over all timesteps together.
        min_views: cameras that must see a cell [frustum culling].
        around: corners [3] of the box to look in; what the cameras look at in common by default.

    Raises:
        StudioError: the mattes have nothing in common, or the capture has too few cameras.
    """
    if len(cameras) < min_views:
        raise StudioError(
            "cameras to train on", got=len(cameras), expected=f"{min_views} or more, or another min_views"
        )
    chosen = np.unique(np.linspace(0, len(timesteps) - 1, _TIMESTEPS).round().astype(int))
    views = _Views(capture, [timesteps[index] for index in chosen], cameras, poses)
    lower, upper = views.common() if around is None else around
    for _ in range(2):  # the second time in the box found, where cells are smaller
        kept = views.kept(_centers(lower, upper, _COARSE), agreeing, at_once, min_views).reshape([_COARSE] * 3)
        if not bool(kept.any()):
            raise StudioError("the mattes of the cameras have nothing in common", next="check cameras and mattes")
        found, size = kept.nonzero(), (upper - lower) / _COARSE
        first, last = found.amin(0) - _MARGIN, found.amax(0) + 1 + _MARGIN
        lower, upper = lower + first * size, lower + last * size
    grid = OccupancyGrid.full(lower, upper, cells)
    centers = _centers(lower, upper, cells)
    kept = views.kept(centers, agreeing, at_once, min_views).reshape([cells] * 3)
    grown = torch.nn.functional.max_pool3d(kept[None].float(), 3, 1, 1)[0] > 0
    grid.possible, grid.occupied = grown, grown.clone()
    return Hull(grid, (grown.reshape(-1) & (2 * views.most_seeing(centers) < len(cameras))).nonzero()[:, 0])


def _centers(lower: Tensor, upper: Tensor, cells: int) -> Tensor:
    places = (torch.arange(cells) + 0.5) / cells
    return lower + torch.cartesian_prod(places, places, places) * (upper - lower)


class _Views:
    """Widened mattes and cameras of some timesteps, in the frame that is looked at."""

    def __init__(self, capture: Capture, timesteps: list[int], cameras: tuple[int, ...], poses: Tensor) -> None:
        width, height = capture.cameras.width, capture.cameras.height
        reach = 2 * max(1, round(_BORDER * max(width, height))) + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
        rig = capture.cameras[list(cameras)]
        self.mattes = [
            torch.from_numpy(np.stack([cv2.dilate(_matte(capture, t, c), disc) > 127 for c in cameras]))
            for t in timesteps
        ]
        self.cameras = [Camera(rig.viewmats @ poses[t], rig.Ks, width, height, rig.ids) for t in timesteps]

    def common(self) -> tuple[Tensor, Tensor]:
        """A cube about the point nearest to all optical axes, as large as the widest image reaches there."""
        to_frame = rigid_inverse(torch.cat([camera.viewmats for camera in self.cameras]).double())
        axes, eyes = to_frame[:, :3, 2], to_frame[:, :3, 3]
        across = torch.eye(3).double() - axes[:, :, None] * axes[:, None]
        near = torch.eye(3).double() * 1e-6  # parallel axes: near the origin of the frame
        center = torch.linalg.solve(across.sum(0) + near * len(axes), (across @ eyes[..., None]).sum(0)[:, 0])
        rig = self.cameras[0]
        reach = max(rig.width, rig.height) / 2 / rig.Ks[:, 0, 0].min()
        half = (eyes - center).norm(dim=1).max() * reach
        return (center - half).float(), (center + half).float()

    def kept(self, points: Tensor, agreeing: float, at_once: bool, min_views: int) -> Tensor:
        """[N] bool."""
        total_seen, total_person, ever = (
            torch.zeros(len(points)),
            torch.zeros(len(points)),
            torch.zeros(len(points), dtype=torch.bool),
        )
        before: Camera | None = None
        for mattes, cameras in zip(self.mattes, self.cameras):
            if before is None or not torch.equal(before.viewmats, cameras.viewmats):  # a frame that stands still
                seen, place = _pixels(cameras, points)
                before = cameras
            person = mattes.flatten(1).gather(1, place) & seen
            counted, covered = seen.sum(0), person.sum(0)
            enough = counted >= min_views
            ever |= enough & (covered >= agreeing * counted)
            total_seen, total_person = total_seen + counted * enough, total_person + covered * enough
        return ever if at_once else (total_seen > 0) & (total_person >= agreeing * total_seen)

    def most_seeing(self, points: Tensor) -> Tensor:
        """[N] how many cameras see a point when most do."""
        return torch.stack([_pixels(cameras, points)[0].sum(0) for cameras in self.cameras]).amax(0)


def _pixels(cameras: Camera, points: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each camera sees each point, and in which pixel: [C, N] bool and int64."""
    xy, depth = cameras.project(points)
    column, row = xy.floor().long().unbind(-1)
    seen = (depth > 0) & (column >= 0) & (row >= 0) & (column < cameras.width) & (row < cameras.height)
    return seen, row.clamp(0, cameras.height - 1) * cameras.width + column.clamp(0, cameras.width - 1)


def _matte(capture: Capture, timestep: int, camera: int) -> np.ndarray:
    matte = capture.frame(timestep, camera).alpha
    if matte is None:
        raise StudioError(f"{capture.folder} has no mattes", expected="mattes: they say where the head can be")
    return matte
