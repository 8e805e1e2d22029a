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
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import AbstractTemplate, ConcreteTemplate, infer_global, signature
from numba.extending import lower_builtin

from studio.kernels.simd_emit import (
    FLAGS,
    INT32,
    INTEGERS,
    LANES,
    VECTOR,
    broadcast_value,
    constant,
    f32x16,
    fma_value,
    mask16,
    operation,
    polynomial,
    shuffle,
)

# What annotations in kernels mean; numba infers the real types.
Vector: TypeAlias = Any  # f32x16
Vectors: TypeAlias = tuple[Any, ...]
Mask: TypeAlias = Any  # mask16
Array: TypeAlias = np.ndarray  # flat float32 unless said otherwise


def _register_operator(
    function: Any, result: types.Type, operand: types.Type, emit: Callable[[Any, Any, Any], Any]
) -> None:
    """Teach numba ``function(operand, operand)`` and, for vectors, the mixed forms with a scalar on either side."""
    scalars = (types.float32, types.float64) if operand is f32x16 else ()
    pairs = [(operand, operand)] + [(operand, s) for s in scalars] + [(s, operand) for s in scalars]

    class _Template(AbstractTemplate):
        metadata = {"target": "cpu"}  # noqa: RUF012 (numba's interface); tried before what numba itself has for "+"

        def generic(self, args: Any, keywords: Any) -> Any:
            return signature(result, *args) if args in pairs else None

    infer_global(function)(_Template)

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        a, b = (arg if ty is operand else broadcast_value(builder, arg) for arg, ty in zip(args, sig.args))
        return emit(builder, a, b)

    for pair in pairs:
        lower_builtin(function, *pair)(lower)


def _register_operators() -> None:
    def arithmetic(name: str) -> Callable[[Any, Any, Any], Any]:
        return lambda builder, a, b: getattr(builder, name)(a, b, flags=FLAGS)

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


@operation
def broadcast(typing: Any, scalar: Any) -> Any:
    """The scalar in every lane."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return broadcast_value(builder, args[0])

    return f32x16(scalar), emit


@operation
def lane_numbers(typing: Any) -> Any:
    """0, 1, …, 15."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return ir.Constant(VECTOR, [float(lane) for lane in range(LANES)])

    return f32x16(), emit


def _lane_constants(values: list[float], doc: str) -> Any:
    @operation
    def function(typing: Any) -> Any:
        return f32x16(), lambda context, builder, sig, args: ir.Constant(VECTOR, values)

    function.__doc__ = doc
    return function


block_columns = _lane_constants([float(k % 4) for k in range(LANES)], "x of each pixel in a block of 4 × 4.")
block_rows = _lane_constants([float(k // 4) for k in range(LANES)], "y of each pixel in a block of 4 × 4.")
sides = _lane_constants([1.0] * 8 + [-1.0] * 8, "1 in the first eight lanes, -1 in the others.")
bands = _lane_constants(
    [4.0 * k for k in range(8)] + [-4.0 * k - 3.0 for k in range(8)],
    "First row of each of eight bands of four rows; then the negated last ones.",
)


@operation
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a·b + c of vectors or scalars, rounded once where the processor can."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vectors = [arg if ty is f32x16 else broadcast_value(builder, arg) for arg, ty in zip(args, sig.args)]
        return fma_value(builder, *vectors)

    return f32x16(a, b, c), emit


def _elementwise(emit_vectors: Callable[..., Any], arity: int, doc: str) -> Any:
    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return emit_vectors(
            builder, *[a if t is f32x16 else broadcast_value(builder, a) for a, t in zip(args, sig.args)]
        )

    if arity == 1:

        @operation
        def function(typing: Any, a: Any) -> Any:
            return f32x16(a), emit
    else:

        @operation
        def function(typing: Any, a: Any, b: Any) -> Any:
            return f32x16(a, b), emit

    function.__doc__ = doc
    return function


def _llvm_unary(name: str) -> Callable[[Any, Any], Any]:
    def emit(builder: Any, x: Any) -> Any:
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(VECTOR, [VECTOR]), name)
        return builder.call(function, [x])

    return emit


def _emit_exp2(builder: Any, x: Any) -> Any:
    """2^x = 2^n · 2^f with n = round(x): adding 1.5·2^23 leaves n in the low bits; minimax polynomial for |f| ≤ 1/2."""
    shifted = builder.fadd(x, constant(12582912.0))
    fraction = builder.fsub(x, builder.fsub(shifted, constant(12582912.0)))
    power = polynomial(builder, fraction, EXP2_COEFFICIENTS)
    exponent = builder.shl(builder.bitcast(shifted, INTEGERS), ir.Constant(INTEGERS, [23] * LANES))
    return builder.bitcast(builder.add(builder.bitcast(power, INTEGERS), exponent), VECTOR)


def _emit_log2(builder: Any, x: Any) -> Any:
    """log2 of positive normal numbers: exponent, plus the odd series of atanh for a mantissa in [√½, √2)."""

    def integers(value: int) -> ir.Constant:
        return ir.Constant(INTEGERS, [value] * LANES)

    bits = builder.bitcast(x, INTEGERS)
    offset = builder.sub(bits, integers(0x3F3504F3))  # the bits of √½
    exponent = builder.ashr(offset, integers(23))
    mantissa = builder.bitcast(builder.sub(bits, builder.shl(exponent, integers(23))), VECTOR)
    s = builder.fdiv(builder.fsub(mantissa, constant(1.0)), builder.fadd(mantissa, constant(1.0)))
    square = builder.fmul(s, s)
    series = polynomial(builder, square, [2.0 / np.log(2.0) / k for k in (9, 7, 5, 3, 1)])
    return fma_value(builder, s, series, builder.sitofp(exponent, VECTOR))


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


@operation
def select(typing: Any, mask: Any, a: Any, b: Any) -> Any:
    """a where the mask is set, b elsewhere; vectors or scalars."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        a, b = (arg if ty is f32x16 else broadcast_value(builder, arg) for arg, ty in zip(args[1:], sig.args[1:]))
        return builder.select(args[0], a, b)

    return f32x16(mask, a, b), emit


@operation
def any_lane(typing: Any, mask: Any) -> Any:
    """Whether some lane of the mask is set."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = builder.bitcast(args[0], ir.IntType(LANES))
        return builder.icmp_unsigned("!=", bits, ir.Constant(ir.IntType(LANES), 0))

    return types.boolean(mask), emit


@operation
def lane_sum(typing: Any, vector: Any) -> Any:
    """Sum of the sixteen lanes, always in the same order."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = args[0]
        for distance in (8, 4, 2, 1):
            value = builder.fadd(value, shuffle(builder, value, value, [(l + distance) % LANES for l in range(LANES)]))
        return builder.extract_element(value, ir.Constant(INT32, 0))

    return types.float32(vector), emit


@operation
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
            parts += [constant(0.0)] * (len(parts) % 2)
            pairs = zip(parts[::2], parts[1::2])
            parts = [builder.fadd(shuffle(builder, a, b, first), shuffle(builder, a, b, second)) for a, b in pairs]
        return parts[0]

    return f32x16(vectors), emit
