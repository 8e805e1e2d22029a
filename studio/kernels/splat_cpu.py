"""The stages of the CPU rasteriser in order, forward and backward, over flat arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor

from studio.kernels.buffers import borrow_together
from studio.kernels.splat_order import Order, Tiles, count_tiles, fill_tiles, place_tiles, sort_by_depth
from studio.kernels.splat_project import (
    BOX,
    CAMERA_ROW,
    ROW,
    TILE,
    Gaussians,
    Projected,
    Setup,
    Slots,
    project,
)
from studio.kernels.splat_project_backward import project_backward
from studio.kernels.splat_raster import BLOCKS, FORWARD_BLOCK, TILE_PIXELS, Ends, Images, rasterize
from studio.kernels.splat_raster_backward import BACKWARD_BLOCK, rasterize_backward
from studio.kernels.workers import run, worker_count


class State(NamedTuple):
    """What the backward pass needs from the forward pass."""

    setup: Setup
    camera: np.ndarray  # [V * CAMERA_ROW]
    projected: Projected
    slots: Slots
    tiles: Tiles
    ends: Ends


def camera_rows(viewmats: Tensor, Ks: Tensor, width: int, height: int) -> np.ndarray:
    """Cameras [V, 4, 4] and [V, 3, 3] as rows [V * CAMERA_ROW]; slopes are clamped 15 % of the image outside it."""
    views, intrinsics = viewmats.detach().numpy(), Ks.detach().numpy()
    rows = np.empty((len(views), CAMERA_ROW), np.float64)
    rows[:, :9] = views[:, :3, :3].reshape(-1, 9)
    rows[:, 9:12] = views[:, :3, 3]
    for axis, size in ((0, width), (1, height)):
        focal, centre = intrinsics[:, axis, axis].astype(np.float64), intrinsics[:, axis, 2].astype(np.float64)
        margin = 0.15 * size / focal
        rows[:, 12 + axis], rows[:, 14 + axis] = focal, centre
        rows[:, 16 + 2 * axis] = -centre / focal - margin
        rows[:, 17 + 2 * axis] = (size - centre) / focal + margin
    return rows.astype(np.float32).reshape(-1)


def forward(
    setup: Setup, camera: np.ndarray, gaussians: Gaussians, images: Images, differentiable: bool = True
) -> State:
    """Render into ``images``; N ≥ 16."""
    workers = worker_count()
    size = setup.views * setup.splats
    tile_count = setup.views * -(-setup.width // TILE) * -(-setup.height // TILE)
    counter = np.zeros(2, np.int64)

    kept = borrow_together(
        "splat_state",
        {
            "rows": (size * ROW, np.float32),
            "keys": (size, np.float32),
            "boxes": (BOX * size, np.uint32),
            "order": (size, np.uint32),
            "starts": (tile_count + 1, np.int64),
            "ranges": (2 * size if differentiable else 0, np.int64),
            "tile_ends": (tile_count, np.int64),
            "block_counts": (tile_count, np.int64),
            "block_ends": (tile_count * BLOCKS if differentiable else 0, np.int64),
            "pixel_ends": (tile_count * TILE_PIXELS if differentiable else 0, np.float32),
            "transmittances": (tile_count * TILE_PIXELS if differentiable else 0, np.float32),
        },
    )
    sorters = min(workers, setup.views)
    scratch = borrow_together(
        "splat_scratch",
        {
            "sort": ((sorters, 4 * setup.splats), np.uint32),
            "counts": ((workers, tile_count), np.int64),
            "totals": (workers, np.int64),
            "planes": ((workers, BLOCKS * FORWARD_BLOCK), np.float32),
        },
    )
    rows, keys, boxes, counts, totals = kept["rows"], kept["keys"], kept["boxes"], scratch["counts"], scratch["totals"]
    projected = Projected(rows, keys, boxes.view(np.float32))
    run(project, workers, setup, camera, gaussians, projected)

    order = Order(kept["order"], np.empty(setup.views, np.int64))
    run(sort_by_depth, sorters, counter[:1], setup.splats, keys.view(np.uint32), order, scratch["sort"])
    run(count_tiles, workers, setup, rows, boxes, order, counts, totals)

    entry_count = place_tiles(counts, kept["starts"])
    places = entry_count if differentiable else 0
    lists = borrow_together("splat_lists", {"entries": (entry_count, np.uint32), "places": (places, np.uint32)})
    tiles = Tiles(kept["starts"], lists["entries"])
    slots = Slots(kept["ranges"], lists["places"], rows=np.empty(0, np.float32), written=np.empty(0, np.uint8))
    run(fill_tiles, workers, setup, rows, boxes, order, counts, totals, tiles.entries, slots)

    ends = Ends(differentiable, *(kept[name] for name in Ends._fields[1:]))
    run(rasterize, workers, setup, counter[1:], scratch["planes"], rows, tiles, ends, images)
    return State(setup, camera, projected, slots, tiles, ends)


def backward(
    state: State, gaussians: Gaussians, images: Images, cotangents: Images
) -> tuple[Gaussians, np.ndarray, np.ndarray]:
    """Gradients of the Gaussians, of the pixel means [V, N, 4] (x, y, Σ|x|, Σ|y|), and of the cameras [V, 3, 4]."""
    setup, workers = state.setup, worker_count()
    entries, blocks = len(state.tiles.entries), -(-setup.splats // 16)
    scratch = borrow_together(
        "splat_gradients",
        {
            "rows": (entries * ROW, np.float32),
            "written": (entries, np.uint8),
            "planes": ((workers, BLOCKS * BACKWARD_BLOCK), np.float32),
            "cameras": ((blocks, setup.views, 16), np.float32),
        },
    )
    slots = state.slots._replace(rows=scratch["rows"], written=scratch["written"])
    counter = np.zeros(1, np.int64)
    run(
        rasterize_backward,
        workers,
        setup,
        counter,
        scratch["planes"],
        state.projected.rows,
        state.tiles,
        state.ends,
        images,
        cotangents,
        slots,
    )
    wanted = {name: (array.size, np.float32) for name, array in gaussians._asdict().items()}
    given = borrow_together("splat_results", {**wanted, "screen": (setup.views * setup.splats * 4, np.float32)})
    gradients, screen, cameras = Gaussians(*(given[name] for name in wanted)), given["screen"], scratch["cameras"]
    run(
        project_backward,
        workers,
        setup,
        state.camera,
        gaussians,
        state.projected.keys,
        slots,
        gradients,
        screen,
        cameras.reshape(-1),
    )
    summed = cameras.sum(axis=0, dtype=np.float64)[:, :12].astype(np.float32)
    viewmats = np.concatenate((summed[:, :9].reshape(-1, 3, 3), summed[:, 9:].reshape(-1, 3, 1)), axis=2)
    return gradients, screen.reshape(setup.views, setup.splats, 4), viewmats
