"""Vector operations against numpy."""

from __future__ import annotations

import numpy as np

from studio.kernels.compiled import kernel
from studio.kernels.simd import (
    any_lane,
    bands,
    block_columns,
    block_rows,
    broadcast,
    exp2,
    floor,
    fma,
    lane_numbers,
    lane_sum,
    lane_sums,
    log2,
    maximum,
    minimum,
    select,
    sides,
    sqrt,
)
from studio.kernels.simd_memory import (
    as_bits,
    bytes_between,
    count_trailing_zeros,
    fetch_add,
    load,
    load3,
    load4,
    load_columns,
    quads,
    store,
    store2,
    store3,
    store4,
    store8,
    store_columns,
)

RANDOM = np.random.default_rng(0)
A = RANDOM.normal(size=16).astype(np.float32) * 8
B = RANDOM.normal(size=16).astype(np.float32) * 8


@kernel
def _arithmetic(a, b, out):
    x, y, s = load(a, 0), load(b, 0), b[3]
    store(out, 0, x + y)
    store(out, 16, 1.0 - x * y)
    store(out, 32, x / s)
    store(out, 48, s / y)
    store(out, 64, -x)
    store(out, 80, fma(x, s, y))
    store(out, 96, minimum(x, y))
    store(out, 112, maximum(s, y))
    store(out, 128, sqrt(x * x))
    store(out, 144, floor(x))
    store(out, 160, select((x > 0.0) & ~(y >= x) | (x <= -9.0), x, 7.0))
    store(out, 176, lane_numbers() * 2.0)
    store(out, 192, broadcast(lane_sum(x)))
    store(out, 208, broadcast(np.float32(1.0)) if any_lane(x < -1e9) else broadcast(np.float32(2.0)))


def test_arithmetic_comparison_and_choice():
    out = np.zeros(14 * 16, np.float32)
    _arithmetic(A, B, out)
    chosen = np.where(((A > 0) & ~(B >= A)) | (A <= -9), A, 7)
    expected = [A + B, 1 - A * B, A / B[3], B[3] / B, -A, A * B[3] + B, np.minimum(A, B), np.maximum(B[3], B)]
    expected += [abs(A), np.floor(A), chosen, np.arange(16) * 2, np.full(16, A.sum()), np.full(16, 2)]
    np.testing.assert_allclose(out.reshape(14, 16), np.array(expected), rtol=2e-6, atol=1e-6)


@kernel
def _powers(x, out):
    for i in range(0, x.size, 16):
        store(out, i, exp2(load(x, i)))
        store(out, x.size + i, log2(exp2(load(x, i))))


def test_powers_and_logarithms_over_their_whole_range():
    x = np.linspace(-125.9, 127.4, 1600, dtype=np.float32)
    out = np.zeros(3200, np.float32)
    _powers(x, out)
    np.testing.assert_allclose(out[:1600], 2.0 ** x.astype(np.float64), rtol=3e-7)
    np.testing.assert_allclose(out[1600:], x, atol=2e-5)


@kernel
def _shuffles(rows, out, sums):
    x, y, z = load3(rows, 5)
    store3(out, 0, z, y, x)
    w, x, y, z = load4(rows, 7)
    store4(out, 48, w, x, y, z)
    store2(out, 112, w, z)
    store_columns(out, 144, load_columns(rows, 0))
    columns = load_columns(rows, 0)
    store(sums, 0, lane_sums((columns[0], columns[1], columns[2], columns[3], columns[4])))
    store(sums, 16, lane_sums(columns))


def test_interleaved_columns_transposes_and_joint_sums():
    rows = RANDOM.normal(size=256).astype(np.float32)
    out, sums = np.zeros(400, np.float32), np.zeros(32, np.float32)
    _shuffles(rows, out, sums)
    np.testing.assert_array_equal(out[:48].reshape(16, 3), rows[5:53].reshape(16, 3)[:, ::-1])
    np.testing.assert_array_equal(out[48:112], rows[7:71])
    np.testing.assert_array_equal(out[112:144].reshape(16, 2), rows[7:71].reshape(16, 4)[:, [0, 3]])
    np.testing.assert_array_equal(out[144:], rows)
    totals = rows.reshape(16, 16).sum(axis=0)
    np.testing.assert_allclose(sums[16:], totals, atol=1e-5)
    np.testing.assert_allclose(sums[:16], [*totals[:5], *np.zeros(11)], atol=1e-5)


@kernel
def _integers(counter, bits, out):
    fetch_add(counter, 0)
    counter[1] = fetch_add(counter, 0)
    counter[2] = count_trailing_zeros(bits)
    store(out, 0, as_bits(lane_numbers() * 3.0, lane_numbers() + 65000.0))


def test_counters_bits_and_packing():
    counter, out = np.zeros(3, np.int64), np.zeros(16, np.float32)
    _integers(counter, np.uint64(0b1010000), out)
    assert counter.tolist() == [2, 1, 4]
    packed = out.view(np.uint32)
    assert (packed & 0xFFFF).tolist() == [3 * lane for lane in range(16)]
    assert (packed >> 16).tolist() == [65000 + lane for lane in range(16)]


def test_not_a_number_is_never_chosen_by_a_comparison():
    out = np.zeros(14 * 16, np.float32)
    _arithmetic(np.full(16, np.nan, np.float32), B, out)
    np.testing.assert_array_equal(out[96:112], B)
    np.testing.assert_array_equal(out[160:176], np.full(16, 7.0))


@kernel
def _blocks(rows, out, counts):
    blocks = quads(load(rows, 0), load(rows, 16), load(rows, 32), load(rows, 48))
    for k in range(4):
        store(out, 16 * k, blocks[k])
    a, b, c, d = quads(blocks[0], blocks[1], blocks[2], blocks[3])
    store(out, 64, a)
    store(out, 80, b)
    store(out, 96, c)
    store(out, 112, d)
    store(out, 128, block_columns() + 10.0 * block_rows())
    store(out, 144, bands() * sides())
    store8(
        out,
        160,
        load(rows, 0),
        load(rows, 1),
        load(rows, 2),
        load(rows, 3),
        load(rows, 4),
        load(rows, 5),
        load(rows, 6),
        load(rows, 7),
    )
    return bytes_between(load(counts, 0))


def test_blocks_of_four_by_four_pixels():
    rows, out = np.arange(64, dtype=np.float32), np.zeros(160 + 128, np.float32)
    left, right = RANDOM.integers(0, 9, 8), RANDOM.integers(0, 9, 8)
    bits = _blocks(rows, out, np.concatenate((left, right)).astype(np.float32))
    expected = rows.reshape(4, 4, 4).transpose(1, 0, 2)  # [row, block, x] to [block, row, x]
    np.testing.assert_array_equal(out[:64].reshape(4, 4, 4), expected)
    np.testing.assert_array_equal(out[64:128], rows)
    np.testing.assert_array_equal(out[128:144], [x + 10 * y for y in range(4) for x in range(4)])
    np.testing.assert_array_equal(out[144:160], [*range(0, 32, 4), *range(3, 35, 4)])
    np.testing.assert_array_equal(out[160:].reshape(16, 8), np.arange(16)[:, None] + np.arange(8))
    shown = [((int(bits) >> (8 * row + column)) & 1) for row in range(8) for column in range(8)]
    assert shown == [int(8 - right[row] <= column < left[row]) for row in range(8) for column in range(8)]
