"""A capture with the colours of its cameras made alike: a new folder, the old one is only read."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from capture.checking.colours import skin_colours
from capture.checking.evidence import gather
from capture.checking.mistaken import without_mistaken_faces
from capture.colour import ColourMap, Kind, camera_offsets, chart_map, match_cameras, read_chart
from capture.copies import copy_file, each, stored_files
from studio.captures import Capture
from studio.errors import StudioError
from studio.folders import content_hash, require_new, write_folder
from studio.logs import say
from studio.media.images import read_image, write_image

_PICTURES = 600  # looked at to find the skin that several cameras see
_CORRECTED = ("images", "background")


@dataclass(frozen=True)
class ColourConfig:
    """How the colours are corrected.

    Args:
        by: "overlap" (skin that several cameras see) or "chart" (a colour chart in a picture of each camera).
        model: "gain" (one factor for each channel), "affine" (3x3 and an offset) or "polynomial" (second order).
        reference: id of a camera that is right; without, all move to their middle. Not for charts, which are absolute.
        chart: JSON file that says where each camera shows the chart, see docs/check.md.
        landmarker: MediaPipe's model bundle; found through ``studio.assets`` when not given.
    """

    by: Literal["overlap", "chart"] = "overlap"
    model: Kind = "affine"
    reference: str | None = None
    chart: Path | None = None
    landmarker: Path | None = None


def recolour_capture(capture: Capture, out: Path, config: ColourConfig | None = None) -> dict[str, ColourMap]:
    """Write a capture with corrected pictures and backgrounds, all else copied; the maps go into its manifest.

    Args:
        capture: of several cameras (of any number with a chart).
        out: the capture folder to make.
        config: see ``ColourConfig``.

    Returns:
        The maps by camera id; cameras that could not be measured are missing and stay as they are.

    Raises:
        StudioError: nothing to measure by, a bad chart file, or ``out`` exists.
    """
    config = config or ColourConfig()
    require_new(out)
    maps = _by_chart(capture, config) if config.by == "chart" else _by_overlap(capture, config)
    left_out = [name for name in capture.cameras.ids if name not in maps]
    if left_out:
        say(f"warning: nothing to correct cameras {', '.join(left_out)} by; they stay as they are")
    noted = {name: {"kind": found.kind, "matrix": found.matrix.tolist()} for name, found in maps.items()}
    body = {**capture.manifest.body, "colour": {"by": config.by, "maps": noted}}
    parents = {**capture.manifest.parents, capture.folder.name: content_hash(capture.folder)}
    with write_folder(out, dataclasses.replace(capture.manifest, parents=parents, body=body)) as folder:
        _copy(capture, folder, maps)
    return maps


def _by_overlap(capture: Capture, config: ColourConfig) -> dict[str, ColourMap]:
    if len(capture.cameras) < 2:
        raise StudioError(f"{capture.folder} has one camera", expected="several, or by=chart")
    reference = None
    if config.reference is not None:
        if config.reference not in capture.cameras.ids:
            raise StudioError("no such camera", got=config.reference, expected=", ".join(capture.cameras.ids))
        reference = capture.cameras.ids.index(config.reference)
    evidence = without_mistaken_faces(gather(capture, _PICTURES, config.landmarker))
    samples = None if evidence.no_face else skin_colours(evidence)
    if samples is None:
        raise StudioError(
            f"no skin that two cameras of {capture.folder} see",
            got=evidence.no_face or "no face in two cameras at once",
            expected="a calibrated rig that sees a face",
            next="use by=chart; studio check says whether the calibration is right",
        )
    light, trust = samples.light, samples.trust
    before = camera_offsets(light, trust)
    maps = match_cameras(light, config.model, reference, trust)
    corrected = np.stack([p if m is None else m.on_light(p) for p, m in zip(light, maps, strict=True)])
    after = camera_offsets(corrected, trust)
    say(f"cameras differed by up to {_most(before):.2f} stops, now by {_most(after):.2f}")
    return {name: found for name, found in zip(capture.cameras.ids, maps, strict=True) if found is not None}


def _most(offsets: np.ndarray) -> float:
    known = offsets[np.isfinite(offsets)]
    return float(np.abs(known).max()) if len(known) else 0.0


def _by_chart(capture: Capture, config: ColourConfig) -> dict[str, ColourMap]:
    if config.chart is None:
        raise StudioError("by=chart needs a file", expected="chart=chart.json", next="see docs/check.md")
    maps = {}
    for name, entry in _chart_entries(config.chart, capture).items():
        image = _chart_image(config.chart, capture, name, entry)
        try:
            maps[name] = chart_map(read_chart(image, entry.get("corners", ())), config.model)
        except StudioError as error:
            raise StudioError(f"camera {name}: {error}") from error
    return maps


def _chart_entries(path: Path, capture: Capture) -> dict[str, dict[str, Any]]:
    try:
        entries = json.loads(path.read_text())["cameras"]
        named = {str(name): dict(entry) for name, entry in entries.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        expected = '{"cameras": {"<id>": {"image": …, "corners": …}}}'
        raise StudioError(f"cannot read the chart file {path}", got=repr(error), expected=expected) from error
    strange = [name for name in named if name not in capture.cameras.ids]
    if strange or not named:
        got = ", ".join(strange) or "no cameras"
        raise StudioError(f"cameras of {path}", got=got, expected=", ".join(capture.cameras.ids))
    return named


def _chart_image(path: Path, capture: Capture, name: str, entry: dict[str, Any]) -> np.ndarray:
    """The picture that shows the chart: a file beside the chart file, or a timestep of the capture."""
    if "image" in entry:
        return read_image(path.parent / str(entry["image"]))
    timestep = entry.get("timestep", 0)
    if not isinstance(timestep, int) or not 0 <= timestep < len(capture):
        raise StudioError(f"timestep of camera {name} in {path}", got=timestep, expected=f"0 to {len(capture) - 1}")
    return capture.image(timestep, capture.cameras.ids.index(name))


def _copy(capture: Capture, folder: Path, maps: dict[str, ColourMap]) -> None:
    def one(name: Path) -> None:
        colours = _map_of(name, maps)
        if colours is None:
            copy_file(capture, name, folder)
        else:
            write_image(folder / name, colours.on_image(read_image(capture.folder / name)))

    each(one, stored_files(capture), "colours")


def _map_of(name: Path, maps: dict[str, ColourMap]) -> ColourMap | None:
    """The map of the camera whose colours a file shows; None for other files."""
    if name.parts[0] not in _CORRECTED or name.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        return None
    return maps.get(name.parts[1] if name.parts[0] == "images" else name.stem)
