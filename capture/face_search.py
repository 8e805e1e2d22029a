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
# Outer corners of the eyes (first), chin and forehead (then), brows, nose, cheek bones, outline.
_FORM = (33, 263, 152, 10, 133, 362, 70, 300, 105, 334, 6, 168, 1, 98, 327, 234, 454, 132, 361, 116, 345, 21, 251)
_FORM_COUNTS = 4.0  # overlap that makes up for a difference of forms
_ALIKE = 0.25  # difference of forms up to which a face may be a person who was elsewhere; of two persons about 0.5
_SAME_FORM = 0.6  # difference of forms up to which a face may be a person who was not there for a while
_OTHER_PERSON = 0.25  # share of the followed face's samples from which a second face is worth a warning


@dataclass
class _Link:
    """One face over time: sample number -> (center [2], size), and the form of its features there."""

    boxes: dict[int, tuple[np.ndarray, float]] = field(default_factory=dict)
    forms: list[np.ndarray] = field(default_factory=list)

    @property
    def weight(self) -> float:
        return sum(size**2 for _, size in self.boxes.values())

    def add(self, sample: int, face: Face) -> None:
        self.boxes[sample] = (face.center, face.size)
        self.forms.append(form_of(face))

    def unlike(self, form: np.ndarray) -> float:
        """How far a form [F] is from the mean of this face's."""
        return float(np.linalg.norm(np.mean(self.forms, axis=0) - form))

    def joined(self, other: _Link) -> _Link:
        return _Link(self.boxes | other.boxes, self.forms + other.forms)


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


def search_faces(
    frames: Iterable[np.ndarray], every: int, landmarker: Landmarker, person: int | None = None
) -> FacePath | None:
    """Follow one face through a clip.

    Args:
        frames: all frames, [H, W, 3] uint8 sRGB.
        every: search one frame in so many.
        landmarker: one that looks for several faces at once.
        person: which one, counted from the left side of the picture; when not given the most prominent face, which has
            the largest area, summed over the clip.

    Returns:
        None where there is no such face.
    """
    links: list[_Link] = []
    scale = 1.0
    for index, frame in enumerate(frames):
        if index % every:
            continue
        scale = min(_COARSE_PIXELS / max(frame.shape[:2]), 1.0)
        small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else frame
        faces = landmarker.detect(small)
        if not faces or person is not None:  # the detector readily finds one face and overlooks a smaller one
            faces = faces + _search_windows(frame, landmarker, scale)
        _extend(links, index // every, faces)
    if person is None:
        return _path(_most_prominent(links), every, scale)
    people = _people(links)
    return _path(people[person], every, scale) if person < len(people) else None


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


def form_of(face: Face) -> np.ndarray:
    """What of a face [F] is its owner's and hardly moves: places of eyes, nose and outline, in widths of the eyes.

    Turned upright in depth too, so that the head's pose tells little.
    """
    points = face.points[list(_FORM)].astype(np.float64)
    across, up = points[1] - points[0], points[3] - points[2]
    width = float(np.linalg.norm(across)) + 1e-9
    x = across / width
    y = up - (up @ x) * x
    y /= np.linalg.norm(y) + 1e-9
    axes = np.stack((x, y, np.cross(x, y)), axis=1)
    middle = 0.5 * (points[0] + points[1])
    return (((points - middle) @ axes) / width)[:, :2].ravel()


def _extend(links: list[_Link], sample: int, faces: list[Face]) -> None:
    """Append each face to the link that it overlaps and resembles most, or begin a new one.

    A face that resembles one elsewhere jumped there: after a cut, or behind another's back.
    """
    pairs = []
    for number, face in enumerate(faces):
        form = form_of(face)
        for link in links:
            overlap = _overlap(*link.boxes[max(link.boxes)], face.center, face.size)
            unlike = link.unlike(form)
            if overlap > _MIN_OVERLAP or unlike < _ALIKE:
                pairs.append((overlap - _FORM_COUNTS * unlike, number, link))
    placed: set[int] = set()
    for _, number, link in sorted(pairs, key=lambda pair: -pair[0]):
        if number not in placed and sample not in link.boxes:
            link.add(sample, faces[number])
            placed.add(number)
    for number in sorted(set(range(len(faces))) - placed, key=lambda number: -faces[number].size):
        face = faces[number]
        taken = (link.boxes[sample] for link in links if sample in link.boxes)
        if not any(_overlap(*box, face.center, face.size) > _MIN_OVERLAP for box in taken):  # found twice
            links.append(_Link())
            links[-1].add(sample, face)


def _people(links: list[_Link]) -> list[_Link]:
    """The faces of different persons from left to right, as they stand when both are seen.

    A face that leaves and comes back is the person whose form is nearest of those that were not there meanwhile.
    """
    people: list[_Link] = []
    for link in sorted(links, key=lambda link: -link.weight):
        form = np.mean(link.forms, axis=0)
        absent = [person for person in people if not set(person.boxes) & set(link.boxes)]
        nearest = min(absent, key=lambda person: person.unlike(form), default=None)
        if nearest is not None and nearest.unlike(form) < _SAME_FORM:
            people[people.index(nearest)] = nearest.joined(link)
        else:
            people.append(link)
    longest = max((len(person.boxes) for person in people), default=0)
    people = [person for person in people if len(person.boxes) > _OTHER_PERSON * longest]
    return sorted(people, key=lambda person: float(np.median([center[0] for center, _ in person.boxes.values()])))


def _most_prominent(links: list[_Link]) -> _Link | None:
    if not links:
        return None
    links = sorted(links, key=lambda link: -link.weight)
    main, others = links[0], []
    typical = float(np.median([size for _, size in main.boxes.values()]))
    for link in links[1:]:
        # A face of about the same size that is there only while the followed one is not: it left and came back.
        sizes = [size for _, size in link.boxes.values()]
        if not set(link.boxes) & set(main.boxes) and 0.5 < float(np.median(sizes)) / typical < 2.0:
            main = main.joined(link)
        else:
            others.append(link)
    if any(len(link.boxes) > max(_OTHER_PERSON * len(main.boxes), 1) for link in others):
        say("warning: several faces in the clip; following the larger one (driver.face=0, 1 … takes another)")
    return main


def _path(link: _Link | None, every: int, scale: float) -> FacePath | None:
    if link is None:
        return None
    samples = sorted(link.boxes)
    centers = np.array([link.boxes[sample][0] for sample in samples]) / scale
    return FacePath(np.array(samples) * every, centers, np.array([link.boxes[s][1] for s in samples]) / scale)
