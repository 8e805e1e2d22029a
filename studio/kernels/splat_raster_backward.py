"""Gradient of the blending: back to front through what each pixel blended, starting from the transmittance it ended at.

T before a Gaussian is T after it over 1 − α, and what lies behind it is a sum that starts at zero: both keep their
relative accuracy, where the saved total minus what came before would lose it behind nearly opaque Gaussians. α is
computed by the same arithmetic as in the forward pass, so that both blend the same pixels.
"""

from __future__ import annotations

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
    lane_sums,
    minimum,
    select,
)
from studio.kernels.simd_memory import count_trailing_zeros, fetch_add, load, load3, prefetch, store
from studio.kernels.splat_order import Tiles
from studio.kernels.splat_project import LOG2_ALPHA_MIN, LOG2E, ROW, TILE_HEIGHT, TILE_WIDTH, Setup, Slots
from studio.kernels.splat_raster import (
    AHEAD,
    ALL_ROWS,
    ALPHA_MAX,
    ONE,
    ROW_BITS,
    TILE_PIXELS,
    Ends,
    Images,
    log_alpha,
    rows_touched,
    tile_place,
)

BACKWARD_ROW = 9 * TILE_WIDTH  # floats of scratch for each row of a tile
_RED, _GREEN, _BLUE, _ALPHA, _V_DEPTH, _DEPTH, _T, _BEHIND, _END = (plane * TILE_WIDTH for plane in range(9))


@kernel
def rasterize_backward(
    worker: int,
    workers: int,
    setup: Setup,
    counter: Array,
    scratch: Array,
    rows: Array,
    tiles: Tiles,
    ends: Ends,
    images: Images,
    cotangents: Images,
    slots: Slots,
) -> None:
    """Write the gradient row of every list entry: ``slots`` (Slots). An empty depth cotangent means zero.

    A row holds ∂L/∂(red, green, blue, depth), then with G = ∂L/∂(ln α) of each pixel the moments ΣG, ΣG dx, ΣG dy,
    ΣG dx², ΣG dx dy, ΣG dy², and Σ|∂L/∂mean x|, Σ|∂L/∂mean y|.
    """
    block = scratch[worker]
    while True:
        tile = fetch_add(counter, 0)
        if tile >= ends.tile_ends.size:
            break
        start, end = tiles.starts[tile], tiles.starts[tile] + ends.tile_ends[tile]
        for unread in range(end, tiles.starts[tile + 1]):
            slots.written[unread] = 0
        if end > start:
            view, left, top, width, height = tile_place(setup, tile)
            _read_tile(setup, images, cotangents, ends, tile, view, left, top, width, height, block)
            _list_backward(setup, tile, left, top, height, rows, tiles, ends, cotangents.depth.size > 0, block, slots)


@inlined
def _read_tile(
    setup: Setup,
    images: Images,
    cotangents: Images,
    ends: Ends,
    tile: int,
    view: int,
    left: int,
    top: int,
    width: int,
    height: int,
    block: Array,
) -> None:
    """What the backward pass must know of a tile's pixels, into ``block``.

    Cotangents of red, green, blue and α; the depth image and its cotangent over α (depth is D/α, so that a weight's
    share in it is (z − depth)/α); how the pixels ended; and Σ w · cotangent of what was blended behind: nothing yet.
    """
    zero, with_depth = broadcast(np.float32(0.0)), cotangents.depth.size > 0
    for y in range(height):
        k, pixel = y * BACKWARD_ROW, (view * setup.height + top + y) * setup.width + left
        store(block, k + _T, load(ends.transmittances, tile * TILE_PIXELS + y * TILE_WIDTH))
        store(block, k + _END, load(ends.pixel_ends, tile * TILE_PIXELS + y * TILE_WIDTH))
        store(block, k + _BEHIND, zero)
        if width == TILE_WIDTH:
            t_r, t_g, t_b = load3(cotangents.rgb, 3 * pixel)
            store(block, k + _RED, t_r)
            store(block, k + _GREEN, t_g)
            store(block, k + _BLUE, t_b)
            store(block, k + _ALPHA, load(cotangents.alpha, pixel))
            if with_depth:
                alpha = load(images.alpha, pixel)
                store(block, k + _V_DEPTH, select(alpha > 0.0, load(cotangents.depth, pixel) / alpha, 0.0))
                store(block, k + _DEPTH, load(images.depth, pixel))
        else:
            for plane in (_RED, _GREEN, _BLUE, _ALPHA, _V_DEPTH, _DEPTH):
                store(block, k + plane, zero)
            for x in range(width):
                p, q = pixel + x, k + x
                block[q + _RED], block[q + _GREEN] = cotangents.rgb[3 * p], cotangents.rgb[3 * p + 1]
                block[q + _BLUE], block[q + _ALPHA] = cotangents.rgb[3 * p + 2], cotangents.alpha[p]
                if with_depth and images.alpha[p] > 0:
                    block[q + _V_DEPTH] = cotangents.depth[p] / images.alpha[p]
                    block[q + _DEPTH] = images.depth[p]


