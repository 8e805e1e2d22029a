"""Triples as tuples, for use inside compiled kernels: no arrays are made, so nothing is counted or freed."""

from __future__ import annotations

from typing import Any

import numpy as np

from studio.kernels.compiled import inlined

Triple = Any  # three numbers of one type; numba infers which


@inlined
def row(array: Any, index: Any) -> Triple:
    """Row ``index`` of an array [N, 3]."""
    return array[index, 0], array[index, 1], array[index, 2]


@inlined
def dot(a: Triple, b: Triple) -> Any:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@inlined
def cross(a: Triple, b: Triple) -> Triple:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@inlined
def minus(a: Triple, b: Triple) -> Triple:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


@inlined
def unit(a: Triple) -> Triple:
    """``a`` with length 1 (float32); zero stays zero."""
    scale = np.float32(1.0) / max(np.sqrt(dot(a, a)), np.float32(1e-12))
    return a[0] * scale, a[1] * scale, a[2] * scale


@inlined
def mix(weights: Triple, a: Triple, b: Triple, c: Triple) -> Triple:
    """The weighted sum of three triples."""
    return (
        weights[0] * a[0] + weights[1] * b[0] + weights[2] * c[0],
        weights[0] * a[1] + weights[1] * b[1] + weights[2] * c[1],
        weights[0] * a[2] + weights[1] * b[2] + weights[2] * c[2],
    )
