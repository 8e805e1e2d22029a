"""The window of SSIM, 11 × 11 pixels, as vector operations: down the columns of fifteen rows, and along a row.

Rows of interleaved colours lie ``stride`` floats apart in groups of ``GROUP``, with zeros on both sides; of three
groups, wherever each of them lies, the middle one's windows are summed. Each number is loaded once for all of the
windows that it is in, and the weights are constants of the machine code.

The window is a Gaussian of σ = 1.5 pixels, as in Wang et al., 2004.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba.core import types

from studio.kernels.simd_emit import (
    FLAGS,
    INT64,
    VECTOR,
    constant,
    f32x16,
    fma_value,
    load_value,
    operation,
    pointer_to,
    store_value,
)

RADIUS = 5
GROUP = 5  # rows that are filtered at once: as many as the window reaches, so that three groups hold all they need
_TAPS = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / 1.5) ** 2)
WINDOW = _TAPS / _TAPS.sum()  # [11] float64


def _column_sums(builder: Any, planes_of_row: Callable[[int], Sequence[Any]]) -> list[list[Any]]:
    """For each of the middle GROUP rows the window's sum of each plane; ``planes_of_row`` loads one of 3 GROUP rows."""
    sums: list[list[Any]] = [[] for _ in range(GROUP)]
    for row in range(3 * GROUP):
        planes = planes_of_row(row)
        for middle in range(GROUP):
            tap = row - middle
            if tap == 0:
                weight = constant(WINDOW[0])
                sums[middle] = [builder.fmul(weight, plane, flags=FLAGS) for plane in planes]
            elif 0 < tap <= 2 * RADIUS:
                weight = constant(WINDOW[tap])
                sums[middle] = [fma_value(builder, weight, plane, old) for plane, old in zip(planes, sums[middle])]
    return sums


class _Rows:
    """Loads from three groups of rows of a flat array, at one column."""

    def __init__(self, context: Any, builder: Any, array_type: Any, array: Any, places: Sequence[Any], stride: Any):
        self._builder, self._rows = builder, []
        for place in places:
            for _ in range(GROUP):
                self._rows.append(pointer_to(context, builder, array_type, array, place, VECTOR))
                place = builder.add(place, stride)

    def __getitem__(self, row: int) -> Any:
        return load_value(self._builder, self._rows[row])


def _store_sums(context: Any, builder: Any, sums: Any, array_type: Any, array: Any, place: Any, stride: Any) -> None:
    """Plane after plane, GROUP rows of each."""
    for plane in range(len(sums[0])):
        for row in range(GROUP):
            store_value(builder, sums[row][plane], pointer_to(context, builder, array_type, array, place, VECTOR))
            place = builder.add(place, stride)


@operation
def moments_of_columns(
    typing: Any, images: Any, plane: Any, above: Any, here: Any, below: Any, stride: Any, out: Any, to: Any
) -> Any:
    """Columns' sums of a, b, a² + b² and a·b for the rows of the group ``here``, sixteen columns, written to ``out``.

    ``images`` holds a and, ``plane`` floats after it, b; ``above``, ``here`` and ``below`` are where the column is in
    the first rows of three groups. ``out`` gets the four sums ``GROUP`` rows each, ``stride`` apart, from ``to`` on.
    """

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        images, plane, *places, stride, out, to = args
        a = _Rows(context, builder, sig.args[0], images, places, stride)
        b = _Rows(context, builder, sig.args[0], images, [builder.add(place, plane) for place in places], stride)

        def planes_of_row(row: int) -> Sequence[Any]:
            x, y = a[row], b[row]
            squares = fma_value(builder, x, x, builder.fmul(y, y, flags=FLAGS))
            return x, y, squares, builder.fmul(x, y, flags=FLAGS)

        _store_sums(context, builder, _column_sums(builder, planes_of_row), sig.args[6], out, to, stride)
        return context.get_dummy_value()

    places = (types.int64,) * 5
    return types.void(images, *places, out, types.int64), emit


@operation
def sums_of_columns(
    typing: Any, maps: Any, plane: Any, above: Any, here: Any, below: Any, stride: Any, out: Any, to: Any
) -> Any:
    """The same of three planes as they are, ``plane`` floats apart."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        maps, plane, *places, stride, out, to = args
        rows = []
        for _ in range(3):
            rows.append(_Rows(context, builder, sig.args[0], maps, places, stride))
            places = [builder.add(place, plane) for place in places]
        sums = _column_sums(builder, lambda row: [kind[row] for kind in rows])
        _store_sums(context, builder, sums, sig.args[6], out, to, stride)
        return context.get_dummy_value()

    places = (types.int64,) * 5
    return types.void(maps, *places, out, types.int64), emit


@operation
def sum_of_row(typing: Any, row: Any, at: Any) -> Any:
    """The window's sum along an interleaved row, sixteen values from ``at`` on."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def value(pixel: int) -> Any:
            place = builder.add(args[1], INT64(3 * pixel))
            return load_value(builder, pointer_to(context, builder, sig.args[0], args[0], place, VECTOR))

        total = builder.fmul(constant(WINDOW[RADIUS]), value(0), flags=FLAGS)
        for distance in range(1, RADIUS + 1):
            pair = builder.fadd(value(-distance), value(distance), flags=FLAGS)
            total = fma_value(builder, constant(WINDOW[RADIUS + distance]), pair, total)
        return total

    return f32x16(row, types.int64), emit
