"""Sixteen float32 lanes as one numba value, so that a kernel says which vector instructions it wants.

Inside a kernel an ``f32x16`` behaves like a number: ``+ - * /``, comparisons (which give a ``mask16``), ``&``, ``|``
and ``~`` on masks; the other operand may be a scalar. The values are LLVM ``<16 x float>``, which LLVM lowers to one
AVX-512 register, two AVX2 or four NEON ones: no compiler is needed on the user's machine and no instruction set is
required.

Two rules keep a forward pass and its backward pass bit-identical: nothing is contracted or reassociated behind the
author's back (a fused multiply-add is written :func:`fma`), and NaN is honoured: comparisons with it are false.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

LANES = 16

# What annotations in kernels mean; numba infers the real types.
Vector: TypeAlias = Any  # f32x16
Vectors: TypeAlias = tuple[Any, ...]
Mask: TypeAlias = Any  # mask16
Array: TypeAlias = np.ndarray  # flat float32 unless said otherwise

_FLOAT, _INT32, _INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(_FLOAT, LANES)
_INTEGERS = ir.VectorType(_INT32, LANES)
_MASK = ir.VectorType(ir.IntType(1), LANES)
_FLAGS = ("nsz", "arcp", "afn")


class _VectorType(types.Type):
    def __init__(self) -> None:
        super().__init__(name="f32x16")


class _MaskType(types.Type):
    def __init__(self) -> None:
        super().__init__(name="mask16")


f32x16, mask16 = _VectorType(), _MaskType()


@register_model(_VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Any) -> None:
        super().__init__(manager, vector, _VECTOR)


@register_model(_MaskType)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, mask: Any) -> None:
        super().__init__(manager, mask, _MASK)


def _operation(define: Callable[..., Any]) -> Any:
    """numba's ``intrinsic``; kernels call the operation without its first parameter, the typing context."""
    return intrinsic(define)


# ---------------------------------------------------------------------------------------------- building blocks


def _constant(value: float) -> ir.Constant:
    return ir.Constant(_VECTOR, [float(np.float32(value))] * LANES)


def _shuffle(builder: Any, a: Any, b: Any, lanes: Sequence[int]) -> Any:
    """Lanes of a (0..15) and b (16..31)."""
    return builder.shuffle_vector(a, b, ir.Constant(_INTEGERS, list(lanes)))


def _broadcast(builder: Any, scalar: Any) -> Any:
    """A scalar of any float type in every lane."""
    if scalar.type == ir.DoubleType():
        scalar = builder.fptrunc(scalar, _FLOAT)
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    return _shuffle(builder, builder.insert_element(undefined, scalar, ir.Constant(_INT32, 0)), undefined, [0] * LANES)


def _gather_lanes(builder: Any, vectors: Sequence[Any], lanes: Sequence[int]) -> Any:
    """Any 16 lanes of the concatenated vectors, as a chain of two-operand shuffles."""
    result, filled = vectors[0], [lane if lane < LANES else 0 for lane in lanes]
    for index, vector in enumerate(vectors[1:], start=1):
        here = [index * LANES <= lane < (index + 1) * LANES for lane in lanes]
        take = [LANES + lane % LANES if own else previous for own, lane, previous in zip(here, lanes, filled)]
        result, filled = _shuffle(builder, result, vector, take), list(range(LANES))
    return result


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a·b + c; fused wherever the processor can (``llvm.fma`` would call a library where it cannot)."""
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), "llvm.fmuladd.v16f32"
    )
    return builder.call(function, [a, b, c])


def _polynomial(builder: Any, x: Any, coefficients: Sequence[float]) -> Any:
    """Horner's rule, highest power first."""
    value = _constant(coefficients[0])
    for coefficient in coefficients[1:]:
        value = _fma(builder, value, x, _constant(coefficient))
    return value


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any, to: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), to.as_pointer())


def _load(builder: Any, pointer: Any, number: int = 0) -> Any:
    value = builder.load(builder.gep(pointer, [ir.Constant(_INT64, number)]))
    value.align = 4
    return value


def _store(builder: Any, vector: Any, pointer: Any, number: int = 0) -> None:
    builder.store(vector, builder.gep(pointer, [ir.Constant(_INT64, number)])).align = 4


# ------------------------------------------------------------------------------------------------------ operators


def _register_operator(
    function: Any, result: types.Type, operand: types.Type, emit: Callable[[Any, Any, Any], Any]
) -> None:
    """Teach numba ``function(operand, operand)`` and, for vectors, the mixed forms with a scalar on either side."""
    scalars = (types.float32, types.float64) if operand is f32x16 else ()
    pairs = [(operand, operand)] + [(operand, s) for s in scalars] + [(s, operand) for s in scalars]

    class _Template(ConcreteTemplate):
        cases = [signature(result, a, b) for a, b in pairs]  # noqa: RUF012 (numba's interface)

    infer_global(function)(_Template)

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        a, b = (arg if ty is operand else _broadcast(builder, arg) for arg, ty in zip(args, sig.args))
        return emit(builder, a, b)

    for pair in pairs:
        lower_builtin(function, *pair)(lower)


