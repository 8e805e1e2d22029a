"""The inner loops of small matrix products: sixteen accumulators stay in registers while a loop runs over the depth.

Activations are feature-major: sixteen samples of one feature are one vector, ``step`` floats from those of the next.
Nothing is bounds-checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from studio.kernels.simd_emit import (
    FLOAT,
    INT64,
    LANES,
    VECTOR,
    broadcast_value,
    constant,
    f32x16,
    fma_value,
    load_value,
    operation,
    pointer_to,
    store_value,
)
from studio.kernels.simd_memory import transposed

TILE_ROWS, TILE_VECTORS = 8, 2  # outputs × vectors of samples computed together
OUTER = 4  # outputs × inputs whose products are summed together
_TILE = types.UniTuple(f32x16, TILE_ROWS * TILE_VECTORS)


def _vectors(builder: Any, pointer: Any, offset: Any) -> Any:
    """A vector's address, ``offset`` floats behind a pointer to a float."""
    return builder.bitcast(builder.gep(pointer, [offset]), VECTOR.as_pointer())


def _times(builder: Any, value: Any, number: int) -> Any:
    return builder.mul(value, ir.Constant(INT64, number))


def _accumulate(
    builder: Any, count: Any, starts: list[Any], terms: Callable[[Any], list[tuple[Any, Any]]]
) -> list[Any]:
    """Vectors that begin at ``starts`` and gain the product of each pair in ``terms(k)`` for every k < count."""
    sums = [cgutils.alloca_once(builder, VECTOR) for _ in starts]
    for place, start in zip(sums, starts):
        builder.store(start, place)
    with cgutils.for_range(builder, count) as loop:
        for place, (a, b) in zip(sums, terms(loop.index)):
            builder.store(fma_value(builder, a, b, builder.load(place)), place)
    return [builder.load(place) for place in sums]


@operation
def tile_products(
    typing: Any, bias: Any, b: Any, weights: Any, w: Any, w_step: Any, inputs: Any, x: Any, x_step: Any, depth: Any
) -> Any:
    """For r < 8 and v < 2: bias[b + r] + Σ_k weights[w + k w_step + r] · inputs[x + k x_step + 16 v …], k < depth."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        biases, rows, samples = (
            pointer_to(context, builder, sig.args[n], args[n], args[n + 1], FLOAT) for n in (0, 2, 5)
        )
        starts = [
            broadcast_value(builder, builder.load(builder.gep(biases, [ir.Constant(INT64, r)])))
            for r in range(TILE_ROWS)
        ]

        def terms(k: Any) -> list[tuple[Any, Any]]:
            pointer = _vectors(builder, samples, builder.mul(k, args[7]))
            vectors = [load_value(builder, pointer, v) for v in range(TILE_VECTORS)]
            row = builder.gep(rows, [builder.mul(k, args[4])])
            scalars = [builder.load(builder.gep(row, [ir.Constant(INT64, r)])) for r in range(TILE_ROWS)]
            return [(broadcast_value(builder, scalar), vector) for scalar in scalars for vector in vectors]

        repeated = [start for start in starts for _ in range(TILE_VECTORS)]
        return context.make_tuple(builder, sig.return_type, _accumulate(builder, args[8], repeated, terms))

    return _TILE(bias, b, weights, w, w_step, inputs, x, x_step, depth), emit


@operation
def outer_products(typing: Any, given: Any, g: Any, inputs: Any, x: Any, step: Any, count: Any) -> Any:
    """For r, c < 4, in the order 4 r + c: Σ_k given[g + r step + 16 k …] · inputs[x + c step + 16 k …], k < count."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        cotangents, samples = (pointer_to(context, builder, sig.args[n], args[n], args[n + 1], FLOAT) for n in (0, 2))

        def terms(k: Any) -> list[tuple[Any, Any]]:
            sixteen = _times(builder, k, LANES)
            offsets = [builder.add(sixteen, _times(builder, args[4], n)) for n in range(OUTER)]
            rows = [load_value(builder, _vectors(builder, cotangents, offset)) for offset in offsets]
            columns = [load_value(builder, _vectors(builder, samples, offset)) for offset in offsets]
            return [(row, column) for row in rows for column in columns]

        sums = _accumulate(builder, args[5], [constant(0.0)] * OUTER**2, terms)
        return context.make_tuple(builder, sig.return_type, sums)

    return types.UniTuple(f32x16, OUTER**2)(given, g, inputs, x, step, count), emit


def _store_tile(change: Callable[[Any, Any, Any], Any]) -> Callable[..., Any]:
    """Store a tile of ``tile_products`` as rows ``step`` apart; ``change(builder, value, gate)`` comes first."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        out = pointer_to(context, builder, sig.args[0], args[0], args[1], FLOAT)
        gates = None
        if len(args) > 4:
            gates = pointer_to(context, builder, sig.args[4], args[4], args[5], FLOAT)
        for number, value in enumerate(cgutils.unpack_tuple(builder, args[3])):
            row, vector = divmod(number, TILE_VECTORS)
            offset = _times(builder, args[2], row)
            gate = None if gates is None else load_value(builder, _vectors(builder, gates, offset), vector)
            store_value(builder, change(builder, value, gate), _vectors(builder, out, offset), vector)
        return context.get_dummy_value()

    return emit


def _where_positive(builder: Any, test: Any, value: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", test, constant(0.0)), value, constant(0.0))


@operation
def store_tile(typing: Any, out: Any, at: Any, step: Any, tile: Any) -> Any:
    """Write a tile: row r to out[at + r step …]."""
    return types.void(out, at, step, tile), _store_tile(lambda builder, value, gate: value)


@operation
def store_rectified(typing: Any, out: Any, at: Any, step: Any, tile: Any) -> Any:
    """The same of max(0, value)."""
    return types.void(out, at, step, tile), _store_tile(
        lambda builder, value, _: _where_positive(builder, value, value)
    )


@operation
def store_gated(typing: Any, out: Any, at: Any, step: Any, tile: Any, gates: Any, gate: Any) -> Any:
    """The same of the values whose gates, gates[gate + r step …], are positive, and 0 elsewhere."""
    emit = _store_tile(lambda builder, value, gate: _where_positive(builder, gate, value))
    return types.void(out, at, step, tile, gates, gate), emit


@operation
def transpose(typing: Any, source: Any, s: Any, s_step: Any, target: Any, t: Any, t_step: Any) -> Any:
    """target[t + c t_step + r] = source[s + r s_step + c] for r, c < 16."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        read, write = (pointer_to(context, builder, sig.args[n], args[n], args[n + 1], FLOAT) for n in (0, 3))
        rows = [load_value(builder, _vectors(builder, read, _times(builder, args[2], r))) for r in range(LANES)]
        for c, column in enumerate(transposed(builder, rows)):
            store_value(builder, column, _vectors(builder, write, _times(builder, args[5], c)))
        return context.get_dummy_value()

    return types.void(source, s, s_step, target, t, t_step), emit
