"""Blending of sorted Gaussians into tiles of 32 × 32 pixels; one block of 4 × 4 pixels is one vector.

Front to back, a pixel with transmittance T takes w = αT of each Gaussian's colour and depth and keeps T − w. The rules
are gsplat's: α = min(0.999, o·exp(−σ)); α below 1/255 is dropped; a Gaussian that would leave T ≤ 1e-4 is not blended
and ends its pixel. T is negative once a pixel has ended; 64 bits say which blocks of a tile still live, and another 64
which of them a Gaussian's ellipse reaches. Square blocks need two thirds of the vectors that rows of 16 pixels would.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from studio.kernels.compiled import inlined, kernel
from studio.kernels.simd import (
    Array,
    Vector,
    Vectors,
    absolute,
    any_lane,
    bands,
    block_columns,
    block_rows,
    broadcast,
    exp2,
    floor,
    fma,
    maximum,
    minimum,
    select,
    sides,
    sqrt,
)
from studio.kernels.simd_memory import (
    bytes_between,
    count_trailing_zeros,
    fetch_add,
    load,
    prefetch,
    quads,
    store,
    store3,
)
from studio.kernels.splat_order import Tiles
from studio.kernels.splat_project import LOG2_ALPHA_MIN, ROW, TILE, Setup

ALPHA_MAX = 0.999
TRANSMITTANCE_MIN = 1e-4
BLOCKS = 64  # of a tile, eight by eight
TILE_PIXELS = TILE * TILE
FORWARD_BLOCK = 7 * 16  # floats of scratch for each block: its planes side by side, not 4 KiB apart, which would put
# all of them into the same few cache lines' places
_T, _RED, _GREEN, _BLUE, _END, _DEPTH, _COVERED = (plane * 16 for plane in range(7))
AHEAD = 12  # how many list entries ahead to prefetch
ALL_BLOCKS = np.uint64(0xFFFFFFFFFFFFFFFF)
ONE = np.uint64(1)
BLOCK_BITS = 6  # of a block's number in a tile
NEVER = 1e9  # a list entry beyond any list's end
OFFSETS = np.arange(0, TILE, 4, dtype=np.float32)  # of a block's columns and rows in its tile


class Images(NamedTuple):
    """Flat float32 images of all views, or their gradients."""

    rgb: np.ndarray  # [V * H * W * 3] premultiplied
    alpha: np.ndarray  # [V * H * W]
    depth: np.ndarray  # [V * H * W] expected camera depth where alpha > 0; empty where none is wanted


class Ends(NamedTuple):
    """How far each tile, block and pixel read its tile's list; entries are counted from the list's start.

    A tile's pixels stand block by block.

    Without ``kept``, where no gradients are wanted, the last three are empty.
    """

    kept: bool
    tile_ends: np.ndarray  # [V * tiles] int64 entries read
    block_counts: np.ndarray  # [V * tiles] int64 how many blocks ended early
    block_ends: np.ndarray  # [V * tiles * BLOCKS] int64 entry << BLOCK_BITS | block, in the order in which they ended
    pixel_ends: np.ndarray  # [V * tiles * TILE_PIXELS] float32 the entry that ended the pixel, or NEVER
    transmittances: np.ndarray  # [V * tiles * TILE_PIXELS] float32 after all that was blended


@inlined
def tile_place(setup: Setup, tile: int) -> tuple[int, int, int, int, int]:
    """View, left and top pixel, and how much of a tile lies inside the image."""
    columns = (setup.width + TILE - 1) // TILE
    tiles = columns * ((setup.height + TILE - 1) // TILE)
    view = tile // tiles
    row = (tile - view * tiles) // columns
    left, top = (tile - view * tiles - row * columns) * TILE, row * TILE
    return view, left, top, min(setup.width - left, TILE), min(setup.height - top, TILE)


@inlined
def blocks_inside(width: int, height: int) -> int:
    """Bits of the blocks that hold any of a tile's pixels inside the image."""
    columns, rows = np.uint64((width + 3) // 4), np.uint64((height + 3) // 4)
    byte = (ONE << columns) - ONE
    return byte * np.uint64(0x0101010101010101) & ALL_BLOCKS >> (np.uint64(64) - np.uint64(8) * rows)


@inlined
def blocks_touched(
    mean_x: float, mean_y: float, size: float, rightmost: float, lean: float, chord: float, loss: float
) -> int:
    """Bits of the tile's blocks that the ellipse reaches; its mean is relative to the tile's first pixel centre.

    In each band of four pixel rows the ellipse reaches furthest to the right at the dy, within the band, that is
    nearest to its rightmost point's; to the left is the same of its mirror image. Eight lanes are the bands seen from
    the left, the other eight from the right. Numbers rather than the array: numba counts references of arrays that are
    passed on.
    """
    guard = np.float32(1e-3) + np.float32(1e-6) * size
    low = fma(sides(), -mean_y, bands() - guard)
    dy = minimum(maximum(low, rightmost), low + (np.float32(3.0) + np.float32(2.0) * guard))
    square = fma(-loss * dy, dy, chord)
    reach = fma(lean, dy, sqrt(maximum(square, 0.0)))
    edge = fma(sides(), mean_x - np.float32(15.5), reach + (np.float32(15.5) + guard))
    count = minimum(maximum(floor(edge * np.float32(0.25)) + 1.0, 0.0), 8.0)
    return bytes_between(select(square >= 0.0, count, 0.0))


@inlined
def log_alpha(shape: Vectors, dx: Vector, dy: Vector) -> tuple[Vector, Vector, Vector]:
    """log2 α of a block's pixels before clamping, and two products on the way to it.

    Forward and backward must agree on every bit. ``shape`` is fields 2 to 5 of a Gaussian's row, broadcast.
    """
    along = fma(shape[0], dx, shape[1] * dy)
    across = shape[2] * dy
    return fma(-along, along, fma(-across, dy, shape[3])), along, across


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

    ``scratch`` [workers, BLOCKS * FORWARD_BLOCK]; what the backward pass needs is written to ``ends`` (Ends).
    """
    block, zero = scratch[worker], broadcast(np.float32(0.0))
    while True:
        tile = fetch_add(counter, 0)
        if tile >= ends.tile_ends.size:
            break
        view, left, top, width, height = tile_place(setup, tile)
        for b in range(BLOCKS):
            k = b * FORWARD_BLOCK
            inside = (block_columns() + OFFSETS[b & 7] < np.float32(width)) & (
                block_rows() + OFFSETS[b >> 3] < np.float32(height)
            )
            store(block, k + _T, select(inside, 1.0, -1.0))
            store(block, k + _END, select(inside, NEVER, 0.0))
            for plane in range(_RED, FORWARD_BLOCK, 16):
                if plane != _END:
                    store(block, k + plane, zero)
        _blend_list(setup, tile, left, top, blocks_inside(width, height), rows, tiles, ends, block)
        if ends.kept:
            for b in range(BLOCKS):
                k, at = b * FORWARD_BLOCK, tile * TILE_PIXELS + b * 16
                store(ends.transmittances, at, absolute(load(block, k + _T)))
                store(ends.pixel_ends, at, load(block, k + _END))
        _write_tile(setup, images, view, left, top, width, height, block)


@inlined
def _blend_list(
    setup: Setup, tile: int, left: int, top: int, inside: int, rows: Array, tiles: Tiles, ends: Ends, block: Array
) -> None:
    """Blend one tile's list into ``block`` and say in ``ends`` how far it was read."""
    live, ended_blocks = inside, 0
    x0, y0 = np.float32(left) + np.float32(0.5), np.float32(top) + np.float32(0.5)
    start, end = tiles.starts[tile], tiles.starts[tile + 1]
    entry = start
    while entry < end and live != np.uint64(0):
        r = np.int64(tiles.entries[entry]) * ROW
        if entry + AHEAD < end:
            prefetch(rows, np.int64(tiles.entries[entry + AHEAD]) * ROW)
        mean_x, mean_y, size = rows[r] - x0, rows[r + 1] - y0, rows[r + 10] + rows[r + 11]
        touched = live & blocks_touched(mean_x, mean_y, size, rows[r + 12], rows[r + 13], rows[r + 14], rows[r + 15])
        from_x, from_y = block_columns() - mean_x, block_rows() - mean_y
        shape = (broadcast(rows[r + 2]), broadcast(rows[r + 3]), broadcast(rows[r + 4]), broadcast(rows[r + 5]))
        r_, g_, b_, z_ = broadcast(rows[r + 6]), broadcast(rows[r + 7]), broadcast(rows[r + 8]), broadcast(rows[r + 9])
        while touched != np.uint64(0):
            b = count_trailing_zeros(touched)
            touched &= touched - ONE
            exponent, _, _ = log_alpha(shape, from_x + OFFSETS[b & 7], from_y + OFFSETS[b >> 3])
            k = b * FORWARD_BLOCK
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
                if setup.with_depth:
                    store(block, k + _DEPTH, fma(weight, z_, load(block, k + _DEPTH)))
                    store(block, k + _COVERED, load(block, k + _COVERED) + weight)
                ended = hit & ~goes_on
                if any_lane(ended):
                    store(block, k + _END, select(ended, np.float32(entry - start), load(block, k + _END)))
                    if not any_lane(after > 0.0):
                        live &= ~(ONE << np.uint64(b))
                        if ends.kept:
                            ends.block_ends[tile * BLOCKS + ended_blocks] = ((entry - start) << BLOCK_BITS) | b
                            ended_blocks += 1
        entry += 1
    ends.tile_ends[tile], ends.block_counts[tile] = entry - start, ended_blocks


@inlined
def swap_rows_and_blocks(block: Array, stride: int, planes: int) -> None:
    """Each four blocks side by side become, in place, the four rows of 16 pixels that they show, or the reverse."""
    for k in range(0, BLOCKS * stride, 4 * stride):
        for at in range(k, k + 16 * planes, 16):
            a, b, c, d = quads(
                load(block, at), load(block, at + stride), load(block, at + 2 * stride), load(block, at + 3 * stride)
            )
            store(block, at, a)
            store(block, at + stride, b)
            store(block, at + 2 * stride, c)
            store(block, at + 3 * stride, d)


@inlined
def row_place(b: int) -> tuple[int, int]:
    """First column and row, in the tile, of the b-th row of 16 pixels (see swap_rows_and_blocks)."""
    return (b & 4) * 4, (b >> 3) * 4 + (b & 3)


@inlined
def _write_tile(
    setup: Setup, images: Images, view: int, left: int, top: int, width: int, height: int, block: Array
) -> None:
    """Copy a tile into the images.

    For the depth, which is the blended depth over α, α is summed rather than 1 − T, so that faint pixels lose no
    digits.
    """
    swap_rows_and_blocks(block, FORWARD_BLOCK, 7 if setup.with_depth else 4)
    corner = (view * setup.height + top) * setup.width + left
    for b in range(BLOCKS):
        k, (x, y) = b * FORWARD_BLOCK, row_place(b)
        if x >= width or y >= height:
            continue
        pixel = corner + y * setup.width + x
        alpha = 1.0 - absolute(load(block, k + _T))
        if setup.with_depth:
            store(block, k + _DEPTH, load(block, k + _DEPTH) / maximum(load(block, k + _COVERED), 1e-10))
        if x + 16 <= width:
            store(images.alpha, pixel, alpha)
            store3(images.rgb, 3 * pixel, load(block, k + _RED), load(block, k + _GREEN), load(block, k + _BLUE))
            if setup.with_depth:
                store(images.depth, pixel, load(block, k + _DEPTH))
        else:
            store(block, k + _T, alpha)
            for n in range(width - x):
                images.alpha[pixel + n] = block[k + _T + n]
                images.rgb[3 * (pixel + n)] = block[k + _RED + n]
                images.rgb[3 * (pixel + n) + 1] = block[k + _GREEN + n]
                images.rgb[3 * (pixel + n) + 2] = block[k + _BLUE + n]
                if setup.with_depth:
                    images.depth[pixel + n] = block[k + _DEPTH + n]