def _register_operators() -> None:
    def arithmetic(name: str) -> Callable[[Any, Any, Any], Any]:
        return lambda builder, a, b: getattr(builder, name)(a, b, flags=_FLAGS)

    def comparison(symbol: str) -> Callable[[Any, Any, Any], Any]:
        return lambda builder, a, b: builder.fcmp_ordered(symbol, a, b)

    def logic(name: str) -> Callable[[Any, Any, Any], Any]:
        return lambda builder, a, b: getattr(builder, name)(a, b)

    for function, name in (
        (operator.add, "fadd"),
        (operator.sub, "fsub"),
        (operator.mul, "fmul"),
        (operator.truediv, "fdiv"),
    ):
        _register_operator(function, f32x16, f32x16, arithmetic(name))
    for function, symbol in ((operator.lt, "<"), (operator.le, "<="), (operator.gt, ">"), (operator.ge, ">=")):
        _register_operator(function, mask16, f32x16, comparison(symbol))
    for function, name in ((operator.and_, "and_"), (operator.or_, "or_")):
        _register_operator(function, mask16, mask16, logic(name))


_register_operators()


@infer_global(operator.neg)
class _NegateTemplate(ConcreteTemplate):
    cases = [signature(f32x16, f32x16)]  # noqa: RUF012 (numba's interface)


@lower_builtin(operator.neg, f32x16)
def _negate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.fneg(args[0])


@infer_global(operator.invert)
class _InvertTemplate(ConcreteTemplate):
    cases = [signature(mask16, mask16)]  # noqa: RUF012 (numba's interface)


@lower_builtin(operator.invert, mask16)
def _invert(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.not_(args[0])


# ------------------------------------------------------------------------------------------------ values and maths


@_operation
def broadcast(typing: Any, scalar: Any) -> Any:
    """The scalar in every lane."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _broadcast(builder, args[0])

    return f32x16(scalar), emit


@_operation
def lane_numbers(typing: Any) -> Any:
    """0, 1, …, 15."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return ir.Constant(_VECTOR, [float(lane) for lane in range(LANES)])

    return f32x16(), emit


@_operation
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a·b + c of vectors or scalars, rounded once where the processor can."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vectors = [arg if ty is f32x16 else _broadcast(builder, arg) for arg, ty in zip(args, sig.args)]
        return _fma(builder, *vectors)

    return f32x16(a, b, c), emit


def _elementwise(emit_vectors: Callable[..., Any], arity: int, doc: str) -> Any:
    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return emit_vectors(builder, *[a if t is f32x16 else _broadcast(builder, a) for a, t in zip(args, sig.args)])

    if arity == 1:

        @_operation
        def function(typing: Any, a: Any) -> Any:
            return f32x16(a), emit
    else:

        @_operation
        def function(typing: Any, a: Any, b: Any) -> Any:
            return f32x16(a, b), emit

    function.__doc__ = doc
    return function


def _llvm_unary(name: str) -> Callable[[Any, Any], Any]:
    def emit(builder: Any, x: Any) -> Any:
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_VECTOR, [_VECTOR]), name)
        return builder.call(function, [x])

    return emit


def _emit_exp2(builder: Any, x: Any) -> Any:
    """2^x = 2^n · 2^f with n = round(x): adding 1.5·2^23 leaves n in the low bits; minimax polynomial for |f| ≤ 1/2."""
    shifted = builder.fadd(x, _constant(12582912.0))
    fraction = builder.fsub(x, builder.fsub(shifted, _constant(12582912.0)))
    power = _polynomial(builder, fraction, EXP2_COEFFICIENTS)
    exponent = builder.shl(builder.bitcast(shifted, _INTEGERS), ir.Constant(_INTEGERS, [23] * LANES))
    return builder.bitcast(builder.add(builder.bitcast(power, _INTEGERS), exponent), _VECTOR)


def _emit_log2(builder: Any, x: Any) -> Any:
    """log2 of positive normal numbers: exponent, plus the odd series of atanh for a mantissa in [√½, √2)."""

    def integers(value: int) -> ir.Constant:
        return ir.Constant(_INTEGERS, [value] * LANES)

    bits = builder.bitcast(x, _INTEGERS)
    offset = builder.sub(bits, integers(0x3F3504F3))  # the bits of √½
    exponent = builder.ashr(offset, integers(23))
    mantissa = builder.bitcast(builder.sub(bits, builder.shl(exponent, integers(23))), _VECTOR)
    s = builder.fdiv(builder.fsub(mantissa, _constant(1.0)), builder.fadd(mantissa, _constant(1.0)))
    square = builder.fmul(s, s)
    series = _polynomial(builder, square, [2.0 / np.log(2.0) / k for k in (9, 7, 5, 3, 1)])
    return _fma(builder, s, series, builder.sitofp(exponent, _VECTOR))


