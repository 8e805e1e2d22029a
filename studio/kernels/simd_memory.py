"""Loads, stores, transposes, counters and bits for kernels that work on sixteen lanes; nothing is bounds-checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import carray
from numba.core import cgutils, types

from studio.kernels.compiled import inlined
from studio.kernels.simd_emit import (
    BYTES,
    FLOAT,
    INT32,
    INT64,
    INTEGERS,
    LANES,
    VECTOR,
    f32x16,
    gather_lanes,
    load_value,
    operation,
    pointer_to,
    shuffle,
    store_value,
)


@operation
def load(typing: Any, array: Any, index: Any) -> Any:
    """array[index : index + 16] of a flat float32 array; unaligned, unchecked."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return load_value(builder, pointer_to(context, builder, sig.args[0], args[0], args[1], VECTOR))

    return f32x16(array, index), emit


@operation
def load_bytes(typing: Any, array: Any, index: Any) -> Any:
    """array[index : index + 16] of a flat uint8 array, as floats."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = builder.load(pointer_to(context, builder, sig.args[0], args[0], args[1], BYTES))
        value.align = 1
        return builder.uitofp(builder.zext(value, INTEGERS), VECTOR)

    return f32x16(array, index), emit


@operation
def store(typing: Any, array: Any, index: Any, vector: Any) -> Any:
    """array[index : index + 16] = vector."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        store_value(builder, args[2], pointer_to(context, builder, sig.args[0], args[0], args[1], VECTOR))
        return context.get_dummy_value()

    return types.void(array, index, vector), emit


