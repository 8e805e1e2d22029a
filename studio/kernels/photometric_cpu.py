"""Compiled comparison of renders with photos: blending, L1, SSIM, mattes and all gradients in one pass.

Images go by in groups of five rows, as many as the window of SSIM reaches. The rows of three groups are kept,
composited and as floats; then the group before the newest gets its moments and derivative maps, and the one before that
its gradient. So nothing as large as an image is written but what is asked for. Colours stay interleaved: the next
pixel's value is 3 floats further on. What a worker's neighbour needs too is computed twice.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from studio.kernels.buffers import borrow
from studio.kernels.compiled import inlined, kernel
from studio.kernels.photometric_simd import GROUP, moments_of_columns, sum_of_row, sums_of_columns
from studio.kernels.simd import Array, Vector, Vectors, absolute, broadcast, fma, lane_numbers, lane_sum, select
from studio.kernels.simd_memory import load, load3, load_bytes, store, store3
from studio.kernels.splat_project import first_of_block
from studio.kernels.workers import run, worker_count

LEAST_WIDTH = 16  # pixels
COLOR = 48  # floats of a background of one colour: sixteen pixels
_PAD = 16  # zeros on both sides of a row, at least what the window reaches


class Images(NamedTuple):
    """Flat arrays of B images of H rows of W >= 16 pixels; P = H W."""

    rgb: np.ndarray  # [B * P * 3] float32, premultiplied
    alpha: np.ndarray  # [B * P], or empty: nothing is behind
    background: np.ndarray  # [P * 3], or [COLOR]
    target: np.ndarray  # [B * P * 3] float32, or empty: there is a photo
    photo: np.ndarray  # [B * P * 3] uint8, or empty
    weight: np.ndarray  # [B * P], or one for all
    marked: np.ndarray  # [B * P] uint8 0 or 1, or empty
    matte: np.ndarray  # [B * P] uint8, or empty
    height: int
    width: int


class Terms(NamedTuple):
    """What the parts of the loss are multiplied with, for each value of a pixel."""

    difference: float  # |render - target|
    dissimilarity: float  # 1 - SSIM
    emphasis: float  # how much more a marked pixel counts
    matte: float
    unsure: int  # levels beyond which from 0 and 255 a matte decides nothing


class Found(NamedTuple):
    """What is wanted: arrays may be empty."""

    sums: np.ndarray  # [B * H, 3] float64 of each row: weighted |render - target|, weighted SSIM, error of the matte
    similarity: np.ndarray  # [B * P * 3] SSIM
    v_rgb: np.ndarray  # [B * P * 3] gradients
    v_alpha: np.ndarray  # [B * P]
    v_background: np.ndarray  # [P * 3]


class _Rows(NamedTuple):
    """A worker's memory: rows of ``stride`` floats, zero before and after the image's."""

    stride: int
    plane: int  # floats of 3 groups of rows
    images: np.ndarray  # [3, 3 groups, GROUP] rows: shown, target, weight
    maps: np.ndarray  # [3, 3 groups, GROUP] rows: derivatives to the window's E[a], E[a² + b²] and E[ab]
    filtered: np.ndarray  # [4, GROUP] rows whose columns were filtered
    spare: np.ndarray  # one row
    pixels: np.ndarray  # [COLOR] sixteen pixels


def compare(images: Images, terms: Terms, found: Found) -> None:
    """Fill ``found``; without ``v_rgb`` no gradients are computed. Any number of workers gives the same bits."""
    workers = worker_count()
    memory = borrow("compared_rows", (workers, _row_stride(images.width) * (22 * GROUP + 1) + COLOR))
    run(_compare, workers, images, terms, memory, found)


def _row_stride(width: int) -> int:
    return (3 * width + 15) // 16 * 16 + 2 * _PAD


_stride_inside = inlined(_row_stride)


@inlined
def _rows_of(memory: Array, width: int) -> _Rows:
    stride = _stride_inside(width)
    plane = 3 * GROUP * stride
    filtered, spare = 6 * plane, 6 * plane + 4 * GROUP * stride
    pixels = spare + stride
    return _Rows(
        stride,
        plane,
        memory[: 3 * plane],
        memory[3 * plane : filtered],
        memory[filtered:spare],
        memory[spare:pixels],
        memory[pixels:],
    )


@inlined
def _group_at(rows: _Rows, group: int) -> int:
    """Where the first row of a group begins in a plane; groups count from -3."""
    return (group + 3) % 3 * GROUP * rows.stride


@inlined
def _behind(images: Images, p: int, part: int) -> Vector:
    """The background of sixteen pixels from ``p`` on, a third of their values."""
    return load(images.background, 16 * part + (3 * p if images.background.size > COLOR else 0))


@inlined
def _fill_row(images: Images, terms: Terms, image: int, y: int, rows: _Rows, at: int) -> None:
    """Row ``y`` of an image as shown, its target and its weights; ``at`` is where they begin."""
    width, plane, pixels = images.width, rows.plane, rows.pixels
    for block in range((width + 15) // 16):
        x = first_of_block(block, width)
        p, to = y * width + x, at + _PAD + 3 * x
        pixel = image * images.height * width + p
        weight = broadcast(images.weight[0])
        if images.weight.size > 1:
            weight = load(images.weight, pixel)
        if images.marked.size > 0:
            weight = fma(load_bytes(images.marked, pixel), terms.emphasis, weight)
        store3(rows.images, 2 * plane + to, weight, weight, weight)
        if images.alpha.size > 0:
            through = 1.0 - load(images.alpha, pixel)
            store3(pixels, 0, through, through, through)
        for part in range(3):
            shown = load(images.rgb, 3 * pixel + 16 * part)
            if images.alpha.size > 0:
                shown = fma(load(pixels, 16 * part), _behind(images, p, part), shown)
            store(rows.images, to + 16 * part, shown)
            if images.photo.size > 0:
                target = load_bytes(images.photo, 3 * pixel + 16 * part) * np.float32(1 / 255)
            else:
                target = load(images.target, 3 * pixel + 16 * part)
            store(rows.images, plane + to + 16 * part, target)


@inlined
def _fill_group(images: Images, terms: Terms, image: int, group: int, rows: _Rows) -> None:
    """The rows of a group; those outside of the image are zeros of weight 0."""
    zero = broadcast(np.float32(0.0))
    for row in range(GROUP):
        y, at = group * GROUP + row, _group_at(rows, group) + row * rows.stride
        if 0 <= y < images.height:
            _fill_row(images, terms, image, y, rows, at)
        else:
            for plane in range(3):
                for k in range(_PAD, rows.stride - _PAD, 16):
                    store(rows.images, plane * rows.plane + at + k, zero)


@inlined
def _similarity(filtered: Array, k: int, plane: int) -> Vectors:
    """SSIM at sixteen values, and its derivatives to E[a], E[a² + b²] and E[ab]."""
    a, b = sum_of_row(filtered, k), sum_of_row(filtered, k + plane)
    energy, product = fma(a, a, b * b), a * b
    n1 = fma(2.0, product, 1e-4)
    n2 = fma(2.0, sum_of_row(filtered, k + 3 * plane) - product, 9e-4)
    d1, d2 = energy + 1e-4, sum_of_row(filtered, k + 2 * plane) - energy + 9e-4
    inverse = 1.0 / (d1 * d2)
    value = n1 * n2 * inverse
    by_product, by_squares = 2.0 * n1 * inverse, -(value * inverse * d1)
    by_mean = 2.0 * inverse * (b * n2 - a * value * d2) - by_product * b - 2.0 * by_squares * a
    return value, by_mean, by_squares, by_product


@inlined
def _compare_group(images: Images, terms: Terms, image: int, group: int, own: bool, rows: _Rows, found: Found) -> None:
    """Moments of a group: its derivative maps and, where it is the worker's own, what the loss is summed of."""
    length, stride, plane = 3 * images.width, rows.stride, GROUP * rows.stride
    above, here, below = _group_at(rows, group - 1), _group_at(rows, group), _group_at(rows, group + 1)
    for k in range(_PAD, stride - _PAD, 16):
        moments_of_columns(rows.images, rows.plane, above + k, here + k, below + k, stride, rows.filtered, k)
    for row in range(GROUP):
        y, first = group * GROUP + row, here + row * stride
        error, similarity = broadcast(np.float32(0.0)), broadcast(np.float32(0.0))
        for k in range(_PAD, stride - _PAD, 16):
            at = first + k
            value, by_mean, by_squares, by_product = _similarity(rows.filtered, row * stride + k, plane)
            weight = load(rows.images, 2 * rows.plane + at)
            difference = absolute(load(rows.images, at) - load(rows.images, rows.plane + at))
            error, similarity = fma(weight, difference, error), fma(weight, value, similarity)
            amount = weight * np.float32(-terms.dissimilarity)
            store(rows.maps, at, amount * by_mean)
            store(rows.maps, rows.plane + at, amount * by_squares)
            store(rows.maps, 2 * rows.plane + at, amount * by_product)
            store(rows.spare, k, value)
        if own and y < images.height:
            line = image * images.height + y
            found.sums[line, 0], found.sums[line, 1] = lane_sum(error), lane_sum(similarity)
            if found.similarity.size > 0:
                for i in range(length):
                    found.similarity[line * length + i] = rows.spare[_PAD + i]


