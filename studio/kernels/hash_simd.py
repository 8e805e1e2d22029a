"""Lattice corners on sixteen lanes, and rows of a table that are read, blended and added to one sample at a time.

Whole numbers travel in the bits of an ``f32x16`` and go through :func:`store_corners`. A row of the table has F floats;
F is the length of a tuple argument, so that numba compiles one kernel for each F in use. Nothing is bounds-checked.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from studio.kernels.simd_emit import (
    FLAGS,
    FLOAT,
    INT32,
    INT64,
    INTEGERS,
    LANES,
    VECTOR,
    broadcast_value,
    f32x16,
    operation,
    pointer_to,
    shuffle,
    store_value,
)

CORNERS = 8  # of a cell; corner c is at (c & 1, c >> 1 & 1, c >> 2) from its lowest
_PRIME_Y, _PRIME_Z = 2654435761, 805459861  # Teschner et al. 2003, as in tiny-cuda-nn; x is not multiplied


def _whole(builder: Any, scalar_or_number: Any) -> Any:
    """A number, or a scalar integer of any width, in every lane of an integer vector."""
    if isinstance(scalar_or_number, int):
        return ir.Constant(INTEGERS, [scalar_or_number] * LANES)
    scalar = scalar_or_number
    if scalar.type != INT32:
        scalar = builder.trunc(scalar, INT32)
    undefined = ir.Constant(INTEGERS, ir.Undefined)
    single = builder.insert_element(undefined, scalar, ir.Constant(INT32, 0))
    return builder.shuffle_vector(single, undefined, ir.Constant(INTEGERS, [0] * LANES))


def _both(builder: Any, low: Any, step: Any) -> tuple[Any, Any]:
    return low, builder.add(low, step)


def _hashed(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    x, y, z = (builder.fptosi(vector, INTEGERS) for vector in args[:3])
    xs = _both(builder, x, _whole(builder, 1))
    ys = _both(builder, builder.mul(y, _whole(builder, _PRIME_Y)), _whole(builder, _PRIME_Y))
    zs = _both(builder, builder.mul(z, _whole(builder, _PRIME_Z)), _whole(builder, _PRIME_Z))
    mask = _whole(builder, builder.sub(args[3], ir.Constant(args[3].type, 1)))
    corners = [
        builder.and_(builder.xor(xs[c & 1], builder.xor(ys[c >> 1 & 1], zs[c >> 2])), mask) for c in range(CORNERS)
    ]
    return context.make_tuple(builder, sig.return_type, [builder.bitcast(c, VECTOR) for c in corners])


def _emit_dense(remainder: bool) -> Any:
    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        x, y, z = (builder.fptosi(vector, INTEGERS) for vector in args[:3])
        size, side = _whole(builder, args[3]), _whole(builder, args[4])
        row = builder.add(y, builder.mul(z, side))
        first = builder.add(x, builder.mul(row, side))
        slab = builder.mul(side, side)
        corners = []
        for c in range(CORNERS):
            index = first
            for bit, step in ((1, _whole(builder, 1)), (2, side), (4, slab)):
                index = builder.add(index, step) if c & bit else index
            if remainder:
                index = builder.urem(index, size)
            else:  # an index below 2·size: subtracting wraps round where there was nothing to subtract
                less = builder.sub(index, size)
                index = builder.select(builder.icmp_unsigned("<", index, less), index, less)
            corners.append(builder.bitcast(index, VECTOR))
        return context.make_tuple(builder, sig.return_type, corners)

    return emit


_EIGHT = types.UniTuple(f32x16, CORNERS)


@operation
def hashed_corners(typing: Any, x: Any, y: Any, z: Any, size: Any) -> Any:
    """Rows (bits) of the eight corners above whole x, y, z in a table of 2^k rows: xor of multiples of primes."""
    return _EIGHT(x, y, z, size), _hashed


@operation
def dense_corners(typing: Any, x: Any, y: Any, z: Any, size: Any, side: Any) -> Any:
    """Rows (bits) of the eight corners of a lattice with ``side`` points a side, for 0 ≤ x, y, z ≤ side - 1.

    The corners beyond the last point continue in the next row of the lattice, and after the last row at the first.
    """
    return _EIGHT(x, y, z, size, side), _emit_dense(remainder=False)


@operation
def wrapped_corners(typing: Any, x: Any, y: Any, z: Any, size: Any, side: Any) -> Any:
    """The same for any whole numbers, modulo 2^32 and then modulo the size; slow."""
    return _EIGHT(x, y, z, size, side), _emit_dense(remainder=True)


@operation
def store_corners(typing: Any, array: Any, rows: Any) -> Any:
    """array[16 c : 16 c + 16] of a flat uint32 array = the bits of vector c of a tuple."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = pointer_to(context, builder, sig.args[0], args[0], ir.Constant(INT64, 0), VECTOR)
        for corner, bits in enumerate(cgutils.unpack_tuple(builder, args[1])):
            store_value(builder, bits, pointer, corner)
        return context.get_dummy_value()

    return types.void(array, rows), emit


