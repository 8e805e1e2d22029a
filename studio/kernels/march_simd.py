"""Runs of samples whose length is no multiple of sixteen, and running sums along them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from studio.kernels.simd_emit import (
    INT32,
    INT64,
    INTEGERS,
    LANES,
    MASK,
    VECTOR,
    constant,
    f32x16,
    gather_lanes,
    operation,
    pointer_to,
    shuffle,
)


def _head_mask(builder: Any, count: Any, first: int) -> Any:
    """Lanes l with first + l < count."""
    places = ir.Constant(INTEGERS, [first + lane for lane in range(LANES)])
    undefined = ir.Constant(INTEGERS, ir.Undefined)
    single = builder.insert_element(undefined, builder.trunc(count, INT32), ir.Constant(INT32, 0))
    counts = builder.shuffle_vector(single, undefined, ir.Constant(INTEGERS, [0] * LANES))
    return builder.icmp_signed("<", places, counts)


def _load_masked(builder: Any, pointer: Any, number: int, mask: Any) -> Any:
    kind = ir.FunctionType(VECTOR, [VECTOR.as_pointer(), INT32, MASK, VECTOR])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.masked.load.v16f32.p0v16f32")
    place = builder.gep(pointer, [ir.Constant(INT64, number)])
    return builder.call(function, [place, ir.Constant(INT32, 4), mask, constant(0.0)])


def _store_masked(builder: Any, vector: Any, pointer: Any, number: int, mask: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [VECTOR, VECTOR.as_pointer(), INT32, MASK])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.masked.store.v16f32.p0v16f32")
    place = builder.gep(pointer, [ir.Constant(INT64, number)])
    builder.call(function, [vector, place, ir.Constant(INT32, 4), mask])


def _head_load(columns: int) -> Any:
    @operation
    def function(typing: Any, array: Any, index: Any, count: Any) -> Any:
        def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            pointer = pointer_to(context, builder, sig.args[0], args[0], args[1], VECTOR)
            floats = builder.mul(args[2], ir.Constant(INT64, columns))
            memory = [
                _load_masked(builder, pointer, number, _head_mask(builder, floats, LANES * number))
                for number in range(columns)
            ]
            if columns == 1:
                return memory[0]
            vectors = [gather_lanes(builder, memory, range(c, columns * LANES, columns)) for c in range(columns)]
            return context.make_tuple(builder, sig.return_type, vectors)

        result = f32x16 if columns == 1 else types.UniTuple(f32x16, columns)
        return result(array, index, types.int64), emit

    function.__doc__ = f"The first ``count`` rows of {columns} floats from array[index], zeros after them."
    return function


def _emit_head_store(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    pointer = pointer_to(context, builder, sig.args[0], args[0], args[1], VECTOR)
    columns: Sequence[Any] = args[3:]
    floats = builder.mul(args[2], ir.Constant(INT64, len(columns)))
    for number in range(len(columns)):
        places = range(number * LANES, (number + 1) * LANES)
        lanes = [(place % len(columns)) * LANES + place // len(columns) for place in places]
        vector = gather_lanes(builder, columns, lanes)
        _store_masked(builder, vector, pointer, number, _head_mask(builder, floats, LANES * number))
    return context.get_dummy_value()


load_head, load3_head = _head_load(1), _head_load(3)


@operation
def store_head(typing: Any, array: Any, index: Any, count: Any, vector: Any) -> Any:
    """Write the first ``count`` lanes; what follows in memory is not touched."""
    return types.void(array, index, types.int64, vector), _emit_head_store


@operation
def store3_head(typing: Any, array: Any, index: Any, count: Any, x: Any, y: Any, z: Any) -> Any:
    """Write three columns of the first ``count`` rows of 3 floats."""
    return types.void(array, index, types.int64, x, y, z), _emit_head_store


def _shifted(builder: Any, value: Any, lanes: int) -> Any:
    """Lane l gets what lane l - lanes had; zeros where there is none."""
    places = [lane - lanes if 0 <= lane - lanes < LANES else LANES for lane in range(LANES)]
    return shuffle(builder, value, constant(0.0), places)


def _scan(direction: int) -> Any:
    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = args[0]
        for distance in (1, 2, 4, 8):
            value = builder.fadd(value, _shifted(builder, value, direction * distance))
        return value

    return emit


@operation
def running_sum(typing: Any, vector: Any) -> Any:
    """Lane l holds the sum of lanes 0 … l."""
    return f32x16(vector), _scan(1)


@operation
def remaining_sum(typing: Any, vector: Any) -> Any:
    """Lane l holds the sum of lanes l … 15."""
    return f32x16(vector), _scan(-1)


@operation
def shift(typing: Any, vector: Any) -> Any:
    """Lane l gets lane l - 1, lane 0 gets zero."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _shifted(builder, args[0], 1)

    return f32x16(vector), emit


@operation
def shift_back(typing: Any, vector: Any) -> Any:
    """Lane l gets lane l + 1, lane 15 gets zero."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _shifted(builder, args[0], -1)

    return f32x16(vector), emit


@operation
def lane(typing: Any, vector: Any, number: Any) -> Any:
    """One lane as a number."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.extract_element(args[0], builder.trunc(args[1], INT32))

    return types.float32(vector, types.int64), emit
