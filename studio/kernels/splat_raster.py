"""Blending of sorted Gaussians into tiles of 16 × 64 pixels; one image row of a tile is one vector.

Front to back, a pixel with transmittance T takes w = αT of each Gaussian's colour and depth and keeps T − w. The rules
are gsplat's: α = min(0.999, o·exp(−σ)); α below 1/255 is dropped; a Gaussian that would leave T ≤ 1e-4 is not blended
and ends its pixel. T is negative once a pixel has ended; α is the sum of weights rather than 1 − T, so that faint
pixels lose no digits; 64 bits say which rows of a tile still live.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from studio.kernels.compiled import inlined, kernel
from studio.kernels.simd import (
    Array,
    Vector,
    absolute,
    any_lane,
    broadcast,
    exp2,
    fma,
    lane_numbers,
    maximum,
    minimum,
    select,
)
from studio.kernels.simd_memory import count_trailing_zeros, fetch_add, load, prefetch, store, store3
from studio.kernels.splat_order import Tiles
from studio.kernels.splat_project import LOG2_ALPHA_MIN, ROW, TILE_HEIGHT, TILE_WIDTH, Setup

ALPHA_MAX = 0.999
TRANSMITTANCE_MIN = 1e-4
TILE_PIXELS = TILE_WIDTH * TILE_HEIGHT
FORWARD_ROW = 7 * TILE_WIDTH  # floats of scratch for each row of a tile: its planes side by side, not 4 KiB apart,
# which would put all of them into the same few cache lines' places
_T, _RED, _GREEN, _BLUE, _DEPTH, _COVERED, _END = (plane * TILE_WIDTH for plane in range(7))
AHEAD = 12  # how many list entries ahead to prefetch
ALL_ROWS = np.uint64(0xFFFFFFFFFFFFFFFF)
ONE = np.uint64(1)
ROW_BITS = 6  # of a row's number in a tile
NEVER = 1e9  # a list entry beyond any list's end


class Images(NamedTuple):
    """Flat float32 images of all views, or their gradients."""

    rgb: np.ndarray  # [V * H * W * 3] premultiplied
    alpha: np.ndarray  # [V * H * W]
    depth: np.ndarray  # [V * H * W] expected camera depth where alpha > 0


class Ends(NamedTuple):
    """How far each tile, row and pixel read its tile's list; entries are counted from the list's start.

    Without ``kept``, where no gradients are wanted, the last three are empty.
    """

    kept: bool
    tile_ends: np.ndarray  # [V * tiles] int64 entries read
    row_counts: np.ndarray  # [V * tiles] int64 how many rows ended early
    row_ends: np.ndarray  # [V * tiles * TILE_HEIGHT] int64 entry << ROW_BITS | row, in the order in which they ended
    pixel_ends: np.ndarray  # [V * tiles * TILE_PIXELS] float32 the entry that ended the pixel, or NEVER
    transmittances: np.ndarray  # [V * tiles * TILE_PIXELS] float32 after all that was blended


@inlined
def tile_place(setup: Setup, tile: int) -> tuple[int, int, int, int, int]:
    """View, left and top pixel, and how much of a tile lies inside the image."""
    columns = (setup.width + TILE_WIDTH - 1) // TILE_WIDTH
    tiles = columns * ((setup.height + TILE_HEIGHT - 1) // TILE_HEIGHT)
    view = tile // tiles
    row = (tile - view * tiles) // columns
    left, top = (tile - view * tiles - row * columns) * TILE_WIDTH, row * TILE_HEIGHT
    width = setup.width - left if setup.width - left < TILE_WIDTH else TILE_WIDTH
    height = setup.height - top if setup.height - top < TILE_HEIGHT else TILE_HEIGHT
    return view, left, top, width, height


@inlined
def rows_touched(
    mean_x: float, mean_y: float, lowest: float, slope: float, chord: float, loss: float, left: float, top: float
) -> int:
    """Bits of the tile's pixel rows that the ellipse reaches; ``left``, ``top`` is the first pixel's centre.

    Numbers rather than the array: numba counts references of arrays that are passed on. No floor and ceil: where the
    processor has no scalar instruction for them they are calls, around which every vector register is saved.
    """
    first = left - mean_x
    last = first + np.float32(TILE_WIDTH - 1)
    dx_bottom = min(max(lowest, first), last)
    dx_top = min(max(-lowest, first), last)
    bottom = slope * dx_bottom + math.sqrt(max(chord - loss * dx_bottom * dx_bottom, np.float32(0.0)))
    upper = slope * dx_top - math.sqrt(max(chord - loss * dx_top * dx_top, np.float32(0.0)))
    middle, guard = mean_y - top, np.float32(1e-3)
    above, below = middle + upper - guard, middle + bottom + guard
    if below < np.float32(0.0) or above > np.float32(TILE_HEIGHT - 1):
        return np.uint64(0)
    y_first, y_last = np.int64(max(above, np.float32(0.0))), np.int64(min(below, np.float32(TILE_HEIGHT - 1)))
    if np.float32(y_first) < above:
        y_first += 1
    if y_last < y_first:
        return np.uint64(0)
    return (ALL_ROWS << np.uint64(y_first)) & (ALL_ROWS >> np.uint64(TILE_HEIGHT - 1 - y_last))


@inlined
def log_alpha(along: Vector, across: float, peak: float, dy: float) -> Vector:
    """log2 α of a row's pixels before clamping; forward and backward must agree on every bit of it."""
    return fma(-along, along, peak - across * dy * dy)


