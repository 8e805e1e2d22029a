"""Blending of sorted Gaussians into tiles of 16 × 64 pixels, and its gradient; one image row of a tile is one vector.

Front to back, a pixel with transmittance T takes w = αT of each Gaussian's colour and depth and keeps T − w. The rules
are gsplat's: α = min(0.999, o·exp(−σ)); α below 1/255 is dropped; a Gaussian that would leave T ≤ 1e-4 is not blended
and ends its pixel. The state of a pixel is one float: its coverage A = 1 − T so far (a sum, so that faint pixels lose
no digits), negative once it has ended; 64 bits say which rows of a tile still live.

The backward pass also goes front to back: it repeats the forward pass's arithmetic bit by bit (hence the same
decisions) and obtains what lies behind a Gaussian as the saved total minus what came before.
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
    lane_sums,
    maximum,
    minimum,
    select,
)
from studio.kernels.simd_memory import count_trailing_zeros, fetch_add, load, load3, prefetch, store, store3
from studio.kernels.splat_order import Tiles
from studio.kernels.splat_project import LOG2_ALPHA_MIN, LOG2E, ROW, TILE_HEIGHT, TILE_WIDTH, Setup, Slots

ALPHA_MAX = 0.999
TRANSMITTANCE_MIN = 1e-4
TILE_PIXELS = TILE_WIDTH * TILE_HEIGHT
FORWARD_PLANES, BACKWARD_PLANES = 5, 8  # scratch of TILE_PIXELS floats each
_AHEAD = 12  # how many list entries ahead to prefetch
_ALL_ROWS = np.uint64(0xFFFFFFFFFFFFFFFF)
_ONE = np.uint64(1)


class Images(NamedTuple):
    """Flat float32 images of all views, or their gradients."""

    rgb: np.ndarray  # [V * H * W * 3] premultiplied
    alpha: np.ndarray  # [V * H * W]
    depth: np.ndarray  # [V * H * W] expected camera depth where alpha > 0


@inlined
def _tile_place(setup: Setup, tile: int) -> tuple[int, int, int, int, int]:
    """View, left and top pixel, and how much of a tile lies inside the image."""
    columns = (setup.width + TILE_WIDTH - 1) // TILE_WIDTH
    tiles = columns * ((setup.height + TILE_HEIGHT - 1) // TILE_HEIGHT)
    view = tile // tiles
    row = (tile - view * tiles) // columns
    left, top = (tile - view * tiles - row * columns) * TILE_WIDTH, row * TILE_HEIGHT
    return view, left, top, min(TILE_WIDTH, setup.width - left), min(TILE_HEIGHT, setup.height - top)


@inlined
def _tile_count(setup: Setup) -> int:
    columns = (setup.width + TILE_WIDTH - 1) // TILE_WIDTH
    return setup.views * columns * ((setup.height + TILE_HEIGHT - 1) // TILE_HEIGHT)


@inlined
def _rows_touched(
    mean_x: float, mean_y: float, lowest: float, slope: float, chord: float, loss: float, left: float, top: float
) -> int:
    """Bits of the tile's pixel rows that the ellipse reaches; ``left``, ``top`` is the first pixel's centre.

    Numbers rather than the array: numba counts references of arrays that are passed on.
    """
    first = left - mean_x
    last = first + np.float32(TILE_WIDTH - 1)
    dx_bottom = min(max(lowest, first), last)
    dx_top = min(max(-lowest, first), last)
    bottom = slope * dx_bottom + math.sqrt(max(chord - loss * dx_bottom * dx_bottom, np.float32(0.0)))
    upper = slope * dx_top - math.sqrt(max(chord - loss * dx_top * dx_top, np.float32(0.0)))
    middle, guard = mean_y - top, np.float32(1e-3)
    y_first = max(np.int64(0), np.int64(math.ceil(middle + upper - guard)))
    y_last = min(np.int64(TILE_HEIGHT - 1), np.int64(math.floor(middle + bottom + guard)))
    if y_last < y_first:
        return np.uint64(0)
    return (_ALL_ROWS << np.uint64(y_first)) & (_ALL_ROWS >> np.uint64(TILE_HEIGHT - 1 - y_last))


@inlined
def _start_pixels(covered: Array, lanes: Vector, width: int, height: int) -> int:
    """Nothing covered yet inside the image, ended outside; returns the bits of the rows that are inside."""
    start = select(lanes < np.float32(width), 0.0, -1.0)
    for y in range(height):
        store(covered, y * TILE_WIDTH, start)
    return _ALL_ROWS >> np.uint64(TILE_HEIGHT - height)


@kernel
def rasterize(
    worker: int,
    workers: int,
    setup: Setup,
    counter: Array,
    scratch: Array,
    rows: Array,
    tiles: Tiles,
    lasts: Array,
    images: Images,
) -> None:
    """Blend every tile's list; tiles are handed out by ``counter`` [1].

    ``lasts`` [V * tiles] receives how far into its list a tile had to read; ``scratch`` [workers, planes, TILE_PIXELS].
    """
    covered, red, green, blue = scratch[worker, 0], scratch[worker, 1], scratch[worker, 2], scratch[worker, 3]
    depth = scratch[worker, 4]
    zero, lanes = broadcast(np.float32(0.0)), lane_numbers()
    while True:
        tile = fetch_add(counter, 0)
        if tile >= _tile_count(setup):
            break
        view, left, top, width, height = _tile_place(setup, tile)
        live = _start_pixels(covered, lanes, width, height)
        for k in range(0, height * TILE_WIDTH, TILE_WIDTH):
            store(red, k, zero)
            store(green, k, zero)
            store(blue, k, zero)
            store(depth, k, zero)
        x0, y0 = np.float32(left) + np.float32(0.5), np.float32(top) + np.float32(0.5)
        pixel_x = lanes + x0
        entry, end = tiles.starts[tile], tiles.starts[tile + 1]
        while entry < end and live != np.uint64(0):
            r = np.int64(tiles.entries[entry]) * ROW
            if entry + _AHEAD < end:
                prefetch(rows, np.int64(tiles.entries[entry + _AHEAD]) * ROW)
            dx = pixel_x - rows[r]
            along_x, along_y, across = dx * rows[r + 2], rows[r + 3], rows[r + 4]
            r_, g_, b_, z_ = (
                broadcast(rows[r + 6]),
                broadcast(rows[r + 7]),
                broadcast(rows[r + 8]),
                broadcast(rows[r + 9]),
            )
            touched = live & _rows_touched(
                rows[r], rows[r + 1], rows[r + 12], rows[r + 13], rows[r + 14], rows[r + 15], x0, y0
            )
            while touched != np.uint64(0):
                y = count_trailing_zeros(touched)
                touched &= touched - _ONE
                dy = y0 + np.float32(y) - rows[r + 1]
                along = along_x + along_y * dy
                exponent = fma(-along, along, rows[r + 5] - across * dy * dy)
                k = y * TILE_WIDTH
                before = load(covered, k)
                hit = (exponent >= LOG2_ALPHA_MIN) & (before >= 0.0)
                if any_lane(hit):
                    weight = minimum(exp2(exponent), ALPHA_MAX) * (1.0 - before)
                    after = before + weight
                    goes_on = after < 1.0 - TRANSMITTANCE_MIN
                    weight = select(hit & goes_on, weight, 0.0)
                    after = select(hit, select(goes_on, after, -before), before)
                    store(covered, k, after)
                    store(red, k, fma(weight, r_, load(red, k)))
                    store(green, k, fma(weight, g_, load(green, k)))
                    store(blue, k, fma(weight, b_, load(blue, k)))
                    store(depth, k, fma(weight, z_, load(depth, k)))
                    if not any_lane(after >= 0.0):
                        live &= ~(_ONE << np.uint64(y))
            entry += 1
        lasts[tile] = entry
        _write_tile(setup, images, view, left, top, width, height, covered, red, green, blue, depth)


@inlined
def _write_tile(
    setup: Setup,
    images: Images,
    view: int,
    left: int,
    top: int,
    width: int,
    height: int,
    covered: Array,
    red: Array,
    green: Array,
    blue: Array,
    depth: Array,
) -> None:
    """Copy a tile into the images; the depth image is the blended depth divided by α."""
    for y in range(height):
        k, pixel = y * TILE_WIDTH, (view * setup.height + top + y) * setup.width + left
        alpha = absolute(load(covered, k))
        expected = load(depth, k) / maximum(alpha, 1e-10)
        if width == TILE_WIDTH:
            store(images.alpha, pixel, alpha)
            store(images.depth, pixel, expected)
            store3(images.rgb, 3 * pixel, load(red, k), load(green, k), load(blue, k))
        else:
            store(covered, k, alpha)
            store(depth, k, expected)
            for x in range(width):
                images.alpha[pixel + x] = covered[k + x]
                images.depth[pixel + x] = depth[k + x]
                images.rgb[3 * (pixel + x)] = red[k + x]
                images.rgb[3 * (pixel + x) + 1] = green[k + x]
                images.rgb[3 * (pixel + x) + 2] = blue[k + x]


@inlined
def _read_tile(
    setup: Setup,
    images: Images,
    cotangents: Images,
    view: int,
    left: int,
    top: int,
    width: int,
    height: int,
    planes: tuple[Array, ...],
) -> None:
    """What the backward pass must know of a tile's pixels.

    ``planes``: cotangents of red, green, blue and α; the depth image and its cotangent over α (depth is D/α, so that a
    weight's share in it is (z − depth)/α); and ``behind`` = Σ cotangent · output, from which prefixes are subtracted.
    """
    v_red, v_green, v_blue, v_alpha, v_depth, depth, behind = planes
    for y in range(height):
        k, pixel = y * TILE_WIDTH, (view * setup.height + top + y) * setup.width + left
        if width == TILE_WIDTH:
            alpha, t_a = load(images.alpha, pixel), load(cotangents.alpha, pixel)
            c_r, c_g, c_b = load3(images.rgb, 3 * pixel)
            t_r, t_g, t_b = load3(cotangents.rgb, 3 * pixel)
            store(v_red, k, t_r)
            store(v_green, k, t_g)
            store(v_blue, k, t_b)
            store(v_alpha, k, t_a)
            store(behind, k, fma(t_r, c_r, fma(t_g, c_g, fma(t_b, c_b, t_a * alpha))))
            if cotangents.depth.size > 0:
                store(v_depth, k, select(alpha > 0.0, load(cotangents.depth, pixel) / alpha, 0.0))
                store(depth, k, load(images.depth, pixel))
        else:
            for plane in planes:
                store(plane, k, broadcast(np.float32(0.0)))
            for x in range(width):
                p, q = pixel + x, 3 * (pixel + x)
                alpha, t_a = images.alpha[p], cotangents.alpha[p]
                t_r, t_g, t_b = cotangents.rgb[q], cotangents.rgb[q + 1], cotangents.rgb[q + 2]
                v_red[k + x], v_green[k + x], v_blue[k + x], v_alpha[k + x] = t_r, t_g, t_b, t_a
                color = t_r * images.rgb[q] + t_g * images.rgb[q + 1] + t_b * images.rgb[q + 2]
                behind[k + x] = color + t_a * alpha
                if cotangents.depth.size > 0 and alpha > 0:
                    v_depth[k + x], depth[k + x] = cotangents.depth[p] / alpha, images.depth[p]


@kernel
def rasterize_backward(
    worker: int,
    workers: int,
    setup: Setup,
    counter: Array,
    scratch: Array,
    rows: Array,
    tiles: Tiles,
    lasts: Array,
    images: Images,
    cotangents: Images,
    slots: Slots,
) -> None:
    """Write the gradient row of every list entry: ``slots`` (Slots). An empty depth cotangent means zero.

    A row holds ∂L/∂(red, green, blue, depth), then with G = ∂L/∂(ln α) of each pixel the moments ΣG, ΣG dx, ΣG dy,
    ΣG dx², ΣG dx dy, ΣG dy², and Σ|∂L/∂mean x|, Σ|∂L/∂mean y|.
    """
    mine, with_depth = scratch[worker], cotangents.depth.size > 0
    planes = (mine[0], mine[1], mine[2], mine[3], mine[4], mine[5], mine[6])
    v_red, v_green, v_blue, v_alpha, v_depth, depth, behind = planes
    covered = mine[7]
    zero, lanes = broadcast(np.float32(0.0)), lane_numbers()
    while True:
        tile = fetch_add(counter, 0)
        if tile >= _tile_count(setup):
            break
        entry, end = tiles.starts[tile], lasts[tile]
        for unread in range(end, tiles.starts[tile + 1]):
            slots.written[unread] = 0
        if entry == end:
            continue
        view, left, top, width, height = _tile_place(setup, tile)
        live = _start_pixels(covered, lanes, width, height)
        _read_tile(setup, images, cotangents, view, left, top, width, height, planes)
        x0, y0 = np.float32(left) + np.float32(0.5), np.float32(top) + np.float32(0.5)
        pixel_x = lanes + x0
        while entry < end:
            r = np.int64(tiles.entries[entry]) * ROW
            if entry + _AHEAD < end:
                prefetch(rows, np.int64(tiles.entries[entry + _AHEAD]) * ROW)
            dx = pixel_x - rows[r]
            along_x, along_y, across = dx * rows[r + 2], rows[r + 3], rows[r + 4]
            r_, g_, b_, z_ = (
                broadcast(rows[r + 6]),
                broadcast(rows[r + 7]),
                broadcast(rows[r + 8]),
                broadcast(rows[r + 9]),
            )
            s_r, s_g, s_b, s_z, s_0, s_y, s_yy, abs_x, abs_y = zero, zero, zero, zero, zero, zero, zero, zero, zero
            touched = live & _rows_touched(
                rows[r], rows[r + 1], rows[r + 12], rows[r + 13], rows[r + 14], rows[r + 15], x0, y0
            )
            written = np.uint8(0)
            while touched != np.uint64(0):
                y = count_trailing_zeros(touched)
                touched &= touched - _ONE
                dy = y0 + np.float32(y) - rows[r + 1]
                along = along_x + along_y * dy
                exponent = fma(-along, along, rows[r + 5] - across * dy * dy)
                k = y * TILE_WIDTH
                before = load(covered, k)
                hit = (exponent >= LOG2_ALPHA_MIN) & (before >= 0.0)
                if any_lane(hit):
                    written = np.uint8(1)
                    unclamped = exp2(exponent)
                    alpha = minimum(unclamped, ALPHA_MAX)
                    transmittance = 1.0 - before
                    weight = alpha * transmittance
                    after = before + weight
                    goes_on = after < 1.0 - TRANSMITTANCE_MIN
                    blended = hit & goes_on
                    weight = select(blended, weight, 0.0)
                    after = select(hit, select(goes_on, after, -before), before)
                    store(covered, k, after)
                    t_r, t_g, t_b = load(v_red, k), load(v_green, k), load(v_blue, k)
                    value = fma(r_, t_r, fma(g_, t_g, fma(b_, t_b, load(v_alpha, k))))
                    if with_depth:
                        t_z = load(v_depth, k)
                        value = fma(z_ - load(depth, k), t_z, value)
                        s_z = fma(weight, t_z, s_z)
                    rest = fma(-weight, value, load(behind, k))
                    store(behind, k, rest)
                    s_r, s_g, s_b = fma(weight, t_r, s_r), fma(weight, t_g, s_g), fma(weight, t_b, s_b)
                    slope = transmittance * value - rest / (1.0 - alpha)
                    v_log = select(blended & (unclamped <= ALPHA_MAX), alpha * slope, 0.0)
                    v_dy = v_log * dy
                    s_0, s_y, s_yy = s_0 + v_log, s_y + v_dy, fma(v_dy, dy, s_yy)
                    if setup.absgrad:
                        abs_x = abs_x + absolute(v_log * along)
                        abs_y = abs_y + absolute(v_log * fma(along_y, along, across * dy))
                    if not any_lane(after >= 0.0):
                        live &= ~(_ONE << np.uint64(y))
            slots.written[entry] = written
            if written:
                s_x = s_0 * dx
                moments = (s_r, s_g, s_b, s_z, s_0, s_x, s_y, s_x * dx, s_y * dx, s_yy)
                magnitudes = (abs_x * (rows[r + 2] * np.float32(2.0 / LOG2E)), abs_y * np.float32(2.0 / LOG2E))
                store(slots.rows, entry * ROW, lane_sums(moments + magnitudes))
            entry += 1
