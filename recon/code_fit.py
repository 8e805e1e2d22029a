"""Photometric tracking: the codes of every frame, fitted to its pixels through a trained avatar.

Landmarks leave errors of a few milliradians and of a lid's or a lip's width. Here the avatar itself is rendered and the
codes are moved until it looks like the photo, as the trackers behind GaussianAvatars and RGBAvatar do with a textured
mesh. The codes to start from are the prior, and a random walk ties neighbouring frames together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from recon.avatars.splats import SplatAvatar
from recon.code_fit_anchors import MovingAnchors
from recon.code_fit_solve import Clip
from recon.code_fit_term import Seen, difference, photometric_cost, photometric_information, photometric_term
from recon.comparison import PHOTOMETRIC, behind_person, photo_over
from recon.frames import region_masks
from studio.cameras import Camera
from studio.captures import Capture
from studio.codes import Codes, CodeTrack
from studio.errors import StudioError
from studio.folders import content_hash, require_new
from studio.heads.model import HeadModel
from studio.kernels.workers import undivided, worker_count
from studio.logs import say

_MARGIN = 0.2  # of the face's size: what is seen of the head around its landmarks
_LEAST_SIDE = 16  # pixels of a head: fewer tell nothing
_WINDOW = 128  # frames that are held in memory and solved together
_TYPICAL = 4  # frames that tell how images change with the codes
_ALIKE = 45.0  # pixels whose errors repeat each other: together they are one independent look
_EMPHASIS = 3.0  # how much more a pixel of the mouth or the eyes counts
# How far (standard deviation) codes may be from the landmarks': radians and metres of the head, expression, jaw, neck,
# shift of the torso in metres, eyes.
_POSE_SPREAD = (0.03, 0.03, 0.03, 0.004, 0.004, 0.015)
_EXPRESSION_SPREAD, _JAW_SPREAD, _NECK_SPREAD, _SHIFT_SPREAD, _EYE_SPREAD = 0.15, 0.03, 0.05, 0.01, 0.05
_PACE_FLOOR = 0.1  # of a spread: the least that a code may change from frame to frame
_DIFFERENCE = 0.1  # of a spread: how far codes are moved to see what that does


@dataclass(frozen=True)
class CodeFitConfig:
    """How codes are fitted through an avatar.

    Args:
        name: name of the new track within the capture.
        size: most pixels along the shorter side of what is compared: the head, cut out of the image. The whole
            image is compared at half of that.
        steps: of the optimisation, one render with gradient each; 5 for the last tenths of a decibel.
        cameras: at most so many of the training cameras are looked through.
        prior: how firmly codes are held near those they start from; 1 is the usual error of landmarks.
        smooth: how firmly neighbouring frames are held together; 1 is how the codes usually change.
    """

    name: str = "fitted_photometric"
    size: int = 320
    steps: int = 3
    cameras: int = 4
    prior: float = 1.0
    smooth: float = 1.0


def fit_track(
    avatar: SplatAvatar,
    capture: Capture,
    track: CodeTrack,
    config: CodeFitConfig | None = None,
    parents: dict[str, str] | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Path:
    """Fit the codes of all frames with a face and write ``tracks/<name>`` into the capture.

    Args:
        avatar: of the person in the capture.
        capture: the photos.
        track: the codes to start from; frames that it marks invalid stay as they are.
        config: see ``CodeFitConfig``.
        parents: what the avatar is, for the manifest.
        on_step: called with frames done and frames in all.

    Returns:
        The track's folder.

    Raises:
        StudioError: a track of that name exists, no frame has a face, or codes of another space.
    """
    config = config or CodeFitConfig()
    folder = capture.folder / "tracks" / config.name
    require_new(folder, next=f"choose another name than {config.name}")
    codes, before, after = fit_codes(avatar, capture, track, config, on_step)
    say(f"fitted to {_decibels(after):.2f} dB of the weighted pixels; {_decibels(before):.2f} dB before")
    provenance = dict.fromkeys((*track.provenance, "expression", "head", "neck", "eyes", "jaw"), PHOTOMETRIC)
    fitted = replace(track, codes=codes, provenance={**track.provenance, **provenance})
    report = {"weighted_psnr": {"before": round(_decibels(before), 3), "after": round(_decibels(after), 3)}}
    fitted.save(folder, parents={capture.folder.name: content_hash(capture.folder), **(parents or {})}, report=report)
    return folder


def _decibels(error: float) -> float:
    return -10 * math.log10(max(error, 1e-12))


def fit_codes(
    avatar: SplatAvatar,
    capture: Capture,
    track: CodeTrack,
    config: CodeFitConfig,
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[Codes, float, float]:
    """The fitted codes [T], and the weighted mean squared error of the finest images before and after."""
    avatar.space.require(track.codes.space, "the track")
    known = torch.nonzero(track.valid)[:, 0].tolist()
    if not known:
        raise StudioError("nothing to fit codes to", got="no frame with a face", expected="tracked frames")
    fitting = _Fitting(avatar.to("cpu"), capture, track, config, known)
    codes, errors = track.codes, []
    for start in range(0, len(known), _WINDOW):
        frames = known[start : start + _WINDOW]
        follows = start > 0 and frames[0] == known[start - 1] + 1
        fitted, checked = fitting.window(frames, codes[frames[0] - 1] if follows else None)
        codes = _replaced(codes, frames, fitted)
        errors.append(checked)
        if on_step is not None:
            on_step(start + len(frames), len(known))
    before, after = np.concatenate(errors, axis=1).mean(axis=1)
    return codes, float(before), float(after)


def _replaced(codes: Codes, frames: Sequence[int], new: Codes) -> Codes:
    tensors = {name: value.clone() for name, value in codes.tensors().items()}
    for name, value in new.tensors().items():
        tensors[name][list(frames)] = value
    return Codes(codes.space, **tensors)


class _Fitting:
    """What is the same for all windows of a clip."""

    def __init__(
        self, avatar: SplatAvatar, capture: Capture, track: CodeTrack, config: CodeFitConfig, known: list[int]
    ) -> None:
        self.avatar, self.capture, self.codes, self.config = avatar, capture, track.codes, config
        every = capture.splits["train"].cameras if "train" in capture.splits else range(len(capture.cameras))
        self.views = [every[index] for index in _spread(len(every), config.cameras)]
        self.behind = [behind_person(avatar, capture, view) for view in self.views]
        self.anchors = MovingAnchors(avatar.head, avatar.binding, avatar.rig)
        self.landmarks = avatar.head.landmark_submodel()
        spreads = _spreads(track.codes)
        self.precision = config.prior / spreads.square()
        neighbours = [t for t in known if t and bool(track.valid[t - 1])]
        pace = difference(track.codes[[t - 1 for t in neighbours]], track.codes[neighbours])
        usual = pace.square().mean(0).sqrt() if neighbours else spreads
        self.link = config.smooth / torch.maximum(usual, _PACE_FLOOR * spreads).square()
        self.pool = ThreadPoolExecutor(worker_count())
        typical = [known[index] for index in _spread(len(known), _TYPICAL)]
        states = [(self.read(t), track.codes[t]) for t in typical]
        costs = [photometric_cost(avatar, *state) for state in states]
        looks = sum(part.weights.numel() for part in states[0][0]) / _ALIKE
        self.weight = looks / (2 * float(np.mean(costs)) + 1e-9)
        widths = _DIFFERENCE * spreads
        matrices = [self.pool.submit(self._information, seen, codes, widths) for seen, codes in states]
        self.information = torch.stack([matrix.result() for matrix in matrices]).mean(0)

    def window(self, frames: list[int], last: Codes | None) -> tuple[Codes, np.ndarray]:
        """Fit frames; ``last`` is the fitted frame before them. Returns codes, and errors before and after [2, n]."""
        link = torch.stack([self.link * (t - 1 in frames or (t == frames[0] and last is not None)) for t in frames])
        clip = Clip(self.codes[frames], self.information, self.precision, link, last)
        seen, before = list(self.pool.map(self.read, frames)), torch.empty(0)
        for _ in range(self.config.steps):
            costs, gradients = zip(*self.pool.map(self._term, seen, _states(clip.trial)))
            clip.advance(torch.tensor(costs), torch.stack(gradients), self.weight)
            before = before if len(before) else clip.costs
        clip.settle(torch.tensor(list(self.pool.map(self._cost, seen, _states(clip.trial)))), self.weight)
        return clip.best, 2 * torch.stack((before, clip.costs)).numpy()

    def _information(self, seen: Sequence[Seen], codes: Codes, widths: Tensor) -> Tensor:
        with undivided():
            return photometric_information(self.avatar, seen, codes, widths)

    def _term(self, seen: Sequence[Seen], codes: Codes) -> tuple[float, Tensor]:
        with undivided():
            return photometric_term(self.avatar, self.anchors, seen, codes)

    def _cost(self, seen: Sequence[Seen], codes: Codes) -> float:
        with undivided():
            return photometric_cost(self.avatar, seen, codes)

    def read(self, timestep: int) -> list[Seen]:
        """What the cameras saw: from each the whole image, and the head in detail."""
        frames = [self.capture.frame(timestep, view) for view in self.views]
        photos = [photo_over(frame, behind) for frame, behind in zip(frames, self.behind)]
        size, codes = self.config.size, self.codes[timestep]
        parts = []
        for frame, photo, behind in zip(frames, photos, self.behind):
            whole = behind.expand(*photo.shape).contiguous().numpy()
            parts.append(self._look(photo, whole, frame.camera, codes, size // 2))
            left, top, right, bottom = _head_box(self.landmarks, codes, frame.camera)
            if min(right - left, bottom - top) >= _LEAST_SIDE:
                camera = frame.camera.cropped(left, top, right - left, bottom - top)
                box = slice(top, bottom), slice(left, right)
                parts.append(self._look(photo[box], whole[box], camera, codes, size))
        return parts

    def _look(self, photo: np.ndarray, behind: np.ndarray, camera: Camera, codes: Codes, side: int) -> Seen:
        """One image, made smaller where its shorter side has more than ``side`` pixels."""
        camera = _reduced(camera, side)
        images = [
            cv2.resize(image, (camera.width, camera.height), interpolation=cv2.INTER_AREA) for image in (photo, behind)
        ]
        regions = region_masks(self.landmarks, codes, camera)
        weights = 1 + _EMPHASIS * torch.from_numpy(regions["mouth"] | regions["eyes"]).float()
        return Seen(
            torch.from_numpy(images[0]).float()[None] / 255, torch.from_numpy(images[1])[None], weights[None], camera
        )


def _head_box(landmarks: HeadModel, codes: Codes, camera: Camera) -> tuple[int, int, int, int]:
    """Left, top, right and bottom pixel of the face and what is about it, within the image; empty where it is not."""
    points = landmarks.landmarks(landmarks.vertices(codes.expression.new_zeros(0), codes))[landmarks.landmark_valid]
    (pixels,), (depth,) = camera.project(points)
    if not bool((depth > 0).all()):
        return 0, 0, 0, 0
    low, high = pixels.amin(0), pixels.amax(0)
    margin = _MARGIN * float((high - low).max())
    limit = torch.tensor((camera.width, camera.height))
    low = torch.minimum((low - margin).floor().clamp(min=0), limit)
    high = torch.minimum((high + margin).ceil().clamp(min=0), limit)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _spread(count: int, most: int) -> list[int]:
    """At most ``most`` of ``count`` indices, evenly spread."""
    return [int(index) for index in np.linspace(0, count - 1, min(most, count)).round()]


def _states(codes: Codes) -> list[Codes]:
    return [codes[index] for index in range(len(codes.expression))]


def _reduced(cameras: Camera, side: int) -> Camera:
    """The cameras with images whose shorter side is ``side`` pixels, or as they are where they have fewer."""
    scale = min(1.0, side / min(cameras.width, cameras.height))
    return cameras.resized(round(cameras.width * scale), round(cameras.height * scale))


def _spreads(codes: Codes) -> Tensor:
    """[U] how far codes may be from those of the landmarks."""
    groups = (
        *((value, 1) for value in _POSE_SPREAD),
        (_EXPRESSION_SPREAD, len(codes.space)),
        (_JAW_SPREAD, 3),
        (_NECK_SPREAD, 3),
        (_SHIFT_SPREAD, 3),
        (_EYE_SPREAD, 6),
    )
    return torch.tensor([value for value, count in groups for _ in range(count)])