# Relative error 7.5e-8 on [-1/2, 1/2]; found by Remez exchange on p(x) / 2^x - 1.
EXP2_COEFFICIENTS = (1.327647199e-3, 9.675541334e-3, 5.550713273e-2, 0.2402211972, 0.6931469671, 1.000000072)

sqrt = _elementwise(_llvm_unary("llvm.sqrt.v16f32"), 1, "Square root; NaN below zero.")
floor = _elementwise(_llvm_unary("llvm.floor.v16f32"), 1, "Largest whole number not above.")
absolute = _elementwise(_llvm_unary("llvm.fabs.v16f32"), 1, "Magnitude.")
exp2 = _elementwise(_emit_exp2, 1, "2^x for -126 < x < 128, relative error 2e-7.")
log2 = _elementwise(_emit_log2, 1, "log2(x) for normal x > 0, absolute error 2e-7 near 1.")
minimum = _elementwise(
    lambda builder, a, b: builder.select(builder.fcmp_ordered("<", a, b), a, b), 2, "Smaller; b if a is NaN."
)
maximum = _elementwise(
    lambda builder, a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b), 2, "Larger; b if a is NaN."
)


@_operation
def select(typing: Any, mask: Any, a: Any, b: Any) -> Any:
    """a where the mask is set, b elsewhere; vectors or scalars."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        a, b = (arg if ty is f32x16 else _broadcast(builder, arg) for arg, ty in zip(args[1:], sig.args[1:]))
        return builder.select(args[0], a, b)

    return f32x16(mask, a, b), emit


@_operation
def any_lane(typing: Any, mask: Any) -> Any:
    """Whether some lane of the mask is set."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = builder.bitcast(args[0], ir.IntType(LANES))
        return builder.icmp_unsigned("!=", bits, ir.Constant(ir.IntType(LANES), 0))

    return types.boolean(mask), emit


@_operation
def lane_sum(typing: Any, vector: Any) -> Any:
    """Sum of the sixteen lanes, always in the same order."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = args[0]
        for distance in (8, 4, 2, 1):
            value = builder.fadd(value, _shuffle(builder, value, value, [(l + distance) % LANES for l in range(LANES)]))
        return builder.extract_element(value, ir.Constant(_INT32, 0))

    return types.float32(vector), emit


# ----------------------------------------------------------------------------------------------------------- memory


@_operation
def load(typing: Any, array: Any, index: Any) -> Any:
    """array[index : index + 16] of a flat float32 array; unaligned, unchecked."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _load(builder, _pointer(context, builder, sig.args[0], args[0], args[1], _VECTOR))

    return f32x16(array, index), emit


@_operation
def store(typing: Any, array: Any, index: Any, vector: Any) -> Any:
    """array[index : index + 16] = vector."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _store(builder, args[2], _pointer(context, builder, sig.args[0], args[0], args[1], _VECTOR))
        return context.get_dummy_value()

    return types.void(array, index, vector), emit


def _interleaved_load(arity: int) -> Any:
    @_operation
    def function(typing: Any, array: Any, index: Any) -> Any:
        def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            pointer = _pointer(context, builder, sig.args[0], args[0], args[1], _VECTOR)
            memory = [_load(builder, pointer, number) for number in range(arity)]
            columns = [_gather_lanes(builder, memory, range(column, arity * LANES, arity)) for column in range(arity)]
            return context.make_tuple(builder, sig.return_type, columns)

        return types.UniTuple(f32x16, arity)(array, index), emit

    function.__doc__ = f"The {arity} columns of 16 consecutive rows of {arity} floats, starting at array[index]."
    return function


def _emit_interleaved_store(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    pointer = _pointer(context, builder, sig.args[0], args[0], args[1], _VECTOR)
    columns = args[2:]
    for number in range(len(columns)):
        places = range(number * LANES, (number + 1) * LANES)
        lanes = [(place % len(columns)) * LANES + place // len(columns) for place in places]
        _store(builder, _gather_lanes(builder, columns, lanes), pointer, number)
    return context.get_dummy_value()


@_operation
def store2(typing: Any, array: Any, index: Any, x: Any, y: Any) -> Any:
    """Write two columns of 16 consecutive rows of 2 floats."""
    return types.void(array, index, x, y), _emit_interleaved_store


@_operation
def store3(typing: Any, array: Any, index: Any, x: Any, y: Any, z: Any) -> Any:
    """Write three columns of 16 consecutive rows of 3 floats."""
    return types.void(array, index, x, y, z), _emit_interleaved_store


@_operation
def store4(typing: Any, array: Any, index: Any, w: Any, x: Any, y: Any, z: Any) -> Any:
    """Write four columns of 16 consecutive rows of 4 floats."""
    return types.void(array, index, w, x, y, z), _emit_interleaved_store


load3, load4 = _interleaved_load(3), _interleaved_load(4)


def _transposed(builder: Any, rows: Sequence[Any]) -> list[Any]:
    """The 16 columns of 16 rows: swap blocks of 1, 2, 4 and 8 lanes between row pairs at the same distance."""
    rows = list(rows)
    for block in (1, 2, 4, 8):
        low = [lane if not lane & block else LANES + lane - block for lane in range(LANES)]
        high = [lane + block if not lane & block else LANES + lane for lane in range(LANES)]
        for index in (i for i in range(LANES) if not i & block):
            a, b = rows[index], rows[index + block]
            rows[index], rows[index + block] = _shuffle(builder, a, b, low), _shuffle(builder, a, b, high)
    return rows


@_operation
def load_columns(typing: Any, array: Any, index: Any) -> Any:
    """The 16 columns of a 16 × 16 block of floats."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, sig.args[0], args[0], args[1], _VECTOR)
        columns = _transposed(builder, [_load(builder, pointer, row) for row in range(LANES)])
        return context.make_tuple(builder, sig.return_type, columns)

    return types.UniTuple(f32x16, LANES)(array, index), emit


