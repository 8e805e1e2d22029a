"""LLVM building blocks of the sixteen-lane vector type; kernels use :mod:`studio.kernels.simd` and ``simd_memory``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, register_model

LANES = 16

FLOAT, INT32, INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
VECTOR = ir.VectorType(FLOAT, LANES)
INTEGERS, BYTES = ir.VectorType(INT32, LANES), ir.VectorType(ir.IntType(8), LANES)
MASK = ir.VectorType(ir.IntType(1), LANES)
FLAGS = ("nsz", "arcp", "afn")


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
        super().__init__(manager, vector, VECTOR)


@register_model(_MaskType)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, mask: Any) -> None:
        super().__init__(manager, mask, MASK)


def operation(define: Callable[..., Any]) -> Any:
    """numba's ``intrinsic``; kernels call the operation without its first parameter, the typing context."""
    return intrinsic(define)


def constant(value: float) -> ir.Constant:
    return ir.Constant(VECTOR, [float(np.float32(value))] * LANES)


def shuffle(builder: Any, a: Any, b: Any, lanes: Sequence[int]) -> Any:
    """Lanes of a (0..15) and b (16..31)."""
    return builder.shuffle_vector(a, b, ir.Constant(INTEGERS, list(lanes)))


def broadcast_value(builder: Any, scalar: Any) -> Any:
    """A scalar of any float type in every lane."""
    if scalar.type == ir.DoubleType():
        scalar = builder.fptrunc(scalar, FLOAT)
    undefined = ir.Constant(VECTOR, ir.Undefined)
    return shuffle(builder, builder.insert_element(undefined, scalar, ir.Constant(INT32, 0)), undefined, [0] * LANES)


def gather_lanes(builder: Any, vectors: Sequence[Any], lanes: Sequence[int]) -> Any:
    """Any 16 lanes of the concatenated vectors, as a chain of two-operand shuffles."""
    result, filled = vectors[0], [lane if lane < LANES else 0 for lane in lanes]
    for index, vector in enumerate(vectors[1:], start=1):
        here = [index * LANES <= lane < (index + 1) * LANES for lane in lanes]
        take = [LANES + lane % LANES if own else previous for own, lane, previous in zip(here, lanes, filled)]
        result, filled = shuffle(builder, result, vector, take), list(range(LANES))
    return result


def fma_value(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a·b + c; fused wherever the processor can (``llvm.fma`` would call a library where it cannot)."""
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(VECTOR, [VECTOR] * 3), "llvm.fmuladd.v16f32"
    )
    return builder.call(function, [a, b, c])


def polynomial(builder: Any, x: Any, coefficients: Sequence[float]) -> Any:
    """Horner's rule, highest power first."""
    value = constant(coefficients[0])
    for coefficient in coefficients[1:]:
        value = fma_value(builder, value, x, constant(coefficient))
    return value


def pointer_to(context: Any, builder: Any, array_type: Any, array: Any, index: Any, to: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), to.as_pointer())


def load_value(builder: Any, pointer: Any, number: int = 0) -> Any:
    value = builder.load(builder.gep(pointer, [ir.Constant(INT64, number)]))
    value.align = 4
    return value


def store_value(builder: Any, vector: Any, pointer: Any, number: int = 0) -> None:
    builder.store(vector, builder.gep(pointer, [ir.Constant(INT64, number)])).align = 4
