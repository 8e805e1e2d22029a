"""Which face of a clip is followed: a coarse search on some frames, linked over time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np

from capture.landmarker import Face, Landmarker
from studio.logs import say

SAMPLES_PER_SECOND = 5
_COARSE_PIXELS = 640
_MIN_OVERLAP = 0.2  # of boxes between two samples, to be the same face
_OTHER_PERSON = 0.25  # share of the followed face's samples from which a second face is worth a warning


@dataclass
class _Link:
    """One face over time: sample number -> (center [2], size)."""

    boxes: dict[int, tuple[np.ndarray, float]] = field(default_factory=dict)

    @property
    def weight(self) -> float:
        return sum(size**2 for _, size in self.boxes.values())


@dataclass(frozen=True)
class FacePath:
    """Roughly where the followed face is.

    Args:
        frames: [N] indices of the searched frames in which it was found, increasing.
        centers: [N, 2] pixels.
        sizes: [N] pixels, longer side of the box round the face.
    """

    frames: np.ndarray
    centers: np.ndarray
    sizes: np.ndarray

    def at(self, frame: int) -> tuple[np.ndarray, float]:
        """Where to expect it in any frame: center [2] and size, interpolated."""
        center = [np.interp(frame, self.frames, self.centers[:, axis]) for axis in (0, 1)]
        return np.array(center), float(np.interp(frame, self.frames, self.sizes))


def search_faces(frames: Iterable[np.ndarray], every: int, landmarker: Landmarker) -> FacePath | None:
    """Follow the most prominent face: the one with the largest area, summed over the clip.

    Args:
        frames: all frames, [H, W, 3] uint8 sRGB.
        every: search one frame in so many.
        landmarker: one that looks for several faces at once.

    Returns:
        None where there is no face at all.
    """
    links: list[_Link] = []
    scale = 1.0
    for index, frame in enumerate(frames):
        if index % every:
            continue
        scale = min(_COARSE_PIXELS / max(frame.shape[:2]), 1.0)
        small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else frame
        faces = landmarker.detect(small) or _search_windows(frame, landmarker, scale)
        _extend(links, index // every, faces)
    return _chosen(links, every, scale)


def _search_windows(frame: np.ndarray, landmarker: Landmarker, scale: float) -> list[Face]:
    """Small faces are found in overlapping square windows; the first window size that shows any decides."""
    height, width = frame.shape[:2]
    for part in (1, 2):
        side = min(height, width) // part
        tops, lefts = (np.arange(0, max(extent - side, 0) + 1, max(side // 2, 1)) for extent in (height, width))
        faces: list[Face] = []
        for top in tops:
            for left in lefts:
                found = landmarker.detect(frame[top : top + side, left : left + side])
                offset = np.array([left, top, 0], np.float32)
                faces += [Face((face.points + offset) * scale, face.scores) for face in found]
        if faces:
            return faces
    return []


def _overlap(center: np.ndarray, size: float, other_center: np.ndarray, other_size: float) -> float:
    """Intersection over union of two squares."""
    reach = 0.5 * (size + other_size) - np.abs(center - other_center)
    sides = np.clip(np.minimum(reach, min(size, other_size)), 0.0, None)
    shared = float(sides.prod())
    return shared / (size**2 + other_size**2 - shared)


def _extend(links: list[_Link], sample: int, faces: list[Face]) -> None:
    """Append each face to the link that it overlaps most, or begin a new one."""
    for face in sorted(faces, key=lambda face: -face.size):
        free = [link for link in links if sample not in link.boxes]
        overlaps = [_overlap(*link.boxes[max(link.boxes)], face.center, face.size) for link in free]
        best = int(np.argmax(overlaps)) if overlaps else -1
        if best >= 0 and overlaps[best] > _MIN_OVERLAP:
            free[best].boxes[sample] = (face.center, face.size)
        elif not any(
            _overlap(*link.boxes[sample], face.center, face.size) > _MIN_OVERLAP
            for link in links
            if sample in link.boxes
        ):
            links.append(_Link({sample: (face.center, face.size)}))


def _chosen(links: list[_Link], every: int, scale: float) -> FacePath | None:
    if not links:
        return None
    links = sorted(links, key=lambda link: -link.weight)
    main, others = links[0], []
    typical = float(np.median([size for _, size in main.boxes.values()]))
    for link in links[1:]:
        # A face of about the same size that is there only while the followed one is not: it left and came back.
        sizes = [size for _, size in link.boxes.values()]
        if not set(link.boxes) & set(main.boxes) and 0.5 < float(np.median(sizes)) / typical < 2.0:
            main = _Link(main.boxes | link.boxes)
        else:
            others.append(link)
    if any(len(link.boxes) > max(_OTHER_PERSON * len(main.boxes), 1) for link in others):
        say("warning: several faces in the clip; following the larger one")
    samples = sorted(main.boxes)
    centers = np.array([main.boxes[sample][0] for sample in samples]) / scale
    return FacePath(np.array(samples) * every, centers, np.array([main.boxes[s][1] for s in samples]) / scale)