@inlined
def _gradient_row(terms: Terms, rows: _Rows, row: int, first: int) -> None:
    """Gradient to what is shown of a filtered row, into ``spare``; ``first`` is where its images are."""
    plane, scale = GROUP * rows.stride, np.float32(terms.difference)
    for k in range(_PAD, rows.stride - _PAD, 16):
        at, place = first + k, row * rows.stride + k
        a, b = load(rows.images, at), load(rows.images, rows.plane + at)
        by_mean, by_squares = sum_of_row(rows.filtered, place), sum_of_row(rows.filtered, place + plane)
        similarity = fma(b, sum_of_row(rows.filtered, place + 2 * plane), fma(2.0 * a, by_squares, by_mean))
        sign = select(a > b, scale, 0.0) - select(a < b, scale, 0.0)
        store(rows.spare, k, fma(sign, load(rows.images, 2 * rows.plane + at), similarity))


@inlined
def _matte_error(images: Images, terms: Terms, pixel: int, alpha: Vector) -> Vectors:
    """Error of coverage of sixteen pixels, 0 where the matte is not sure, and which of them show nobody."""
    matte = load_bytes(images.matte, pixel)
    low, high = np.float32(terms.unsure), np.float32(255 - terms.unsure)
    sure = (matte <= low) | (matte >= high)
    return select(sure, alpha - select(matte >= high, 1.0, 0.0), 0.0), select(matte <= 0.0, 1.0, 0.0)