# ----------------------------------------------------------------------------------------- one sample's eight rows


def _row(width: int) -> Any:
    return FLOAT if width == 1 else ir.VectorType(FLOAT, width)


def _in_every_place(builder: Any, scalar: Any, width: int) -> Any:
    if width == 1:
        return scalar
    undefined = ir.Constant(_row(width), ir.Undefined)
    single = builder.insert_element(undefined, scalar, ir.Constant(INT32, 0))
    zeros = ir.Constant(ir.VectorType(INT32, width), [0] * width)
    return builder.shuffle_vector(single, undefined, zeros)


def _fused(builder: Any, a: Any, b: Any, c: Any, width: int) -> Any:
    name = "llvm.fmuladd.f32" if width == 1 else f"llvm.fmuladd.v{width}f32"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_row(width), [_row(width)] * 3), name)
    return builder.call(function, [a, b, c])


def _load(builder: Any, pointer: Any) -> Any:
    value = builder.load(pointer)
    value.align = 4
    return value


class _Rows:
    """The rows of a level's table that the eight corners of one lane stand for."""

    def __init__(self, context: Any, builder: Any, sig: Any, args: Any) -> None:
        (table, self.first, indices, self.lane), self.builder = args[:4], builder
        self.width = len(sig.args[-1])
        self.table = context.make_array(sig.args[0])(context, builder, table).data
        self.indices = context.make_array(sig.args[2])(context, builder, indices).data

    def scalar(self, data: Any, corner: int) -> Any:
        return self.builder.load(
            self.builder.gep(data, [self.builder.add(self.lane, ir.Constant(INT64, LANES * corner))])
        )

    def pointer(self, corner: int) -> Any:
        row = self.builder.zext(self.scalar(self.indices, corner), INT64)
        place = self.builder.add(self.first, self.builder.mul(row, ir.Constant(INT64, self.width)))
        return self.builder.bitcast(self.builder.gep(self.table, [place]), _row(self.width).as_pointer())


def _data(context: Any, builder: Any, sig: Any, args: Any, number: int) -> Any:
    return context.make_array(sig.args[number])(context, builder, args[number]).data


@operation
def blend_rows(
    typing: Any, table: Any, first: Any, indices: Any, lane: Any, weights: Any, out: Any, at: Any, features: Any
) -> Any:
    """out[at : at + F] = Σ weights[16 c + lane] · table[first + F indices[16 c + lane]] over the corners c."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        rows, weights = _Rows(context, builder, sig, args), _data(context, builder, sig, args, 4)
        total = None
        for corner in range(CORNERS):
            weight = _in_every_place(builder, rows.scalar(weights, corner), rows.width)
            row = _load(builder, rows.pointer(corner))
            product = builder.fmul(weight, row, flags=FLAGS) if total is None else None
            total = product if total is None else _fused(builder, weight, row, total, rows.width)
        target = builder.gep(_data(context, builder, sig, args, 5), [args[6]])
        builder.store(total, builder.bitcast(target, _row(rows.width).as_pointer())).align = 4
        return context.get_dummy_value()

    return types.void(table, first, indices, lane, weights, out, at, features), emit


@operation
def add_to_rows(
    typing: Any, table: Any, first: Any, indices: Any, lane: Any, weights: Any, given: Any, at: Any, features: Any
) -> Any:
    """table[first + F indices[16 c + lane]] += weights[16 c + lane] · given[at : at + F] for every corner c."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        rows, weights = _Rows(context, builder, sig, args), _data(context, builder, sig, args, 4)
        source = builder.gep(_data(context, builder, sig, args, 5), [args[6]])
        given = _load(builder, builder.bitcast(source, _row(rows.width).as_pointer()))
        for corner in range(CORNERS):
            weight = _in_every_place(builder, rows.scalar(weights, corner), rows.width)
            pointer = rows.pointer(corner)
            value = _fused(builder, weight, given, _load(builder, pointer), rows.width)
            builder.store(value, pointer).align = 4
        return context.get_dummy_value()

    return types.void(table, first, indices, lane, weights, given, at, features), emit


