"""Figures of the report as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

from capture.checking.finding import Bars, Figure, Lines, Matrix, Points, Strip

_INK, _GRID, _GOOD, _WRONG, _BLUE = "#5b6675", "#e6eaee", "#3d9b6d", "#c8372d", "#2f6fb5"
_COLOURS = (
    "#2f6fb5",
    "#c8372d",
    "#3d9b6d",
    "#9a6700",
    "#7b4fb3",
    "#00838f",
    "#ad1457",
    "#5d4037",
    "#558b2f",
    "#455a64",
)
_STATES = ("#d7ece0", "#c8372d", "#7b4fb3", "#1d2430", "#c98a1b")
_WIDTH = 960


def drawing(figure: Figure | object) -> str:
    """The SVG of a figure."""
    if isinstance(figure, Matrix):
        return _matrix(figure)
    if isinstance(figure, Bars):
        return _bars(figure)
    if isinstance(figure, Lines):
        return _lines(figure)
    if isinstance(figure, Points):
        return _points(figure)
    if isinstance(figure, Strip):
        return _strip(figure)
    raise TypeError(f"no drawing for {type(figure).__name__}")


def _svg(width: float, height: float, parts: Iterable[str]) -> str:
    return f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img">{"".join(parts)}</svg>'


def _text(x: float, y: float, text: str, anchor: str = "start", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(text)}</text>'


def _rect(x: float, y: float, w: float, h: float, fill: str, title: str = "") -> str:
    inner = f"<title>{escape(title)}</title>" if title else ""
    size = f'width="{max(w, 0.5):.1f}" height="{max(h, 0.5):.1f}"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{fill}">{inner}</rect>'


def _colour(index: int) -> str:
    return _COLOURS[index % len(_COLOURS)]


def _heat(share: float) -> str:
    """From pale green over amber (at the limit) to red."""
    stops = np.array([(222, 241, 230), (250, 214, 130), (200, 55, 45)], float)
    at = float(np.clip(share, 0, 2))
    low = min(int(at), 1)
    r, g, b = stops[low] + (at - low) * (stops[low + 1] - stops[low])
    return f"rgb({r:.0f},{g:.0f},{b:.0f})"


def _matrix(figure: Matrix) -> str:
    count = len(figure.names)
    cell = float(np.clip(560 / max(count, 1), 7, 44))
    left = 12 + 7 * max(len(name) for name in figure.names)
    parts = []
    for row in range(count):
        if cell >= 11:
            parts.append(_text(left - 6, 22 + (row + 0.65) * cell, figure.names[row], "end"))
            parts.append(_text(left + (row + 0.5) * cell, 14, figure.names[row], "middle"))
        for column in range(count):
            value = figure.values[row, column]
            x, y = left + column * cell, 22 + row * cell
            fill = "#f1f3f5" if not np.isfinite(value) else _heat(value / figure.limit)
            said = f"{figure.names[row]} and {figure.names[column]}: {value:.2f} {figure.unit}"
            parts.append(_rect(x, y, cell - 1, cell - 1, fill, said if np.isfinite(value) else ""))
            if cell >= 26 and np.isfinite(value):
                parts.append(_text(x + cell / 2, y + cell * 0.62, f"{value:.1f}", "middle"))
    parts.append(_text(left, 38 + count * cell, f"{figure.unit}; amber at {figure.limit:g}, red beyond"))
    return _svg(left + count * cell + 120, 46 + count * cell, parts)


def _bars(figure: Bars) -> str:
    values = np.asarray(figure.values, float)
    known = values[np.isfinite(values)]
    ends = [v for v in (figure.low, figure.high) if np.isfinite(v)]
    low, high = min([0.0, *known, *ends]), max([0.0, *known, *ends])
    span = max(high - low, 1e-9)
    row, left, width = 17.0, 12 + 6.6 * max(len(str(name)) for name in figure.names), 520.0
    bottom = 8 + row * len(values)

    def at(value: float) -> float:
        return left + width * (value - low) / span

    parts = [
        f'<line x1="{at(e):.1f}" x2="{at(e):.1f}" y1="2" y2="{bottom:.1f}" stroke="#c98a1b" stroke-dasharray="4 3"/>'
        for e in ends
    ]
    for index, (name, value) in enumerate(zip(figure.names, values, strict=True)):
        y = 6 + index * row
        parts.append(_text(left - 6, y + 11, str(name), "end"))
        if not np.isfinite(value):
            parts.append(_text(at(0) + 4, y + 11, "not measured"))
            continue
        right = figure.low <= value <= figure.high
        parts.append(_rect(min(at(0), at(value)), y + 2, abs(at(value) - at(0)), row - 6, _GOOD if right else _WRONG))
        parts.append(_text(max(at(0), at(value)) + 5, y + 11, f"{value:.2f} {figure.unit}".strip()))
    return _svg(left + width + 110, bottom + 6, parts)


def _axes(
    x: tuple[float, float], y: tuple[float, float], box: tuple[float, float, float, float], labels: Sequence[str]
) -> list[str]:
    left, top, width, height = box
    parts = [_rect(left, top, width, height, "#fafbfc")]
    for value in round_numbers(*x):
        gx = left + width * (value - x[0]) / (x[1] - x[0])
        parts.append(f'<line x1="{gx:.1f}" x2="{gx:.1f}" y1="{top}" y2="{top + height}" stroke="{_GRID}"/>')
        parts.append(_text(gx, top + height + 15, f"{value:.6g}", "middle"))
    for value in round_numbers(*y):
        gy = top + height * (1 - (value - y[0]) / (y[1] - y[0]))
        parts.append(f'<line x1="{left}" x2="{left + width}" y1="{gy:.1f}" y2="{gy:.1f}" stroke="{_GRID}"/>')
        parts.append(_text(left - 6, gy + 4, f"{value:.6g}", "end"))
    parts.append(_text(left + width / 2, top + height + 31, labels[0], "middle"))
    if labels[1:]:
        parts.append(_text(14, top + height / 2, labels[1], "middle", f'transform="rotate(-90 14 {top + height / 2})"'))
    return parts


def round_numbers(low: float, high: float) -> list[float]:
    """Some multiples of 1, 2 or 5 times a power of ten within a range, for an axis."""
    about = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(about))
    step = min((1 * power, 2 * power, 5 * power, 10 * power), key=lambda one: abs(one - about))
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _range(values: np.ndarray) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if not len(known):
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    level = high - low <= 1e-6 * max(abs(low), abs(high))
    pad = max(0.5, 1e-3 * abs(high)) if level else 0.06 * (high - low)
    return low - pad, high + pad


def _legend(names: Sequence[str], left: float, top: float) -> list[str]:
    parts = []
    for index, name in enumerate(names[:18]):
        y = top + 16 * index
        parts += [_rect(left, y, 10, 10, _COLOURS[index % len(_COLOURS)]), _text(left + 16, y + 9, name)]
    return parts


def _lines(figure: Lines) -> str:
    xs, ys = _range(figure.x), _range(np.concatenate([curve for _, curve in figure.curves]))
    box = (64.0, 10.0, 600.0, 240.0)
    parts = _axes(xs, ys, box, [figure.x_label])
    for index, (_, curve) in enumerate(figure.curves):
        known = np.isfinite(curve)
        px = box[0] + box[2] * (figure.x[known] - xs[0]) / (xs[1] - xs[0])
        py = box[1] + box[3] * (1 - (curve[known] - ys[0]) / (ys[1] - ys[0]))
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(px, py, strict=True))
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{_COLOURS[index % len(_COLOURS)]}" stroke-width="1.6"/>'
        )
    parts += _legend([name for name, _ in figure.curves], box[0] + box[2] + 18, box[1])
    return _svg(_WIDTH - 130, 300, parts)


def _points(figure: Points) -> str:
    every = np.concatenate([points for _, points in figure.groups])
    xs, ys = _range(every[:, 0]), _range(every[:, 1])
    box = (64.0, 10.0, 600.0, 300.0)
    parts = _axes(xs, ys, box, [figure.x_label, figure.y_label])
    for index, (_, points) in enumerate(figure.groups):
        for x, y in points[:: max(len(points) // 200, 1)]:
            px = box[0] + box[2] * (x - xs[0]) / (xs[1] - xs[0])
            py = box[1] + box[3] * (1 - (y - ys[0]) / (ys[1] - ys[0]))
            parts.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="2.6" fill="{_colour(index)}" fill-opacity="0.65"/>')
    parts += _legend([name for name, _ in figure.groups], box[0] + box[2] + 18, box[1])
    return _svg(_WIDTH - 130, 350, parts)


def _strip(figure: Strip) -> str:
    cameras, frames = figure.states.shape
    left, row = 12 + 6.6 * max(len(name) for name in figure.names), 13.0 if cameras <= 24 else 8.0
    width = 760.0 / max(frames, 1)
    parts = []
    for camera in range(cameras):
        y = 4 + camera * row
        if row > 9:
            parts.append(_text(left - 6, y + 9, figure.names[camera], "end"))
        edges = np.flatnonzero(np.diff(figure.states[camera])) + 1
        for start, end in zip([0, *edges], [*edges, frames], strict=True):
            state = int(figure.states[camera, start])
            parts.append(_rect(left + start * width, y, (end - start) * width, row - 2, _STATES[state]))
    y = 10 + cameras * row
    for index, name in enumerate(figure.legend):
        parts += [_rect(left + 110 * index, y, 10, 10, _STATES[index]), _text(left + 110 * index + 15, y + 9, name)]
    return _svg(left + 780, y + 18, parts)