@operation
def _floats(typing: Any, address: Any) -> Any:
    """A pointer to float32 numbers from the address of their memory."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], FLOAT.as_pointer())

    return types.CPointer(types.float32)(types.int64), emit


@inlined
def floats_at(address: int, size: int) -> Any:
    """The flat float32 array of ``size`` numbers at an address: a kernel can take any number of arrays in a table."""
    return carray(_floats(address), size)


def _interleaved_load(arity: int) -> Any:
    @operation
    def function(typing: Any, array: Any, index: Any) -> Any:
        def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            pointer = pointer_to(context, builder, sig.args[0], args[0], args[1], VECTOR)
            memory = [load_value(builder, pointer, number) for number in range(arity)]
            columns = [gather_lanes(builder, memory, range(column, arity * LANES, arity)) for column in range(arity)]
            return context.make_tuple(builder, sig.return_type, columns)

        return types.UniTuple(f32x16, arity)(array, index), emit

    function.__doc__ = f"The {arity} columns of 16 consecutive rows of {arity} floats, starting at array[index]."
    return function


def _emit_interleaved_store(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    pointer = pointer_to(context, builder, sig.args[0], args[0], args[1], VECTOR)
    columns = args[2:]
    for number in range(len(columns)):
        places = range(number * LANES, (number + 1) * LANES)
        lanes = [(place % len(columns)) * LANES + place // len(columns) for place in places]
        store_value(builder, gather_lanes(builder, columns, lanes), pointer, number)
    return context.get_dummy_value()


@operation
def store2(typing: Any, array: Any, index: Any, x: Any, y: Any) -> Any:
    """Write two columns of 16 consecutive rows of 2 floats."""
    return types.void(array, index, x, y), _emit_interleaved_store


@operation
def store3(typing: Any, array: Any, index: Any, x: Any, y: Any, z: Any) -> Any:
    """Write three columns of 16 consecutive rows of 3 floats."""
    return types.void(array, index, x, y, z), _emit_interleaved_store


@operation
def store4(typing: Any, array: Any, index: Any, w: Any, x: Any, y: Any, z: Any) -> Any:
    """Write four columns of 16 consecutive rows of 4 floats."""
    return types.void(array, index, w, x, y, z), _emit_interleaved_store


@operation
def store8(typing: Any, array: Any, index: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any) -> Any:
    """Write eight columns of 16 consecutive rows of 8 floats."""
    return types.void(array, index, a, b, c, d, e, f, g, h), _emit_interleaved_store


load3, load4 = _interleaved_load(3), _interleaved_load(4)


@operation
def store3_bytes(typing: Any, array: Any, index: Any, x: Any, y: Any, z: Any) -> Any:
    """Write three columns of values 0 ≤ v < 256, cut to whole numbers, as 16 consecutive rows of 3 bytes (uint8)."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = pointer_to(context, builder, sig.args[0], args[0], args[1], BYTES)
        for number in range(3):
            lanes = [(place % 3) * LANES + place // 3 for place in range(number * LANES, (number + 1) * LANES)]
            whole = builder.fptosi(gather_lanes(builder, args[2:], lanes), INTEGERS)
            builder.store(builder.trunc(whole, BYTES), builder.gep(pointer, [ir.Constant(INT64, number)])).align = 1
        return context.get_dummy_value()

    return types.void(array, index, x, y, z), emit


def transposed(builder: Any, rows: Sequence[Any]) -> list[Any]:
    """The 16 columns of 16 rows: swap blocks of 1, 2, 4 and 8 lanes between row pairs at the same distance."""
    rows = list(rows)
    for block in (1, 2, 4, 8):
        low = [lane if not lane & block else LANES + lane - block for lane in range(LANES)]
        high = [lane + block if not lane & block else LANES + lane for lane in range(LANES)]
        for index in (i for i in range(LANES) if not i & block):
            a, b = rows[index], rows[index + block]
            rows[index], rows[index + block] = shuffle(builder, a, b, low), shuffle(builder, a, b, high)
    return rows


@operation
def quads(typing: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """Four rows of 16 pixels to four blocks of 4 × 4, or back: lanes 4 j … 4 j + 3 of vector i and 4 i … of j swap."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        blocks = [
            gather_lanes(builder, args, [row * LANES + 4 * i + x for row in range(4) for x in range(4)])
            for i in range(4)
        ]
        return context.make_tuple(builder, sig.return_type, blocks)

    return types.UniTuple(f32x16, 4)(a, b, c, d), emit


@operation
def load_columns(typing: Any, array: Any, index: Any) -> Any:
    """The 16 columns of a 16 × 16 block of floats."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = pointer_to(context, builder, sig.args[0], args[0], args[1], VECTOR)
        columns = transposed(builder, [load_value(builder, pointer, row) for row in range(LANES)])
        return context.make_tuple(builder, sig.return_type, columns)

    return types.UniTuple(f32x16, LANES)(array, index), emit


@operation
def store_columns(typing: Any, array: Any, index: Any, columns: Any) -> Any:
    """Write a tuple of 16 columns as a 16 × 16 block of floats."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = pointer_to(context, builder, sig.args[0], args[0], args[1], VECTOR)
        for row, vector in enumerate(transposed(builder, cgutils.unpack_tuple(builder, args[2]))):
            store_value(builder, vector, pointer, row)
        return context.get_dummy_value()

    return types.void(array, index, columns), emit


@operation
def prefetch(typing: Any, array: Any, index: Any) -> Any:
    """Ask for the cache line of array[index]."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [byte, INT32, INT32, INT32]), "llvm.prefetch.p0"
        )
        pointer = pointer_to(context, builder, sig.args[0], args[0], args[1], ir.IntType(8))
        builder.call(function, [pointer, *(ir.Constant(INT32, flag) for flag in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, index), emit


# ---------------------------------------------------------------------------------------------------------- integers


@operation
def as_bits(typing: Any, vector: Any, other: Any) -> Any:
    """Two whole numbers 0 ≤ v < 65536 a lane, packed as ``vector + 65536·other`` into the bits of an f32x16."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        low, high = (builder.fptoui(arg, INTEGERS) for arg in args)
        packed = builder.or_(low, builder.shl(high, ir.Constant(INTEGERS, [16] * LANES)))
        return builder.bitcast(packed, VECTOR)

    return f32x16(vector, other), emit


@operation
def bytes_between(typing: Any, counts: Any) -> Any:
    """A uint64 whose byte k has the bits that are among its lowest ``counts[k]`` and its highest ``counts[8 + k]``."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def integers(value: int) -> ir.Constant:
            return ir.Constant(INTEGERS, [value] * LANES)

        number = builder.fptoui(args[0], INTEGERS)
        low = builder.sub(builder.shl(integers(1), number), integers(1))
        high = builder.lshr(integers(0xFF00), number)
        both = builder.shuffle_vector(low, high, ir.Constant(INTEGERS, [*range(8), *range(24, 32)]))
        halves = builder.bitcast(builder.trunc(both, BYTES), ir.VectorType(INT64, 2))
        return builder.and_(*(builder.extract_element(halves, ir.Constant(INT32, half)) for half in range(2)))

    return types.uint64(counts), emit


@operation
def fetch_add(typing: Any, array: Any, index: Any) -> Any:
    """Add one to array[index] (int64) atomically and return what was there."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = pointer_to(context, builder, sig.args[0], args[0], args[1], INT64)
        return builder.atomic_rmw("add", pointer, ir.Constant(INT64, 1), "monotonic")

    return types.int64(array, index), emit


@operation
def count_trailing_zeros(typing: Any, bits: Any) -> Any:
    """Index of the lowest set bit of a uint64 that is not 0."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(INT64, [INT64, ir.IntType(1)]), "llvm.cttz.i64"
        )
        return builder.call(function, [args[0], ir.Constant(ir.IntType(1), 1)])

    return types.int64(types.uint64), emit
