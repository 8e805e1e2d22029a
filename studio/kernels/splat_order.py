"""Which Gaussians each tile sees, front to back: one radix sort by depth, then a stable count-and-fill into tiles.

Gaussians enter the tiles in depth order, so that no tile sorts anything. Within a row of tiles the exact horizontal
extent of the ellipse decides which tiles it touches.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from studio.kernels.compiled import inlined, kernel
from studio.kernels.simd import Array, lane_numbers
from studio.kernels.simd_memory import fetch_add, prefetch, store
from studio.kernels.splat_project import BOX, BOX_ROWS, ROW, TILE, Setup, Slots, columns_touched

DIGIT_BITS = 12
_CULLED_BITS = np.uint32(0x7F800000)  # CULLED
_AHEAD = 16  # how many Gaussians ahead to prefetch


class Order(NamedTuple):
    """Visible Gaussians of each view, front to back."""

    order: np.ndarray  # [V * N] uint32; the first visible[v] of each view's N are used
    visible: np.ndarray  # [V] int64


class Tiles(NamedTuple):
    """The list of every tile of every view."""

    starts: np.ndarray  # [V * tiles + 1] int64 into entries
    entries: np.ndarray  # [M] uint32 rows (view * N + Gaussian), front to back in each tile


@kernel
def sort_by_depth(
    worker: int, workers: int, counter: Array, count: int, keys: Array, order: Order, scratch: Array
) -> None:
    """Stable order of the Gaussians by depth in each view; views are handed out by ``counter`` [1].

    ``keys`` [V * N] uint32 are the bits of positive floats, which sort like the floats; only the bits in which the
    view's depths differ are sorted. ``scratch`` [workers, 4 * N] uint32.
    """
    digit = np.uint32((1 << DIGIT_BITS) - 1)
    histogram = np.empty(1 << DIGIT_BITS, np.uint32)
    key_a, key_b = scratch[worker, :count], scratch[worker, count : 2 * count]
    id_a, id_b = scratch[worker, 2 * count : 3 * count], scratch[worker, 3 * count :]
    while True:
        view = fetch_add(counter, 0)
        if view >= order.visible.size:
            break
        base, n = view * count, 0
        low, high = np.uint32(0xFFFFFFFF), np.uint32(0)
        for i in range(count):
            key = keys[base + i]
            if key != _CULLED_BITS:
                key_a[n] = key
                id_a[n] = np.uint32(base + i)
                low, high = min(low, key), max(high, key)
                n += 1
        order.visible[view] = n
        spread = np.uint32(high - low) if n > 0 else np.uint32(0)
        shift = np.uint32(0)
        while (spread >> shift) != np.uint32(0):
            for d in range(histogram.size):  # assigning to a slice would compile numba's error messages: seconds
                histogram[d] = np.uint32(0)
            for i in range(n):
                histogram[((key_a[i] - low) >> shift) & digit] += np.uint32(1)
            total = np.uint32(0)
            for d in range(histogram.size):
                here = histogram[d]
                histogram[d] = total
                total += here
            for i in range(n):
                d = ((key_a[i] - low) >> shift) & digit
                place = histogram[d]
                histogram[d] = place + np.uint32(1)
                key_b[place] = key_a[i]
                id_b[place] = id_a[i]
            key_a, key_b = key_b, key_a
            id_a, id_b = id_b, id_a
            if shift + np.uint32(DIGIT_BITS) >= np.uint32(32):
                break
            shift += np.uint32(DIGIT_BITS)
        for i in range(n):
            order.order[base + i] = id_a[i]


@inlined
def _tall_columns(rows: Array, whole: int, g: int, row: int, tall: Array) -> None:
    """Work out the tile columns of sixteen further rows of tiles, packed into ``tall`` [16]."""
    r = ROW * g
    ellipse = (rows[r], rows[r + 1], rows[r + 12], rows[r + 13], rows[r + 14], rows[r + 15])
    columns = (np.float32(whole & np.uint32(0xFFFF)), np.float32(whole >> np.uint32(16)))
    store(tall, 0, columns_touched(ellipse, lane_numbers() + np.float32(row), columns))


@inlined
def _share(worker: int, workers: int, visible: Array, view: int) -> tuple[int, int]:
    """Which part of a view's front-to-back order this worker takes, when all views' orders are laid end to end."""
    total, before = 0, 0
    for v in range(visible.size):
        total += visible[v]
        if v < view:
            before += visible[v]
    first = max(worker * total // workers - before, 0)
    end = min((worker + 1) * total // workers - before, visible[view])
    return first, max(first, end)


@kernel
def count_tiles(
    worker: int, workers: int, setup: Setup, rows: Array, boxes: Array, order: Order, counts: Array, totals: Array
) -> None:
    """First pass: how many Gaussians of this worker's share fall into each tile.

    ``counts`` [workers, V * tiles] int64 receives the numbers, ``totals`` [workers] their sum.
    """
    columns = (setup.width + TILE - 1) // TILE
    tiles = columns * ((setup.height + TILE - 1) // TILE)
    mine, tall, total = counts[worker], np.empty(16, np.float32), 0
    tall_bits = tall.view(np.uint32)
    for tile in range(mine.size):
        mine[tile] = 0
    for view in range(setup.views):
        first, end = _share(worker, workers, order.visible, view)
        for i in range(view * setup.splats + first, view * setup.splats + end):
            g = np.int64(order.order[i])
            if i + _AHEAD < view * setup.splats + end:
                prefetch(boxes, BOX * np.int64(order.order[i + _AHEAD]))
            y_first, y_end = np.int64(boxes[BOX * g] & np.uint32(0xFFFF)), np.int64(boxes[BOX * g] >> np.uint32(16))
            for y in range(y_first, y_end):
                ordinal = y - y_first
                if ordinal < BOX_ROWS:
                    bits = boxes[BOX * g + 2 + ordinal]
                else:
                    if ordinal % 16 == BOX_ROWS:
                        _tall_columns(rows, boxes[BOX * g + 1], g, y, tall)
                    bits = tall_bits[(ordinal - BOX_ROWS) % 16]
                column, column_end = np.int64(bits & np.uint32(0xFFFF)), np.int64(bits >> np.uint32(16))
                total += column_end - column
                at = view * tiles + y * columns
                for x in range(column, column_end):
                    mine[at + x] += 1
    totals[worker] = total


@kernel
def place_tiles(counts: Array, starts: Array) -> int:
    """Turn ``counts`` [workers, V * tiles] into where each worker's entries of a tile begin; returns their number."""
    total = np.int64(0)
    for tile in range(counts.shape[1]):
        starts[tile] = total
        for worker in range(counts.shape[0]):
            here = counts[worker, tile]
            counts[worker, tile] = total
            total += here
    starts[counts.shape[1]] = total
    return total


