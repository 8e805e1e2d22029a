"""The evaluation as one HTML page that needs nothing else: figures, curves, strips, heat map, worst frames, video."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from capture.checking.drawings import drawing
from capture.checking.finding import Lines
from recon.judging import Frames
from studio.media.video_reader import probe, read_frames
from studio.media.video_writer import VideoWriter

REPORT = "report.html"
_MOST_VIDEO = 30_000_000  # bytes; a longer one stays in the folder beside the page
_SIDE = 512  # pixels of a half of the video, at most
_SHOWN = 900  # frames in a strip, at most
_LOW, _HIGH = 22.0, 36.0  # dB of the strip's ends
_NAMES = {"ms_ssim": "MS-SSIM", "lpips": "LPIPS", "jod": "JOD", "skipped": "left out"}
_STYLE = """
:root { --ink:#1d2430; --soft:#5b6675; --line:#dfe4ea; --paper:#fff; --ground:#f4f6f8 }
* { box-sizing:border-box }
body { margin:0; background:var(--ground); color:var(--ink);
  font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif }
main { max-width:1040px; margin:0 auto; padding:32px 20px 80px }
h1 { font-size:26px; margin:0 0 2px } h2 { font-size:18px; margin:0 0 10px }
.sub { color:var(--soft); margin:0 0 20px }
section { background:var(--paper); border:1px solid var(--line); border-radius:10px; padding:16px 20px; margin:14px 0;
  overflow-x:auto }
.tiles { display:flex; flex-wrap:wrap; gap:12px } .tile { background:var(--paper); border:1px solid var(--line);
  border-radius:10px; padding:10px 18px; min-width:120px }
.tile b { display:block; font-size:24px; line-height:1.2 } .tile span { color:var(--soft) }
table { border-collapse:collapse; width:100% } th, td { text-align:right; padding:5px 10px;
  border-top:1px solid var(--line); font-variant-numeric:tabular-nums }
th:first-child, td:first-child { text-align:left }
thead th { border-top:0; color:var(--soft); font-weight:600 } td small { color:var(--soft) }
figure { margin:0 0 12px } figcaption { font-size:13px; color:var(--soft); margin-top:3px }
img, video { max-width:100%; border-radius:6px; display:block }
.strip { image-rendering:pixelated; width:100%; height:18px;
  border-radius:3px } .row { display:grid; grid-template-columns:110px 1fr; gap:6px 12px; align-items:center }
.row span { color:var(--soft); font-size:13px }
svg { max-width:100%; height:auto } svg text { font:11px system-ui,sans-serif; fill:var(--soft) }
dl { display:grid; grid-template-columns:170px 1fr; gap:4px 14px; margin:0 } dt { color:var(--soft) } dd { margin:0 }
footer { color:var(--soft); font-size:13px; margin-top:30px }
"""


def write_report(
    folder: Path,
    title: str,
    metrics: Mapping[str, Any],
    frames: Frames,
    error: np.ndarray | None,  # [H, W] squared error summed over frames
    worst: Sequence[tuple[float, int, np.ndarray]],  # PSNR, index, truth | render | error [H, 3 W, 3]
) -> Path:
    """Write report.html into an evaluation folder that holds truth.mp4 and render.mp4."""
    regions = [name for name in frames.regions() if name in metrics["regions"]]
    protocol = str(metrics["protocol"])
    parts = [
        _tiles(metrics),
        _section("Both, side by side", _video(folder)),
        _section("Figures by region", _table(metrics)),
        _section("PSNR of every frame", _curves(frames, regions) + _strips(frames, regions)),
        _section("Where it errs", _heat(error, len(frames.judged))),
        _section("The worst frames", "".join(_worst(frames, *item) for item in worst)),
        _section("How it was judged", _terms(metrics)),
    ]
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Evaluation of {escape(title)}</title><style>{_STYLE}</style></head><body><main>
<h1>{escape(title)}, {escape(str(metrics["split"]))}</h1>
<p class="sub">{metrics["frames"]} photos of {"×".join(map(str, metrics["resolution"]))} pixels.
{escape(protocol[:1].upper() + protocol[1:])}.</p>
{"".join(parts)}
<footer>Made by <code>studio eval</code>; the numbers are in metrics.json and frames.json. It holds
pictures of the person who was filmed, and synthetic pictures of that person: treat it like the footage.</footer>
</main></body></html>
"""
    path = folder / REPORT
    path.write_text(page, encoding="utf-8")
    return path


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>\n"


def _tiles(metrics: Mapping[str, Any]) -> str:
    regions = metrics["regions"]
    tiles = [
        (f"{regions[name]['psnr']:.2f} dB", f"PSNR, {name}")
        for name in ("full", "foreground", "face", "mouth", "eyes")
        if name in regions and regions[name]["psnr"] is not None
    ]
    if isinstance(metrics["ms_ssim"], Mapping):
        tiles.append((f"{metrics['ms_ssim']['mean']:.4f}", "MS-SSIM"))
    body = "".join(f'<div class="tile"><b>{value}</b><span>{escape(name)}</span></div>' for value, name in tiles)
    return f'<div class="tiles">{body}</div>'


def _table(metrics: Mapping[str, Any]) -> str:
    rows = []
    for name, values in metrics["regions"].items():
        if not values["pixels"]:
            continue
        cells = [
            _measured(values.get("psnr"), values.get("psnr_95"), 2),
            _measured(values.get("ssim"), values.get("ssim_95"), 4),
        ]
        rows.append(f"<tr><td>{escape(name)}</td>{''.join(cells)}<td>{values['pixels']:,}</td></tr>")
    head = "<tr><th>region</th><th>PSNR, dB</th><th>SSIM</th><th>pixels</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def _measured(value: float | None, ends: Sequence[float] | None, digits: int) -> str:
    if value is None:
        return "<td>–</td>"
    told = "" if not ends else f" <small>[{ends[0]:.{digits}f}, {ends[1]:.{digits}f}]</small>"
    return f"<td>{value:.{digits}f}{told}</td>"


def _curves(frames: Frames, regions: Sequence[str]) -> str:
    named = [name for name in ("foreground", "face", "mouth", "eyes") if name in regions] or list(regions[:1])
    x = np.arange(len(frames.judged), dtype=float)
    return drawing(Lines("", x, [(name, frames.series(name)) for name in named], "photo, in the order of judging"))


def _strips(frames: Frames, regions: Sequence[str]) -> str:
    """A line of pixels for each region, one column a frame: red is bad."""
    rows = []
    for name in regions:
        values = frames.series(name)
        if len(values) > _SHOWN:
            values = np.array(
                [np.nanmin(part) if np.isfinite(part).any() else np.nan for part in np.array_split(values, _SHOWN)]
            )
        shares = np.clip((_HIGH - np.nan_to_num(values, nan=_HIGH)) / (_HIGH - _LOW), 0, 1)
        colors = cv2.applyColorMap(np.round(255 * shares).astype(np.uint8)[None], cv2.COLORMAP_INFERNO)
        colors[0, ~np.isfinite(values)] = 230
        rows.append(f'<span>{escape(name)}</span><img class="strip" alt="" src="{_png(colors)}">')
    caption = f"One column a photo: black {_HIGH:g} dB and more, bright yellow {_LOW:g} dB and less, grey not seen"
    return f'<div class="row">{"".join(rows)}</div><figcaption>{caption}</figcaption>'


def _heat(error: np.ndarray | None, count: int) -> str:
    if error is None:
        return "<p>nothing judged</p>"
    rms = np.sqrt(error / max(count, 1)) * 255
    top = float(np.percentile(rms, 99.5)) or 1.0
    colors = cv2.applyColorMap(np.round(255 * np.clip(rms / top, 0, 1)).astype(np.uint8), cv2.COLORMAP_INFERNO)
    caption = f"RMS error of every pixel over all photos: black 0, bright yellow {top:.1f} grey levels of 255 and more"
    return f'<figure><img alt="" src="{_png(colors)}"><figcaption>{caption}</figcaption></figure>'


def _worst(frames: Frames, score: float, index: int, row: np.ndarray) -> str:
    frame = frames.judged[index]
    ok, data = cv2.imencode(".jpg", cv2.cvtColor(row, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])
    assert ok
    region = "face" if "face" in frame.regions else "full"
    told = f"{region} {score:.1f} dB" if math.isfinite(score) else "no face seen"
    caption = (
        f"photo {index} (timestep {frame.timestep}, camera {frame.camera}): {told}; photo, render, four times the error"
    )
    return (
        f'<figure><img alt="" src="{_data("image/jpeg", data.tobytes())}"><figcaption>{caption}</figcaption></figure>'
    )


def _terms(metrics: Mapping[str, Any]) -> str:
    rows = {"masks": "; ".join(f"{name}: {text}" for name, text in metrics["mask"].items())}
    for name in ("intervals", "ms_ssim", "temporal", "flicker", "lpips", "jod", "skipped"):
        value = metrics[name]
        rows[name] = value if isinstance(value, str) else _flat(value)
    what = {
        "temporal": "changes from frame to frame against the photos'; rms: grey levels, visible: just-seen contrasts. "
    }
    listed = "".join(
        f"<dt>{escape(_NAMES.get(name, name))}</dt><dd>{escape(what.get(name, '') + str(value))}</dd>"
        for name, value in rows.items()
    )
    return f"<dl>{listed}</dl>"


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_flat(item)}" for name, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _video(folder: Path) -> str:
    """Photo and render beside each other, small enough for a page."""
    path = folder / "side_by_side.mp4"
    info = probe(folder / "truth.mp4")
    scale = min(1.0, _SIDE / max(info.width, info.height))
    size = (max(2, 2 * round(info.width * scale / 2)), max(2, 2 * round(info.height * scale / 2)))
    with VideoWriter(path, info.fps, (2 * size[0], size[1])) as writer:
        for pair in zip(read_frames(folder / "truth.mp4"), read_frames(folder / "render.mp4"), strict=True):
            small = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image for image in pair]
            fitted = [image[: size[1], : size[0]] for image in small]
            padded = [
                np.pad(i, ((0, size[1] - i.shape[0]), (0, size[0] - i.shape[1]), (0, 0)), mode="edge") for i in fitted
            ]
            writer.write(np.ascontiguousarray(np.hstack(padded)))
    if path.stat().st_size > _MOST_VIDEO:
        return f'<video controls src="{path.name}"></video><figcaption>too large for the page: beside it</figcaption>'
    source = _data("video/mp4", path.read_bytes())
    path.unlink()
    video = f'<video controls loop muted playsinline src="{source}"></video>'
    return f"{video}<figcaption>left the photo, right the render</figcaption>"


def _png(image: np.ndarray) -> str:
    """BGR as a data URL."""
    ok, data = cv2.imencode(".png", image)
    assert ok
    return _data("image/png", data.tobytes())


def _data(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
