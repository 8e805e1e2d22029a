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
    block_columns,
    block_rows,
    broadcast,
    exp2,
    fma,
    lane_sums,
    minimum,
    select,
)
from studio.kernels.simd_memory import count_trailing_zeros, fetch_add, load, load3, prefetch, store
from studio.kernels.splat_order import Tiles
from studio.kernels.splat_project import LOG2_ALPHA_MIN, LOG2E, ROW, Setup, Slots
from studio.kernels.splat_raster import (
    AHEAD,
    ALPHA_MAX,
    BLOCK_BITS,
    BLOCKS,
    OFFSETS,
    ONE,
    TILE_PIXELS,
    Ends,
    Images,
    blocks_inside,
    blocks_touched,
    log_alpha,
    row_place,
    swap_rows_and_blocks,
    tile_place,
)

BACKWARD_BLOCK = 9 * 16  # floats of scratch for each block of a tile
_RED, _GREEN, _BLUE, _ALPHA, _V_DEPTH, _DEPTH, _T, _BEHIND, _END = (plane * 16 for plane in range(9))


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
    """Write the gradient row of every list entry: ``slots`` (Slots). Without depth, its image and cotangent are empty.

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
            live = _blocks_alive_at_end(ends, tile, blocks_inside(width, height))
            _list_backward(setup, tile, left, top, live, rows, tiles, ends, block, slots)


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
    zero, corner = broadcast(np.float32(0.0)), (view * setup.height + top) * setup.width + left
    planes = 6 if setup.with_depth else 4
    for b in range(BLOCKS):
        k, (x, y) = b * BACKWARD_BLOCK, row_place(b)
        pixel = corner + y * setup.width + x
        if y < height and x + 16 <= width:
            t_r, t_g, t_b = load3(cotangents.rgb, 3 * pixel)
            store(block, k + _RED, t_r)
            store(block, k + _GREEN, t_g)
            store(block, k + _BLUE, t_b)
            store(block, k + _ALPHA, load(cotangents.alpha, pixel))
            if setup.with_depth:
                alpha = load(images.alpha, pixel)
                store(block, k + _V_DEPTH, select(alpha > 0.0, load(cotangents.depth, pixel) / alpha, 0.0))
                store(block, k + _DEPTH, load(images.depth, pixel))
        else:
            for plane in range(planes):
                store(block, k + 16 * plane, zero)
            for n in range(width - x if y < height else 0):
                p, q = pixel + n, k + n
                block[q + _RED], block[q + _GREEN] = cotangents.rgb[3 * p], cotangents.rgb[3 * p + 1]
                block[q + _BLUE], block[q + _ALPHA] = cotangents.rgb[3 * p + 2], cotangents.alpha[p]
                if setup.with_depth and images.alpha[p] > 0:
                    block[q + _V_DEPTH] = cotangents.depth[p] / images.alpha[p]
                    block[q + _DEPTH] = images.depth[p]
    swap_rows_and_blocks(block, BACKWARD_BLOCK, planes)
    for b in range(BLOCKS):
        k = b * BACKWARD_BLOCK
        store(block, k + _T, load(ends.transmittances, tile * TILE_PIXELS + b * 16))
        store(block, k + _END, load(ends.pixel_ends, tile * TILE_PIXELS + b * 16))
        store(block, k + _BEHIND, zero)


@inlined
def _list_backward(
    setup: Setup,
    tile: int,
    left: int,
    top: int,
    live: int,
    rows: Array,
    tiles: Tiles,
    ends: Ends,
    block: Array,
    slots: Slots,
) -> None:
    """Gradient rows of one tile's entries, last to first; ``live`` are bits of the blocks still open at its end."""
    zero, start, ended_blocks = broadcast(np.float32(0.0)), tiles.starts[tile], ends.block_counts[tile]
    x0, y0 = np.float32(left) + np.float32(0.5), np.float32(top) + np.float32(0.5)
    for ordinal in range(ends.tile_ends[tile] - 1, -1, -1):
        while ended_blocks > 0 and (ends.block_ends[tile * BLOCKS + ended_blocks - 1] >> BLOCK_BITS) >= ordinal:
            ended_blocks -= 1
            live |= ONE << np.uint64(ends.block_ends[tile * BLOCKS + ended_blocks] & (BLOCKS - 1))
        entry = start + ordinal
        r = np.int64(tiles.entries[entry]) * ROW
        if ordinal >= AHEAD:
            prefetch(rows, np.int64(tiles.entries[entry - AHEAD]) * ROW)
        mean_x, mean_y, size = rows[r] - x0, rows[r + 1] - y0, rows[r + 10] + rows[r + 11]
        touched = live & blocks_touched(mean_x, mean_y, size, rows[r + 12], rows[r + 13], rows[r + 14], rows[r + 15])
        from_x, from_y = block_columns() - mean_x, block_rows() - mean_y
        shape = (broadcast(rows[r + 2]), broadcast(rows[r + 3]), broadcast(rows[r + 4]), broadcast(rows[r + 5]))
        r_, g_, b_, z_ = broadcast(rows[r + 6]), broadcast(rows[r + 7]), broadcast(rows[r + 8]), broadcast(rows[r + 9])
        s_r, s_g, s_b, s_z, s_0, s_x, s_y, s_xx, s_xy, s_yy = zero, zero, zero, zero, zero, zero, zero, zero, zero, zero
        abs_x, abs_y, written = zero, zero, np.uint8(0)
        while touched != np.uint64(0):
            b = count_trailing_zeros(touched)
            touched &= touched - ONE
            dx, dy = from_x + OFFSETS[b & 7], from_y + OFFSETS[b >> 3]
            exponent, along, across = log_alpha(shape, dx, dy)
            k = b * BACKWARD_BLOCK
            hit = (exponent >= LOG2_ALPHA_MIN) & (load(block, k + _END) > np.float32(ordinal))
            if any_lane(hit):
                written = np.uint8(1)
                t_r, t_g, t_b = load(block, k + _RED), load(block, k + _GREEN), load(block, k + _BLUE)
                value = fma(r_, t_r, fma(g_, t_g, fma(b_, t_b, load(block, k + _ALPHA))))
                if setup.with_depth:
                    value = fma(z_ - load(block, k + _DEPTH), load(block, k + _V_DEPTH), value)
                behind = load(block, k + _BEHIND)
                before, weight, v_log = _pixel_gradient(exponent, hit, load(block, k + _T), value, behind)
                store(block, k + _T, before)
                store(block, k + _BEHIND, fma(weight, value, behind))
                s_r, s_g, s_b = fma(weight, t_r, s_r), fma(weight, t_g, s_g), fma(weight, t_b, s_b)
                if setup.with_depth:
                    s_z = fma(weight, load(block, k + _V_DEPTH), s_z)
                v_dx, v_dy = v_log * dx, v_log * dy
                s_0, s_x, s_y = s_0 + v_log, s_x + v_dx, s_y + v_dy
                s_xx, s_xy, s_yy = fma(v_dx, dx, s_xx), fma(v_dx, dy, s_xy), fma(v_dy, dy, s_yy)
                if setup.absgrad:
                    abs_x = abs_x + absolute(v_log * along)
                    abs_y = abs_y + absolute(v_log * fma(shape[1], along, across))
        slots.written[entry] = written
        if written:
            moments = (s_r, s_g, s_b, s_z, s_0, s_x, s_y, s_xx, s_xy, s_yy)
            magnitudes = (abs_x * (rows[r + 2] * np.float32(2.0 / LOG2E)), abs_y * np.float32(2.0 / LOG2E))
            store(slots.rows, entry * ROW, lane_sums(moments + magnitudes))


@inlined
def _blocks_alive_at_end(ends: Ends, tile: int, inside: int) -> int:
    """Bits of the blocks that were still open when the tile's list ended."""
    live = inside
    for number in range(tile * BLOCKS, tile * BLOCKS + ends.block_counts[tile]):
        live &= ~(ONE << np.uint64(ends.block_ends[number] & (BLOCKS - 1)))
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
