"""Held-out photos against renders: metrics.json, truth.mp4, render.mp4 and a contact sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recon.comparison import PHOTOMETRIC, behind_person, photo_over
from recon.flicker import Flicker
from recon.frames import region_masks
from recon.judging import BLOCK, Frames, Judged, Temporal, body_regions, matched_psnr, ms_ssim, pooled
from recon.metrics import ColorMatch, match_exposure
from recon.perceptual import Perceptual
from recon.protocols import PROTOCOLS
from recon.report_page import write_report
from studio.avatar import Avatar
from studio.captures import Capture, Frame, Split
from studio.codes import Codes, CodeTrack
from studio.errors import StudioError
from studio.folders import Manifest, content_hash, write_folder, write_json
from studio.heads.model import HeadModel
from studio.kernels.photometric import ssim
from studio.media.images import to_uint8, write_image
from studio.media.video_writer import VideoWriter
from studio.provenance.claims import RENDERED
from studio.provenance.seal import Claim, seal

Key = tuple[int, int]  # (timestep, camera)
_Sum = tuple[float, float, int]
_SHEET_ROWS, _WORST = 8, 4
_ERROR_GAIN = 4.0  # the sheet shows absolute errors this much brighter
_STATIC_FPS = 5.0  # a video of photos that have no frame rate
_MASKS = {
    "full": "all pixels",
    "exposure matched": "after one gain and one offset for each photo; photos of a still object only",
    "colour matched": "after one affine change of colour for each camera, the same in all its frames; rigs only",
    "foreground": "matte above one half",
    "face, mouth, eyes": "hulls of the head model's posed landmarks",
    "hair, torso": "foreground outside of the face, above and below the chin; ears are hair",
    "crop": "none: photos as the capture has them",
}
_NO_LPIPS = "not measured: no weights given (perceptual.backbone, perceptual.heads)"
_NO_FLICKER = "not measured: no six frames follow on each other"
_FLICKER = "RMS change of brightness (of 255) from frame to frame where the source is still; person: within its matte"


@dataclass
class _Report:
    """What comes together while the frames go by."""

    frames: Frames = field(default_factory=Frames)
    colors: dict[int, ColorMatch] = field(default_factory=dict)
    flicker: Flicker = field(default_factory=Flicker)
    temporal: Temporal = field(default_factory=Temporal)
    distances: list[float] = field(default_factory=list)
    rows: list[np.ndarray] = field(default_factory=list)
    error: np.ndarray | None = None  # [H, W] squared error, summed over frames
    worst: list[tuple[float, int, np.ndarray]] = field(default_factory=list)  # PSNR, frame, row of the sheet

    def add(self, key: Key, truth: np.ndarray, render: np.ndarray, masks: dict[str, np.ndarray]) -> None:
        """Take a frame in."""
        a, b = (torch.from_numpy(image).float()[None] / 255 for image in (render, truth))
        squared, similarity = (a - b)[0].square().mean(-1), ssim(a, b)[0].mean(-1)
        sums = {name: _summed(squared, similarity, mask) for name, mask in masks.items()}
        self.frames.judged.append(Judged(*key, sums, ms_ssim(a, b)))
        self.error = squared.numpy() if self.error is None else self.error + squared.numpy()

    def match(self, camera: int, truth: np.ndarray, render: np.ndarray, mask: np.ndarray) -> None:
        self.colors.setdefault(camera, ColorMatch()).add(render[mask] / 255, truth[mask] / 255)

    def exposed(self, truth: np.ndarray, render: np.ndarray, mask: np.ndarray) -> None:
        """The last frame again, with its exposure matched."""
        a, b = (torch.from_numpy(image).float()[None] / 255 for image in (match_exposure(render, truth), truth))
        last = self.frames.judged[-1]
        sums = _summed((a - b)[0].square().mean(-1), ssim(a, b)[0].mean(-1), mask)
        regions = {**last.regions, "full, exposure matched": sums}
        self.frames.judged[-1] = replace(last, regions=regions)

    def remember(self, row: np.ndarray) -> None:
        """Keep the row of the last frame if it is among the worst."""
        region = "face" if "face" in self.frames.judged[-1].regions else "full"
        squared, _, pixels = self.frames.judged[-1].regions[region]
        score = -10 * math.log10(max(squared, 1e-12) / pixels) if pixels else math.inf
        index = len(self.frames.judged) - 1
        near = [item for item in self.worst if item[1] // BLOCK == index // BLOCK]  # of neighbours the worst only
        if all(score < item[0] for item in near):
            others = [item for item in self.worst if item[1] // BLOCK != index // BLOCK]
            self.worst = sorted([*others, (score, index, row)], key=lambda item: item[:2])[:_WORST]

    def figures(self) -> dict[str, dict[str, Any]]:
        """By region."""
        figures = self.frames.figures()
        matched = matched_psnr(self.colors)
        if matched is not None:
            figures["foreground, colour matched"] = matched
        return figures


def _summed(squared: Tensor, similarity: Tensor, mask: np.ndarray) -> _Sum:
    chosen = torch.from_numpy(mask)
    return (
        float(squared[chosen].sum(dtype=torch.float64)),
        float(similarity[chosen].sum(dtype=torch.float64)),
        int(mask.sum()),
    )


def evaluate(
    avatar: Avatar,
    capture: Capture,
    track: CodeTrack | None,
    split: str,
    out: Path,
    on_step: Callable[[int, int], None] | None = None,
    perceptual: Perceptual | None = None,
    protocol: tuple[str, Split] | None = None,
) -> dict[str, Any]:
    """Render a split of a capture and compare; report.html shows it, metrics.json and frames.json hold the numbers.

    Args:
        avatar: any avatar.
        capture: where the photos come from.
        track: codes of every timestep of the capture; None for avatars of static scenes.
        split: a named split of the capture, one that the avatar was not trained on.
        out: folder to make.
        on_step: called with frames done and frames in all.
        perceptual: LPIPS, where the user has its weights.
        protocol: name and photos of a protocol of ``recon.protocols``, instead of the split, whose name it replaces.

    Returns:
        What metrics.json holds: protocol, split, resolution, per region psnr, ssim and the number of pixels,
        LPIPS of whole images where it was measured, and the flicker of source and render.

    Raises:
        StudioError: no such split, no valid frame in it, codes of another space, or ``out`` exists.
    """
    part = capture.split(split) if protocol is None else protocol[1]
    shown = [t for t in part.timesteps if track is None or bool(track.valid[t])]
    if not shown:
        raise StudioError(
            f"nothing to judge in the split {split}", got="no frame with a face", expected="tracked frames"
        )
    keys = [(t, c) for c in part.cameras for t in shown]
    parents = {capture.folder.name: content_hash(capture.folder)}
    with write_folder(out, Manifest(kind="evaluation", parents=parents, synthetic=True)) as folder:
        report = _compared(avatar, capture, track, keys, folder, on_step, perceptual)
        metrics = {
            "protocol": _protocol(track) + ("" if protocol is None else f". {PROTOCOLS[protocol[0]].statement}"),
            "split": split,
            "frames": len(keys),
            "skipped": f"{len(part.timesteps) - len(shown)} timesteps without a tracked face",
            "resolution": [capture.cameras.width, capture.cameras.height],
            "mask": _MASKS,
            "regions": report.figures(),
            "lpips": round(fmean(report.distances), 5) if report.distances else _NO_LPIPS,
            "ms_ssim": report.frames.ms_ssim(),
            "temporal": report.temporal.figures(),
            "intervals": f"95 %, {BLOCK} consecutive frames of a camera drawn together; null for too few",
            "jod": "not measured: needs a calibrated metric that is not ours to ship",
            "flicker": {"what": _FLICKER, **report.flicker.figures()} if report.flicker.regions else _NO_FLICKER,
        }
        seal(folder / "render.mp4", Claim(RENDERED, {}, parents, capture.manifest.consent, capture.manifest.licence))
        write_json(folder / "metrics.json", metrics)
        write_json(folder / "frames.json", _frame_list(report, capture))
        write_image(folder / "sheet.png", contact_sheet(report.rows))
        write_report(folder, capture.folder.name, metrics, report.frames, report.error, report.worst)
    return metrics


def _protocol(track: CodeTrack | None) -> str:
    if track is None:
        return "held-out photos of a static scene"
    if PHOTOMETRIC in track.provenance.values():
        return "held-out photos; driven by codes fitted to their pixels through an avatar (photometric tracking)"
    return "held-out photos; driven by codes tracked in them, nothing fitted to them by the avatar"


def _compared(
    avatar: Avatar,
    capture: Capture,
    track: CodeTrack | None,
    keys: Sequence[tuple[int, int]],  # (timestep, camera)
    folder: Path,
    on_step: Callable[[int, int], None] | None,
    perceptual: Perceptual | None,
) -> _Report:
    """Compare frame by frame, and write truth.mp4 and render.mp4."""
    report, size = _Report(), (capture.cameras.width, capture.cameras.height)
    in_sheet = set(np.linspace(0, len(keys) - 1, min(_SHEET_ROWS, len(keys))).round().astype(int).tolist())
    fps = capture.fps or _STATIC_FPS
    with (
        VideoWriter(folder / "truth.mp4", fps, size, quality="near_lossless") as truths,
        VideoWriter(folder / "render.mp4", fps, size, quality="near_lossless") as renders,
    ):
        for index, key in enumerate(keys):
            frame = capture.frame(*key)
            codes = avatar.codes if track is None else track.codes[key[0]]
            behind = behind_person(avatar, capture, key[1])
            truth = photo_over(frame, behind)
            image = avatar.render(frame.camera, codes).pixels(behind)[0]
            masks = _masks(avatar, frame, codes)
            report.add((key[0], key[1]), truth, image, masks)
            if perceptual is not None:
                report.distances.append(_distance(perceptual, image, truth))
            if index == 0 or key != (keys[index - 1][0] + 1, keys[index - 1][1]):
                report.flicker.cut()
                report.temporal.cut()
            report.flicker.add(truth, image, masks.get("foreground"))
            report.temporal.add(truth, image, masks.get("foreground", masks["full"]))
            if track is None:
                report.exposed(truth, image, masks["full"])
            elif len(capture.cameras) > 1 and "foreground" in masks:
                report.match(key[1], truth, image, masks["foreground"])
            truths.write(truth)
            renders.write(image)
            error = np.abs(truth.astype(np.float32) - image) * (_ERROR_GAIN / 255)
            row = np.hstack((truth, image, to_uint8(error)))
            report.remember(row)
            if index in in_sheet:
                report.rows.append(row)
            if on_step is not None:
                on_step(index + 1, len(keys))
    return report


@torch.no_grad()
def _distance(perceptual: Perceptual, image: np.ndarray, truth: np.ndarray) -> float:
    one, two = (torch.from_numpy(picture).float()[None] / 255 for picture in (image, truth))
    return float(perceptual(one, two))


def _masks(avatar: Avatar, frame: Frame, codes: Codes) -> dict[str, np.ndarray]:
    masks = {"full": np.ones(frame.image.shape[:2], bool)}
    if frame.alpha is not None:
        masks["foreground"] = frame.alpha > 127
    head = getattr(avatar, "head", None)
    if isinstance(head, HeadModel):
        masks |= region_masks(head, codes, frame.camera)
        if "foreground" in masks:
            masks |= body_regions(head, codes, frame.camera, masks["face"], masks["foreground"])
    return masks


def _frame_list(report: _Report, capture: Capture) -> list[dict[str, Any]]:
    """Every frame's figures."""
    return [
        {
            "timestep": capture.timestep_ids[frame.timestep],
            "camera": capture.cameras.ids[frame.camera],
            "ms_ssim": frame.ms_ssim,
            "regions": {name: pooled(np.array([sums])) for name, sums in frame.regions.items()},
        }
        for frame in report.frames.judged
    ]


def contact_sheet(
    rows: list[np.ndarray],  # each [H, 3 W, 3] uint8: truth, render, error
) -> np.ndarray:
    """The rows in two columns, [H * ceil(n / 2), 6 W, 3] uint8."""
    blank = [np.zeros_like(rows[0])] * (len(rows) % 2)
    half = (len(rows) + 1) // 2
    columns = [np.vstack(part) for part in (rows[:half], (rows + blank)[half:]) if part]
    return np.hstack(columns)