@inlined
def _share_row(images: Images, terms: Terms, image: int, y: int, rows: _Rows, found: Found) -> float:
    """Carry the gradient in ``spare`` back to render, coverage and background; returns the error of the matte."""
    width, total, pixels = images.width, np.float64(0.0), rows.pixels
    for block in range((width + 15) // 16):
        x = first_of_block(block, width)
        p = y * width + x
        pixel = image * images.height * width + p
        for part in range(3):
            v = load(rows.spare, _PAD + 3 * x + 16 * part)
            store(found.v_rgb, 3 * pixel + 16 * part, v)
            if images.alpha.size > 0:
                store(pixels, 16 * part, v * _behind(images, p, part))
        if images.alpha.size > 0:
            red, green, blue = load3(pixels, 0)
            by_alpha, alpha = -(red + green + blue), load(images.alpha, pixel)
            through = 1.0 - alpha
            if images.matte.size > 0:
                off, nobody = _matte_error(images, terms, pixel, alpha)
                fresh = lane_numbers() >= np.float32(16 * block - x)  # not already in the block before
                total += lane_sum(select(fresh, absolute(off), 0.0))
                pull = np.float32(terms.matte)
                by_alpha = by_alpha + (select(off > 0.0, pull, 0.0) - select(off < 0.0, pull, 0.0))
                through = through * nobody
            store(found.v_alpha, pixel, by_alpha)
            if found.v_background.size > 0:
                store3(pixels, 0, through, through, through)
                for part in range(3):
                    v = load(rows.spare, _PAD + 3 * x + 16 * part)
                    store(found.v_background, 3 * p + 16 * part, v * load(pixels, 16 * part))
    return total


@inlined
def _learn_group(images: Images, terms: Terms, image: int, group: int, rows: _Rows, found: Found) -> None:
    """Gradients of a group, whose maps and those of its neighbours are there."""
    above, here, below = _group_at(rows, group - 1), _group_at(rows, group), _group_at(rows, group + 1)
    for k in range(_PAD, rows.stride - _PAD, 16):
        sums_of_columns(rows.maps, rows.plane, above + k, here + k, below + k, rows.stride, rows.filtered, k)
    for row in range(GROUP):
        y = group * GROUP + row
        if y < images.height:
            _gradient_row(terms, rows, row, here + row * rows.stride)
            found.sums[image * images.height + y, 2] = _share_row(images, terms, image, y, rows, found)


@kernel
def _compare(worker: int, workers: int, images: Images, terms: Terms, memory: Array, found: Found) -> None:
    """Fill ``found``; ``memory`` is [workers, memory_size]."""
    rows = _rows_of(memory[worker], images.width)
    for k in range(0, memory.shape[1], 16):
        store(memory[worker], k, broadcast(np.float32(0.0)))
    groups, count = (images.height + GROUP - 1) // GROUP, len(found.sums) // images.height
    at, end = worker * count * groups // workers, (worker + 1) * count * groups // workers
    while at < end:
        image = at // groups
        first = at - image * groups
        last = min(groups, first + end - at)
        for group in range(first - 2, last + 2):
            _fill_group(images, terms, image, group, rows)
            if group >= first:
                _compare_group(images, terms, image, group - 1, first < group <= last, rows, found)
            if group >= first + 2 and found.v_rgb.size > 0:
                _learn_group(images, terms, image, group - 2, rows, found)
        at += last - first
