"""The stages of the CPU rasteriser in order, forward and backward, over flat arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from studio.kernels.buffers import borrow
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
    views = viewmats.detach().to(torch.float64).numpy()
    intrinsics = Ks.detach().to(torch.float64).numpy()
    rows = np.empty((len(views), CAMERA_ROW), np.float64)
    rows[:, :9] = views[:, :3, :3].reshape(-1, 9)
    rows[:, 9:12] = views[:, :3, 3]
    fx, fy, cx, cy = intrinsics[:, 0, 0], intrinsics[:, 1, 1], intrinsics[:, 0, 2], intrinsics[:, 1, 2]
    rows[:, 12:16] = np.stack((fx, fy, cx, cy), axis=1)
    margin_x, margin_y = 0.15 * width / fx, 0.15 * height / fy
    rows[:, 16:18] = np.stack((-cx / fx - margin_x, (width - cx) / fx + margin_x), axis=1)
    rows[:, 18:20] = np.stack((-cy / fy - margin_y, (height - cy) / fy + margin_y), axis=1)
    return rows.astype(np.float32).reshape(-1)


def forward(
    setup: Setup, camera: np.ndarray, gaussians: Gaussians, images: Images, differentiable: bool = True
) -> State:
    """Render into ``images``; N ≥ 16."""
    workers = worker_count()
    size = setup.views * setup.splats
    tile_count = setup.views * -(-setup.width // TILE) * -(-setup.height // TILE)
    counter = np.zeros(2, np.int64)

    rows, keys = borrow("rows", size * ROW), borrow("keys", size)
    boxes = borrow("boxes", BOX * size, np.uint32)
    projected = Projected(rows, keys, boxes.view(np.float32))
    run(project, workers, setup, camera, gaussians, projected)

    order = Order(borrow("order", size, np.uint32), np.empty(setup.views, np.int64))
    sorters = min(workers, setup.views)
    sort_scratch = borrow("sort", (sorters, 4 * setup.splats), np.uint32)
    run(sort_by_depth, sorters, counter[:1], setup.splats, keys.view(np.uint32), order, sort_scratch)

    counts = borrow("counts", (workers, tile_count), np.int64)
    totals = borrow("totals", workers, np.int64)
    run(count_tiles, workers, setup, rows, boxes, order, counts, totals)

    starts = borrow("starts", tile_count + 1, np.int64)
    entry_count = place_tiles(counts, starts)
    tiles = Tiles(starts, borrow("entries", entry_count, np.uint32))
    slots = Slots(
        ranges=borrow("slot_ranges", 2 * size if differentiable else 0, np.int64),
        places=borrow("slots", entry_count if differentiable else 0, np.uint32),
        rows=np.empty(0, np.float32),
        written=np.empty(0, np.uint8),
    )
    run(fill_tiles, workers, setup, rows, boxes, order, counts, totals, tiles.entries, slots)

    pixels = tile_count * TILE_PIXELS if differentiable else 0
    ends = Ends(
        kept=differentiable,
        tile_ends=borrow("tile_ends", tile_count, np.int64),
        block_counts=borrow("block_counts", tile_count, np.int64),
        block_ends=borrow("block_ends", tile_count * BLOCKS if differentiable else 0, np.int64),
        pixel_ends=borrow("pixel_ends", pixels),
        transmittances=borrow("transmittances", pixels),
    )
    planes = borrow("planes", (workers, BLOCKS * FORWARD_BLOCK))
    run(rasterize, workers, setup, counter[1:], planes, rows, tiles, ends, images)
    return State(setup, camera, projected, slots, tiles, ends)


def backward(
    state: State, gaussians: Gaussians, images: Images, cotangents: Images
) -> tuple[Gaussians, np.ndarray, np.ndarray]:
    """Gradients of the Gaussians, of the pixel means [V, N, 4] (x, y, Σ|x|, Σ|y|), and of the cameras [V, 3, 4]."""
    setup, workers = state.setup, worker_count()
    entries = len(state.tiles.entries)
    slots = state.slots._replace(
        rows=borrow("gradient_rows", entries * ROW), written=borrow("written", entries, np.uint8)
    )
    planes = borrow("planes", (workers, BLOCKS * BACKWARD_BLOCK))
    counter = np.zeros(1, np.int64)
    run(
        rasterize_backward,
        workers,
        setup,
        counter,
        planes,
        state.projected.rows,
        state.tiles,
        state.ends,
        images,
        cotangents,
        slots,
    )
    gradients = Gaussians(*(borrow(f"gradient_{name}", len(array)) for name, array in gaussians._asdict().items()))
    screen = borrow("screen", setup.views * setup.splats * 4)
    blocks = -(-setup.splats // 16)
    cameras = np.zeros((blocks, setup.views, 16), np.float32)
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