@_operation
def store_columns(typing: Any, array: Any, index: Any, columns: Any) -> Any:
    """Write a tuple of 16 columns as a 16 × 16 block of floats."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, sig.args[0], args[0], args[1], _VECTOR)
        for row, vector in enumerate(_transposed(builder, cgutils.unpack_tuple(builder, args[2]))):
            _store(builder, vector, pointer, row)
        return context.get_dummy_value()

    return types.void(array, index, columns), emit


@_operation
def lane_sums(typing: Any, vectors: Any) -> Any:
    """A vector whose lane k is the sum of the lanes of ``vectors[k]``; a tuple of at most 16, zeros after them.

    A tree of pairwise merges: 1 + 1/2 + 1/4 + 1/8 shuffled additions per vector instead of 4.
    """
    merges = (  # which lanes of (a, b) to add so that both vectors' partial sums fit into one
        [[4 * g + lane for g in range(4) for lane in (k, LANES + k, k + 1, LANES + k + 1)] for k in (0, 2)],
        [[4 * g + lane for g in range(4) for lane in (k, k + 1, LANES + k, LANES + k + 1)] for k in (0, 2)],
        [[lane + k for lane in (0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27)] for k in (0, 4)],
        [[lane + k for lane in (0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27)] for k in (0, 4)],
    )

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        parts = cgutils.unpack_tuple(builder, args[0])
        for first, second in merges:
            parts += [_constant(0.0)] * (len(parts) % 2)
            pairs = zip(parts[::2], parts[1::2])
            parts = [builder.fadd(_shuffle(builder, a, b, first), _shuffle(builder, a, b, second)) for a, b in pairs]
        return parts[0]

    return f32x16(vectors), emit


@_operation
def prefetch(typing: Any, array: Any, index: Any) -> Any:
    """Ask for the cache line of array[index]."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [byte, _INT32, _INT32, _INT32]), "llvm.prefetch.p0"
        )
        pointer = _pointer(context, builder, sig.args[0], args[0], args[1], ir.IntType(8))
        builder.call(function, [pointer, *(ir.Constant(_INT32, flag) for flag in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, index), emit


# ---------------------------------------------------------------------------------------------------------- integers


@_operation
def as_bits(typing: Any, vector: Any, other: Any) -> Any:
    """Two whole numbers 0 ≤ v < 65536 a lane, packed as ``vector + 65536·other`` into the bits of an f32x16."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        low, high = (builder.fptoui(arg, _INTEGERS) for arg in args)
        packed = builder.or_(low, builder.shl(high, ir.Constant(_INTEGERS, [16] * LANES)))
        return builder.bitcast(packed, _VECTOR)

    return f32x16(vector, other), emit


@_operation
def fetch_add(typing: Any, array: Any, index: Any) -> Any:
    """Add one to array[index] (int64) atomically and return what was there."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, sig.args[0], args[0], args[1], _INT64)
        return builder.atomic_rmw("add", pointer, ir.Constant(_INT64, 1), "monotonic")

    return types.int64(array, index), emit


@_operation
def count_trailing_zeros(typing: Any, bits: Any) -> Any:
    """Index of the lowest set bit of a uint64 that is not 0."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_INT64, [_INT64, ir.IntType(1)]), "llvm.cttz.i64"
        )
        return builder.call(function, [args[0], ir.Constant(ir.IntType(1), 1)])

    return types.int64(types.uint64), emit
