"""Tables over evaluations: Markdown to read, LaTeX to publish, both naming the protocol."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from studio.errors import StudioError

_COLUMNS = ("full", "foreground", "face", "mouth", "eyes", "hair", "torso")
_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def read_metrics(path: Path) -> dict[str, Any]:
    """The metrics of an evaluation folder, or of the only one in a run's ``eval``.

    Raises:
        StudioError: there is no such folder, no or several evaluations in it, or it is damaged.
    """
    if not path.is_dir():
        raise StudioError(f"no such folder: {path}", expected="an evaluation or a run", next="check the path")
    found = [path / "metrics.json"] if (path / "metrics.json").is_file() else []
    found = found or sorted((path / "eval").glob("*/metrics.json")) or sorted(path.glob("*/metrics.json"))
    if not found:
        raise StudioError(f"no evaluation in {path}", expected="metrics.json", next=f"studio eval run={path}")
    if len(found) > 1:
        names = ", ".join(item.parent.name for item in found)
        raise StudioError(f"several evaluations in {path}", got=names, next="name one of the folders")
    try:
        metrics: dict[str, Any] = json.loads(found[0].read_text(encoding="utf-8"))
        _terms(metrics)
        for value in (*(_psnr(metrics, name) for name in _COLUMNS), *_others(metrics)):
            if value is not None and (not isinstance(value, int | float) or math.isnan(value)):
                raise TypeError(f"{value!r} is no number")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StudioError(f"damaged evaluation: {found[0]}", got=repr(error), next="evaluate again") from error
    return metrics


def _terms(metrics: Mapping[str, Any]) -> str:
    """What two evaluations must have in common to be compared, in words."""
    width, height = metrics["resolution"]
    return f"{metrics['protocol']}; {metrics['split']}, {metrics['frames']} photos of {width}×{height}"


def compare(named: Mapping[str, Mapping[str, Any]]) -> tuple[str, str]:
    """(Markdown, LaTeX) of evaluations by name; the best of a column is bold.

    Evaluations of different protocols, splits or resolutions do not compare: each gets a note, and nothing is bold.
    """
    terms = {name: _terms(metrics) for name, metrics in named.items()}
    alike = len(set(terms.values())) == 1
    columns = [name for name in _COLUMNS if any(_psnr(m, name) is not None for m in named.values())]
    headers = ["run", *(f"{name}, dB" for name in columns), "SSIM", "MS-SSIM", "flicker"]
    rows = [[name, *(_psnr(m, c) for c in columns), *_others(m)] for name, m in named.items()]
    best = _best(rows) if alike else set()
    markdown = [_line(headers), _line(["---", *["---:"] * (len(headers) - 1)])]
    markdown += [_line([_cell(v, (r, c) in best, "**") for c, v in enumerate(row)]) for r, row in enumerate(rows)]
    notes = (
        [f"Protocol: {next(iter(terms.values()))}."]
        if alike
        else [f"{name}: {told}. Not comparable." for name, told in terms.items()]
    )
    latex = ["\\begin{tabular}{l" + "r" * (len(headers) - 1) + "}", "\\toprule"]
    latex.append(" & ".join(map(_escaped, headers)) + r" \\")
    latex.append("\\midrule")
    latex += [
        " & ".join(_cell(v, (r, c) in best, "tex") for c, v in enumerate(row)) + r" \\" for r, row in enumerate(rows)
    ]
    latex += ["\\bottomrule", "\\end{tabular}", *(f"% {note}" for note in notes)]
    return "\n".join([*markdown, "", *notes]) + "\n", "\n".join(latex) + "\n"


def _psnr(metrics: Mapping[str, Any], region: str) -> float | None:
    value: float | None = metrics["regions"].get(region, {}).get("psnr")
    return value


def _others(metrics: Mapping[str, Any]) -> list[float | None]:
    """SSIM of the whole, MS-SSIM, and the flicker of the person's render against the photos'."""
    multi, temporal = metrics.get("ms_ssim"), metrics.get("temporal")
    return [
        metrics["regions"].get("full", {}).get("ssim"),
        multi["mean"] if isinstance(multi, Mapping) else None,
        temporal["rms"] if isinstance(temporal, Mapping) else None,
    ]


def _best(rows: Sequence[Sequence[Any]]) -> set[tuple[int, int]]:
    found = set()
    for column in range(1, len(rows[0])):
        known = [(row[column], index) for index, row in enumerate(rows) if row[column] is not None]
        if len(known) > 1:
            lowest = column == len(rows[0]) - 1  # flicker: less is better
            value = min(known)[0] if lowest else max(known)[0]
            found |= {(index, column) for one, index in known if one == value}
    return found


def _cell(value: Any, best: bool, mark: str) -> str:
    if value is None:
        return "–" if mark == "**" else "--"
    text = value if isinstance(value, str) else f"{value:.4f}" if abs(value) <= 1 else f"{value:.2f}"
    if mark == "**":
        return f"**{text}**" if best else text
    text = _escaped(text)
    return f"\\textbf{{{text}}}" if best else text


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(mark, "\\" + mark if mark in "&%$#_{}" else mark) for mark in text)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"