@kernel
def rasterize(
    worker: int,
    workers: int,
    setup: Setup,
    counter: Array,
    scratch: Array,
    rows: Array,
    tiles: Tiles,
    ends: Ends,
    images: Images,
) -> None:
    """Blend every tile's list; tiles are handed out by ``counter`` [1].

    ``scratch`` [workers, TILE_HEIGHT * FORWARD_ROW]; what the backward pass needs is written to ``ends`` (Ends).
    """
    block, zero, lanes = scratch[worker], broadcast(np.float32(0.0)), lane_numbers()
    while True:
        tile = fetch_add(counter, 0)
        if tile >= ends.tile_ends.size:
            break
        view, left, top, width, height = tile_place(setup, tile)
        inside = lanes < np.float32(width)
        for k in range(0, height * FORWARD_ROW, FORWARD_ROW):
            store(block, k + _T, select(inside, 1.0, -1.0))
            store(block, k + _END, select(inside, NEVER, 0.0))
            for plane in (_RED, _GREEN, _BLUE, _DEPTH, _COVERED):
                store(block, k + plane, zero)
        _blend_list(tile, left, top, height, rows, tiles, ends, block)
        _write_tile(setup, images, view, left, top, width, height, block)
        if ends.kept:
            for y in range(height):
                k, at = y * FORWARD_ROW, tile * TILE_PIXELS + y * TILE_WIDTH
                store(ends.transmittances, at, absolute(load(block, k + _T)))
                store(ends.pixel_ends, at, load(block, k + _END))


@inlined
def _blend_list(
    tile: int, left: int, top: int, height: int, rows: Array, tiles: Tiles, ends: Ends, block: Array
) -> None:
    """Blend one tile's list into ``block`` and say in ``ends`` how far it was read."""
    live, ended_rows = ALL_ROWS >> np.uint64(TILE_HEIGHT - height), 0
    x0, y0 = np.float32(left) + np.float32(0.5), np.float32(top) + np.float32(0.5)
    pixel_x = lane_numbers() + x0
    start, end = tiles.starts[tile], tiles.starts[tile + 1]
    entry = start
    while entry < end and live != np.uint64(0):
        r = np.int64(tiles.entries[entry]) * ROW
        if entry + AHEAD < end:
            prefetch(rows, np.int64(tiles.entries[entry + AHEAD]) * ROW)
        along_x, along_y, across, peak = (pixel_x - rows[r]) * rows[r + 2], rows[r + 3], rows[r + 4], rows[r + 5]
        r_, g_, b_, z_ = broadcast(rows[r + 6]), broadcast(rows[r + 7]), broadcast(rows[r + 8]), broadcast(rows[r + 9])
        touched = live & rows_touched(
            rows[r], rows[r + 1], rows[r + 12], rows[r + 13], rows[r + 14], rows[r + 15], x0, y0
        )
        while touched != np.uint64(0):
            y = count_trailing_zeros(touched)
            touched &= touched - ONE
            dy = y0 + np.float32(y) - rows[r + 1]
            exponent = log_alpha(along_x + along_y * dy, across, peak, dy)
            k = y * FORWARD_ROW
            before = load(block, k + _T)
            hit = (exponent >= LOG2_ALPHA_MIN) & (before > 0.0)
            if any_lane(hit):
                alpha = minimum(exp2(exponent), ALPHA_MAX)
                after = fma(-alpha, before, before)
                goes_on = after > TRANSMITTANCE_MIN
                weight = select(hit & goes_on, alpha * before, 0.0)
                after = select(hit, select(goes_on, after, -before), before)
                store(block, k + _T, after)
                store(block, k + _RED, fma(weight, r_, load(block, k + _RED)))
                store(block, k + _GREEN, fma(weight, g_, load(block, k + _GREEN)))
                store(block, k + _BLUE, fma(weight, b_, load(block, k + _BLUE)))
                store(block, k + _DEPTH, fma(weight, z_, load(block, k + _DEPTH)))
                store(block, k + _COVERED, load(block, k + _COVERED) + weight)
                ended = hit & ~goes_on
                if any_lane(ended):
                    store(block, k + _END, select(ended, np.float32(entry - start), load(block, k + _END)))
                    if not any_lane(after > 0.0):
                        live &= ~(ONE << np.uint64(y))
                        if ends.kept:
                            ends.row_ends[tile * TILE_HEIGHT + ended_rows] = ((entry - start) << ROW_BITS) | y
                            ended_rows += 1
        entry += 1
    ends.tile_ends[tile], ends.row_counts[tile] = entry - start, ended_rows


@inlined
def _write_tile(
    setup: Setup, images: Images, view: int, left: int, top: int, width: int, height: int, block: Array
) -> None:
    """Copy a tile into the images; the depth image is the blended depth divided by α."""
    for y in range(height):
        k, pixel = y * FORWARD_ROW, (view * setup.height + top + y) * setup.width + left
        alpha = load(block, k + _COVERED)
        expected = load(block, k + _DEPTH) / maximum(alpha, 1e-10)
        if width == TILE_WIDTH:
            store(images.alpha, pixel, alpha)
            store(images.depth, pixel, expected)
            store3(images.rgb, 3 * pixel, load(block, k + _RED), load(block, k + _GREEN), load(block, k + _BLUE))
        else:
            store(block, k + _DEPTH, expected)
            for x in range(width):
                images.alpha[pixel + x] = block[k + _COVERED + x]
                images.depth[pixel + x] = block[k + _DEPTH + x]
                images.rgb[3 * (pixel + x)] = block[k + _RED + x]
                images.rgb[3 * (pixel + x) + 1] = block[k + _GREEN + x]
                images.rgb[3 * (pixel + x) + 2] = block[k + _BLUE + x]