@kernel
def fill_tiles(
    worker: int,
    workers: int,
    setup: Setup,
    rows: Array,
    boxes: Array,
    order: Order,
    counts: Array,
    totals: Array,
    entries: Array,
    slots: Slots,
) -> None:
    """Second pass: write the tiles' lists, and for each Gaussian the places of its entries (``slots``, Slots)."""
    columns = (setup.width + TILE - 1) // TILE
    tiles = columns * ((setup.height + TILE - 1) // TILE)
    mine, tall = counts[worker], np.empty(16, np.float32)
    tall_bits = tall.view(np.uint32)
    slot, with_slots = np.int64(0), slots.places.size > 0
    for w in range(worker):
        slot += totals[w]
    for view in range(setup.views):
        first, end = _share(worker, workers, order.visible, view)
        for i in range(view * setup.splats + first, view * setup.splats + end):
            g = np.int64(order.order[i])
            if i + _AHEAD < view * setup.splats + end:
                prefetch(boxes, BOX * np.int64(order.order[i + _AHEAD]))
            if with_slots:
                slots.ranges[2 * g] = slot
            y_first, y_end = np.int64(boxes[BOX * g] & np.uint32(0xFFFF)), np.int64(boxes[BOX * g] >> np.uint32(16))
            for y in range(y_first, y_end):
                ordinal = y - y_first
                if ordinal < BOX_ROWS:
                    bits = boxes[BOX * g + 2 + ordinal]
                else:
                    if ordinal % 16 == BOX_ROWS:
                        _tall_columns(rows, boxes[BOX * g + 1], g, y, tall)
                    bits = tall_bits[(ordinal - BOX_ROWS) % 16]
                column, column_end = np.int64(bits & np.uint32(0xFFFF)), np.int64(bits >> np.uint32(16))
                at = view * tiles + y * columns
                for x in range(column, column_end):
                    entry = mine[at + x]
                    mine[at + x] = entry + 1
                    entries[entry] = np.uint32(g)
                    if with_slots:
                        slots.places[slot] = np.uint32(entry)
                        slot += 1
            if with_slots:
                slots.ranges[2 * g + 1] = slot