@inlined
def _list_backward(
    setup: Setup,
    tile: int,
    left: int,
    top: int,
    height: int,
    rows: Array,
    tiles: Tiles,
    ends: Ends,
    with_depth: bool,
    block: Array,
    slots: Slots,
) -> None:
    """Gradient rows of one tile's entries, last to first."""
    zero = broadcast(np.float32(0.0))
    x0, y0 = np.float32(left) + np.float32(0.5), np.float32(top) + np.float32(0.5)
    pixel_x = lane_numbers() + x0
    live, ended_rows = _rows_alive_at_end(ends, tile, height), ends.row_counts[tile]
    start = tiles.starts[tile]
    for ordinal in range(ends.tile_ends[tile] - 1, -1, -1):
        while ended_rows > 0 and (ends.row_ends[tile * TILE_HEIGHT + ended_rows - 1] >> ROW_BITS) > ordinal:
            ended_rows -= 1
            live |= ONE << np.uint64(ends.row_ends[tile * TILE_HEIGHT + ended_rows] & (TILE_HEIGHT - 1))
        entry = start + ordinal
        r = np.int64(tiles.entries[entry]) * ROW
        if ordinal >= AHEAD:
            prefetch(rows, np.int64(tiles.entries[entry - AHEAD]) * ROW)
        dx = pixel_x - rows[r]
        along_x, along_y, across, peak = dx * rows[r + 2], rows[r + 3], rows[r + 4], rows[r + 5]
        r_, g_, b_, z_ = broadcast(rows[r + 6]), broadcast(rows[r + 7]), broadcast(rows[r + 8]), broadcast(rows[r + 9])
        s_r, s_g, s_b, s_z, s_0, s_y, s_yy, abs_x, abs_y = zero, zero, zero, zero, zero, zero, zero, zero, zero
        touched = live & rows_touched(
            rows[r], rows[r + 1], rows[r + 12], rows[r + 13], rows[r + 14], rows[r + 15], x0, y0
        )
        written = np.uint8(0)
        while touched != np.uint64(0):
            y = count_trailing_zeros(touched)
            touched &= touched - ONE
            dy = y0 + np.float32(y) - rows[r + 1]
            along = along_x + along_y * dy
            exponent = log_alpha(along, across, peak, dy)
            k = y * BACKWARD_ROW
            hit = (exponent >= LOG2_ALPHA_MIN) & (load(block, k + _END) > np.float32(ordinal))
            if any_lane(hit):
                written = np.uint8(1)
                t_r, t_g, t_b = load(block, k + _RED), load(block, k + _GREEN), load(block, k + _BLUE)
                value = fma(r_, t_r, fma(g_, t_g, fma(b_, t_b, load(block, k + _ALPHA))))
                if with_depth:
                    value = fma(z_ - load(block, k + _DEPTH), load(block, k + _V_DEPTH), value)
                behind = load(block, k + _BEHIND)
                before, weight, v_log = _pixel_gradient(exponent, hit, load(block, k + _T), value, behind)
                store(block, k + _T, before)
                store(block, k + _BEHIND, fma(weight, value, behind))
                s_r, s_g, s_b = fma(weight, t_r, s_r), fma(weight, t_g, s_g), fma(weight, t_b, s_b)
                if with_depth:
                    s_z = fma(weight, load(block, k + _V_DEPTH), s_z)
                v_dy = v_log * dy
                s_0, s_y, s_yy = s_0 + v_log, s_y + v_dy, fma(v_dy, dy, s_yy)
                if setup.absgrad:
                    abs_x = abs_x + absolute(v_log * along)
                    abs_y = abs_y + absolute(v_log * fma(along_y, along, across * dy))
        slots.written[entry] = written
        if written:
            s_x = s_0 * dx
            moments = (s_r, s_g, s_b, s_z, s_0, s_x, s_y, s_x * dx, s_y * dx, s_yy)
            magnitudes = (abs_x * (rows[r + 2] * np.float32(2.0 / LOG2E)), abs_y * np.float32(2.0 / LOG2E))
            store(slots.rows, entry * ROW, lane_sums(moments + magnitudes))


@inlined
def _rows_alive_at_end(ends: Ends, tile: int, height: int) -> int:
    """Bits of the rows that were still open when the tile's list ended."""
    live = ALL_ROWS >> np.uint64(TILE_HEIGHT - height)
    for number in range(tile * TILE_HEIGHT, tile * TILE_HEIGHT + ends.row_counts[tile]):
        live &= ~(ONE << np.uint64(ends.row_ends[number] & (TILE_HEIGHT - 1)))
    return live


@inlined
def _pixel_gradient(
    exponent: Vector, hit: Vector, after: Vector, value: Vector, behind: Vector
) -> tuple[Vector, Vector, Vector]:
    """Transmittance before this Gaussian, its weight, and ∂L/∂(ln α); 0 in lanes that are not hit or clamped."""
    unclamped = exp2(exponent)
    alpha = minimum(unclamped, ALPHA_MAX)
    inverse = 1.0 / (1.0 - alpha)
    before = after * inverse
    slope = before * value - behind * inverse
    v_log = select(hit & (unclamped <= ALPHA_MAX), alpha * slope, 0.0)
    return select(hit, before, after), select(hit, alpha * before, 0.0), v_log