@operation
def rows_dot(
    typing: Any, table: Any, first: Any, indices: Any, lane: Any, given: Any, at: Any, dots: Any, features: Any
) -> Any:
    """dots[16 c + lane] = table[first + F indices[16 c + lane]] · given[at : at + F] for every corner c."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        rows, dots = _Rows(context, builder, sig, args), _data(context, builder, sig, args, 6)
        source = builder.gep(_data(context, builder, sig, args, 4), [args[5]])
        given = _load(builder, builder.bitcast(source, _row(rows.width).as_pointer()))
        for corner in range(CORNERS):
            product = builder.fmul(_load(builder, rows.pointer(corner)), given, flags=FLAGS)
            total = product
            if rows.width > 1:
                total = builder.extract_element(product, ir.Constant(INT32, 0))
                for place in range(1, rows.width):
                    total = builder.fadd(total, builder.extract_element(product, ir.Constant(INT32, place)))
            place = builder.add(args[3], ir.Constant(INT64, LANES * corner))
            builder.store(total, builder.gep(dots, [place]))
        return context.get_dummy_value()

    return types.void(table, first, indices, lane, given, at, dots, features), emit


# ------------------------------------------------------------------------------------- rows of many tables side by side


@operation
def spread(typing: Any, array: Any, index: Any, features: Any) -> Any:
    """array[index : index + F] over and over, in all sixteen lanes."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        width = len(sig.args[2])
        source = builder.gep(_data(context, builder, sig, args, 0), [args[1]])
        row = _load(builder, builder.bitcast(source, _row(width).as_pointer()))
        if width == 1:
            return broadcast_value(builder, row)
        undefined = ir.Constant(_row(width), ir.Undefined)
        return builder.shuffle_vector(row, undefined, ir.Constant(INTEGERS, [l % width for l in range(LANES)]))

    return f32x16(array, index, features), emit


@operation
def store_folded(typing: Any, array: Any, index: Any, vector: Any, features: Any) -> Any:
    """array[index + f] = the sum of the lanes f, f + F, f + 2 F, …"""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        width, value, distance = len(sig.args[3]), args[2], LANES // 2
        while distance >= width:
            value = builder.fadd(value, shuffle(builder, value, value, [(l + distance) % LANES for l in range(LANES)]))
            distance //= 2
        target = builder.gep(_data(context, builder, sig, args, 0), [args[1]])
        if width == 1:
            row = builder.extract_element(value, ir.Constant(INT32, 0))
        else:
            lanes = ir.Constant(ir.VectorType(INT32, width), list(range(width)))
            row = builder.shuffle_vector(value, value, lanes)
        builder.store(row, builder.bitcast(target, _row(width).as_pointer())).align = 4
        return context.get_dummy_value()

    return types.void(array, index, vector, features), emit


@operation
def stream(typing: Any, array: Any, index: Any, vector: Any) -> Any:
    """Store past the caches, for what is not read again soon; array[index] must begin a cache line of 64 bytes."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = pointer_to(context, builder, sig.args[0], args[0], args[1], VECTOR)
        instruction = builder.store(args[2], pointer)
        instruction.align = 64
        one = builder.module.add_metadata([ir.Constant(INT32, 1)])
        instruction.set_metadata("nontemporal", one)
        return context.get_dummy_value()

    return types.void(array, index, vector), emit
