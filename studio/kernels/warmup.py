"""Compiling the kernels of rendering and training ahead of their first use, and on two cores.

A cold compile is mostly Python's and numba's work, which one process does on one core. So a process that has to compile
one of these kernels starts a helper, which compiles them from the last to the first into the same cache, while it
compiles from the first to the last as it needs them, until they meet.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from typing import Any, get_type_hints

import numba
import numpy as np


def warm_up() -> threading.Thread:
    """Compile (or load from the cache) the kernels in a thread of their own; join it to wait.

    A first launch then spends the seconds of compiling while it still loads files, or waits for its user.
    """
    thread = threading.Thread(target=_compile_all, name="kernel warm-up", daemon=True)
    thread.start()
    return thread


def help_compiling() -> None:
    """What the helper does; it leaves when its standard input closes, because then nobody waits for it any more."""

    def leave() -> None:
        sys.stdin.read()
        os._exit(0)

    threading.Thread(target=leave, daemon=True).start()
    _compile_all(last_first=True)


def _compile_all(last_first: bool = False) -> None:
    groups = [_of_deformation, _of_rendering, _of_loss, _of_gradients, _of_learning]
    for group in reversed(groups) if last_first else groups:
        calls = list(group())
        for kernel, *arguments in reversed(calls) if last_first else calls:
            kernel.compile(tuple(numba.typeof(argument) for argument in arguments))


Call = tuple[Any, ...]  # a kernel, and arguments of the right types
_SHARE = (0, 1)  # worker, workers


def _blank(kind: type[Any], **given: Any) -> Any:
    """A NamedTuple of numbers and flat float32 arrays, except for the fields in ``given``."""
    blanks = {int: 1, float: 1.0, bool: False}
    fields = {name: blanks.get(note, np.empty(0, np.float32)) for name, note in get_type_hints(kind).items()}
    return kind(**{**fields, **given})


def _ints(kind: Any = np.int64) -> np.ndarray:
    return np.empty(0, kind)


def _of_deformation() -> Iterator[Call]:
    from studio.kernels.code_networks import _forward, _Networks
    from studio.kernels.drive_carry import Activated, Blend, Gains, Raw, carry, carry_backward
    from studio.kernels.drive_pose import Anchored, Places, Skin, place_anchors, pose_vertices

    floats = np.empty(0, np.float32)
    skin = _blank(Skin, first=_ints(), channels=_ints(np.int32))
    gains, anchors, raw, activated = _blank(Gains), _blank(Anchored), _blank(Raw), _blank(Activated)
    yield pose_vertices, *_SHARE, skin, floats, floats, floats
    yield place_anchors, *_SHARE, _blank(Places, corners=_ints(np.int32)), floats, anchors
    networks = _blank(_Networks, inputs=_ints())
    yield _forward, networks, floats, floats, floats
    blend = _blank(Blend, parts=_ints())
    yield carry, *_SHARE, gains, anchors, raw, blend, floats, activated
    yield carry_backward, *_SHARE, gains, anchors, raw, blend, floats, activated, raw, anchors, floats, floats


def _of_rendering() -> Iterator[Call]:
    from studio.kernels.composite import _composite_bytes
    from studio.kernels.splat_order import count_tiles, fill_tiles, place_tiles, sort_by_depth
    from studio.kernels.splat_project import Gaussians, Projected, Setup, project
    from studio.kernels.splat_raster import Images, rasterize

    floats, words, table = np.empty(0, np.float32), _ints(np.uint32), np.empty((0, 0), np.int64)
    order, tiles, ends, slots = _lists()
    yield project, *_SHARE, _blank(Setup), floats, _blank(Gaussians), _blank(Projected)
    yield sort_by_depth, *_SHARE, _ints(), 1, words, order, np.empty((0, 0), np.uint32)
    yield count_tiles, *_SHARE, _blank(Setup), floats, words, order, table, _ints()
    yield place_tiles, table, _ints()
    yield fill_tiles, *_SHARE, _blank(Setup), floats, words, order, table, _ints(), words, slots
    yield rasterize, *_SHARE, _blank(Setup), _ints(), np.empty((0, 0), np.float32), floats, tiles, ends, _blank(Images)
    yield _composite_bytes, *_SHARE, 1, floats, floats, floats, _ints(np.uint8)


def _lists() -> tuple[Any, ...]:
    from studio.kernels.splat_order import Order, Tiles
    from studio.kernels.splat_project import Slots
    from studio.kernels.splat_raster import Ends

    words = _ints(np.uint32)
    return (
        Order(words, _ints()),
        Tiles(_ints(), words),
        _blank(Ends, tile_ends=_ints(), block_counts=_ints(), block_ends=_ints()),
        _blank(Slots, ranges=_ints(), places=words, written=_ints(np.uint8)),
    )


def _of_loss() -> Iterator[Call]:
    from studio.kernels.photometric_cpu import Found, Images, Terms, _compare

    some = _ints(np.uint8)
    images = _blank(Images, photo=some, marked=some, matte=some)
    found = _blank(Found, sums=np.empty((0, 0), np.float64))
    yield _compare, *_SHARE, images, _blank(Terms), np.empty((0, 0), np.float32), found


def _of_gradients() -> Iterator[Call]:
    from studio.kernels.splat_project import Gaussians, Setup
    from studio.kernels.splat_project_backward import project_backward
    from studio.kernels.splat_raster import Images
    from studio.kernels.splat_raster_backward import rasterize_backward

    floats, plane = np.empty(0, np.float32), np.empty((0, 0), np.float32)
    _, tiles, ends, slots = _lists()
    images, gaussians = _blank(Images), _blank(Gaussians)
    yield rasterize_backward, *_SHARE, _blank(Setup), _ints(), plane, floats, tiles, ends, images, images, slots
    yield project_backward, *_SHARE, _blank(Setup), floats, gaussians, floats, slots, gaussians, floats, floats


def _of_learning() -> Iterator[Call]:
    from studio.kernels.adam import _Rule, _update, _update_bases
    from studio.kernels.code_networks import _backward, _Networks

    floats, rule = np.empty(0, np.float32), _blank(_Rule)
    yield _backward, _blank(_Networks, inputs=_ints()), *(floats for _ in range(5))
    yield _update, *_SHARE, np.empty((0, 5), np.int64), np.empty((0, 6))
    yield _update_bases, *_SHARE, rule, floats, _ints(), floats, floats, floats, floats
