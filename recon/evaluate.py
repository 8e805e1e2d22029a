"""Held-out photos against renders: metrics.json, truth.mp4, render.mp4 and a contact sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recon.comparison import PHOTOMETRIC, behind_person, photo_over
from recon.flicker import Flicker
from recon.frames import region_masks
from recon.metrics import ColorMatch, match_exposure
from recon.perceptual import Perceptual
from studio.avatar import Avatar
from studio.captures import Capture, Frame
from studio.codes import Codes, CodeTrack
from studio.errors import StudioError
from studio.folders import Manifest, content_hash, write_folder, write_json
from studio.heads.model import HeadModel
from studio.kernels.photometric import ssim
from studio.media.images import to_uint8, write_image
from studio.media.video_writer import VideoWriter

_SHEET_ROWS = 8
_ERROR_GAIN = 4.0  # the sheet shows absolute errors this much brighter
_STATIC_FPS = 5.0  # a video of photos that have no frame rate
_MASKS = {
    "full": "all pixels",
    "exposure matched": "after one gain and one offset for each photo; photos of a still object only",
    "colour matched": "after one affine change of colour for each camera, the same in all its frames; rigs only",
    "foreground": "matte above one half",
    "face, mouth, eyes": "hulls of the head model's posed landmarks",
}
_NO_LPIPS = "not measured: no weights given (perceptual.backbone, perceptual.heads)"
_NO_FLICKER = "not measured: no six frames follow on each other"
_FLICKER = "RMS change of brightness (of 255) from frame to frame where the source is still; person: within its matte"


@dataclass
class _Sums:
    """Squared error and similarity, added up over the pixels of a region in all frames."""

    squared: float = 0.0
    similarity: float = 0.0
    pixels: int = 0

    def add(self, squared: Tensor, similarity: Tensor, mask: np.ndarray) -> None:
        chosen = torch.from_numpy(mask)
        self.squared += float(squared[chosen].sum(dtype=torch.float64))
        self.similarity += float(similarity[chosen].sum(dtype=torch.float64))
        self.pixels += int(mask.sum())

    def figures(self) -> dict[str, float | int | None]:
        """PSNR of the mean squared error (dB, peak 1) and mean SSIM; None where the region was never seen."""
        if not self.pixels:
            return {"psnr": None, "ssim": None, "pixels": 0}
        mse = self.squared / self.pixels
        psnr = None if mse == 0 else round(-10 * math.log10(mse), 3)
        return {"psnr": psnr, "ssim": round(self.similarity / self.pixels, 5), "pixels": self.pixels}


@dataclass
class _Report:
    """What comes together while the frames go by."""

    regions: dict[str, _Sums] = field(default_factory=dict)
    colors: dict[int, ColorMatch] = field(default_factory=dict)
    flicker: Flicker = field(default_factory=Flicker)
    distances: list[float] = field(default_factory=list)
    rows: list[np.ndarray] = field(default_factory=list)

    def add(self, truth: np.ndarray, render: np.ndarray, masks: dict[str, np.ndarray]) -> None:
        a, b = (torch.from_numpy(image).float()[None] / 255 for image in (render, truth))
        squared, similarity = (a - b)[0].square().mean(-1), ssim(a, b)[0].mean(-1)
        for name, mask in masks.items():
            self.regions.setdefault(name, _Sums()).add(squared, similarity, mask)

    def match(self, camera: int, truth: np.ndarray, render: np.ndarray, mask: np.ndarray) -> None:
        self.colors.setdefault(camera, ColorMatch()).add(render[mask] / 255, truth[mask] / 255)

    def figures(self) -> dict[str, dict[str, float | int | None]]:
        """By region."""
        figures = {name: sums.figures() for name, sums in self.regions.items()}
        pixels = sum(match.pixels for match in self.colors.values())
        if pixels:
            mse = sum(match.squared_error() for match in self.colors.values()) / (3 * pixels)
            figures["foreground, colour matched"] = {
                "psnr": round(-10 * math.log10(max(mse, 1e-12)), 3),
                "pixels": pixels,
            }
        return figures


def evaluate(
    avatar: Avatar,
    capture: Capture,
    track: CodeTrack | None,
    split: str,
    out: Path,
    on_step: Callable[[int, int], None] | None = None,
    perceptual: Perceptual | None = None,
) -> dict[str, Any]:
    """Render a split of a capture and compare.

    Args:
        avatar: any avatar.
        capture: where the photos come from.
        track: codes of every timestep of the capture; None for avatars of static scenes.
        split: a named split of the capture, one that the avatar was not trained on.
        out: folder to make.
        on_step: called with frames done and frames in all.
        perceptual: LPIPS, where the user has its weights.

    Returns:
        What metrics.json holds: protocol, split, resolution, per region psnr, ssim and the number of pixels,
        LPIPS of whole images where it was measured, and the flicker of source and render.

    Raises:
        StudioError: no such split, no valid frame in it, codes of another space, or ``out`` exists.
    """
    part = capture.split(split)
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
            "protocol": _protocol(track),
            "split": split,
            "frames": len(keys),
            "skipped": f"{len(part.timesteps) - len(shown)} timesteps without a tracked face",
            "resolution": [capture.cameras.width, capture.cameras.height],
            "mask": _MASKS,
            "regions": report.figures(),
            "lpips": round(fmean(report.distances), 5) if report.distances else _NO_LPIPS,
            "flicker": {"what": _FLICKER, **report.flicker.figures()} if report.flicker.regions else _NO_FLICKER,
        }
        write_json(folder / "metrics.json", metrics)
        write_image(folder / "sheet.png", contact_sheet(report.rows))
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
            report.add(truth, image, masks)
            if perceptual is not None:
                report.distances.append(_distance(perceptual, image, truth))
            if index == 0 or key != (keys[index - 1][0] + 1, keys[index - 1][1]):
                report.flicker.cut()
            report.flicker.add(truth, image, masks.get("foreground"))
            if track is None:
                report.add(truth, match_exposure(image, truth), {"full, exposure matched": masks["full"]})
            elif len(capture.cameras) > 1 and "foreground" in masks:
                report.match(key[1], truth, image, masks["foreground"])
            truths.write(truth)
            renders.write(image)
            if index in in_sheet:
                error = np.abs(truth.astype(np.float32) - image) * (_ERROR_GAIN / 255)
                report.rows.append(np.hstack((truth, image, to_uint8(error))))
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
    return masks


def contact_sheet(
    rows: list[np.ndarray],  # each [H, 3 W, 3] uint8: truth, render, error
) -> np.ndarray:
    """The rows in two columns, [H * ceil(n / 2), 6 W, 3] uint8."""
    blank = [np.zeros_like(rows[0])] * (len(rows) % 2)
    half = (len(rows) + 1) // 2
    columns = [np.vstack(part) for part in (rows[:half], (rows + blank)[half:]) if part]
    return np.hstack(columns)
