"""What one picture of a capture says, looked at once: readable, bright, sharp, matted, and where its face is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from capture.checking.face_points import head_turn
from capture.landmarker import Face, Landmarker
from studio.heads.mediapipe_points import CONTOUR

WORK_PIXELS = 640  # longer side of the pictures that are looked at
THUMB_PIXELS = 48
_DARK = 10  # of 255
_DETAIL = (1.0, 3.0)  # pixels: blurs that leave fine and coarse slopes
_REBLUR = 1.0  # pixels, see ``edge_width``
_EDGES = 0.02  # share of a picture's pixels that are taken for its edges
_FRONT = 0.6  # cosine of the head's turn: beyond, the far side of the face's outline is a guess
_STRETCHES = 64  # of a matte's sides
_TOUCHES = (0.02, 0.04)  # shares of the top and of a side that are more than a speck
_SURE_CONTOUR = 0.9  # the face's outline is shrunk by this before the matte is looked at inside


@dataclass(frozen=True)
class MatteLook:
    """What a matte says.

    Args:
        person: share of the picture that is person.
        holes: area of the holes in the person, as a share of the person.
        face_holes: share of the face's inside that is not person; 0 without a face.
        top: share of the picture's first row that is person.
        sides: [2, 64] the same for stretches of the left and the right column, from the top down.
    """

    person: float
    holes: float
    face_holes: float
    top: float
    sides: np.ndarray

    def touches(self, floor: float) -> bool:
        """Whether the person above a height of the picture (0 its top, 1 its bottom) reaches the picture's edge."""
        above = round(floor * _STRETCHES)
        beside = self.sides[:, :above].mean(1).max() if above > 0 else 0.0
        return self.top > _TOUCHES[0] or bool(beside > _TOUCHES[1])


@dataclass(frozen=True)
class Look:
    """What a picture says.

    Args:
        problem: "missing", "truncated" or "damaged", or empty when it could be read; then nothing else is known.
        digest: of the file's bytes.
        size: (width, height) in pixels.
        mean: [3] mean of the encoded values, 0..1.
        dark: share of pixels that are nearly black.
        frozen_rows: share of the rows at the bottom that are one flat colour.
        thumb: [48, 48] uint8 gray.
        edge_width: see ``edge_width``, in pixels of the picture; NaN where there are no edges.
        detail: [4] see ``fine_detail``.
        face: landmarks in pixels of the picture.
        matte: None where there is no matte; ``matte_problem`` says whether there should be one.
        matte_problem: as ``problem``, or "size".
    """

    problem: str
    digest: str = ""
    size: tuple[int, int] = (0, 0)
    mean: np.ndarray | None = None
    dark: float = 0.0
    frozen_rows: float = 0.0
    thumb: np.ndarray | None = None
    edge_width: float = float("nan")
    detail: np.ndarray | None = None
    face: Face | None = None
    matte: MatteLook | None = None
    matte_problem: str = ""


def digest_of(image: Path, matte: Path) -> str:
    """What decides a look: the bytes of both files."""
    digest = hashlib.blake2b(digest_size=16)
    for path in (image, matte):
        digest.update(path.read_bytes() if path.is_file() else b"none")
        digest.update(b"|")
    return digest.hexdigest()


def look_at(path: Path, matte_path: Path, landmarker: Landmarker | None) -> Look:
    """Look at one picture and its matte; never raises for a bad file."""
    problem, image = _read(path, cv2.IMREAD_COLOR_RGB)
    if image is None:
        return Look(problem)
    height, width = image.shape[:2]
    scale = min(WORK_PIXELS / max(height, width), 1.0)
    work = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
    gray = cv2.cvtColor(work, cv2.COLOR_RGB2GRAY)
    dark = float((gray < _DARK).mean())
    face = _face(work, scale, landmarker) if landmarker is not None and dark < 0.98 else None
    matte, matte_problem = _matte_look(matte_path, face, (width, height))
    part = _face_part(image, face)
    return Look(
        "",
        hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest(),
        (width, height),
        work.reshape(-1, 3).mean(0) / 255.0,
        dark,
        _frozen_rows(image),
        cv2.resize(gray, (THUMB_PIXELS, THUMB_PIXELS), interpolation=cv2.INTER_AREA),
        edge_width(part),
        fine_detail(part),
        face,
        matte,
        matte_problem,
    )


def _read(path: Path, how: int) -> tuple[str, np.ndarray | None]:
    """What is wrong with a file, or its pixels."""
    if not path.is_file():
        return "missing", None
    data = path.read_bytes()
    if is_cut_off(data):
        return "truncated", None
    image = cv2.imdecode(np.frombuffer(data, np.uint8), how) if data else None
    return ("damaged", None) if image is None else ("", image)


def is_cut_off(data: bytes) -> bool:
    """Whether a PNG or JPEG lacks its end."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return b"IEND" not in data[-64:]
    if data[:2] == b"\xff\xd8":
        return b"\xff\xd9" not in data[-1024:]
    return not data


def _face(work: np.ndarray, scale: float, landmarker: Landmarker) -> Face | None:
    faces = landmarker.detect(work)
    if not faces:
        return None
    face = max(faces, key=lambda face: face.size)
    return Face(face.points / np.float32(scale), face.scores)


def _face_part(image: np.ndarray, face: Face | None) -> np.ndarray:
    """The face of a picture with what is round it, or all of it without a face; gray."""
    if face is not None:
        low, high = face.center - 0.75 * face.size, face.center + 0.75 * face.size
        left, top = np.maximum(low, 0).astype(int)
        right, bottom = np.maximum(high, 0).astype(int)
        part = image[top:bottom, left:right]
        if min(part.shape[:2]) >= 16:
            return cv2.cvtColor(part, cv2.COLOR_RGB2GRAY)
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def edge_width(
    gray: np.ndarray,  # [H, W] uint8
) -> float:
    """Standard deviation in pixels of the blur of the sharper edges of a picture (Zhuo and Sim 2011).

    The picture is blurred once more by a known amount: the sharper an edge was, the more its slope loses. Taking
    differences of pixels adds 1/3 to the variance, so that perfect edges are about 0.6 wide.
    """
    picture = gray.astype(np.float32)
    again = cv2.GaussianBlur(picture, (0, 0), _REBLUR)
    slopes = [np.hypot(*(cv2.Sobel(p, cv2.CV_32F, dx, 1 - dx, ksize=3) for dx in (0, 1))) for p in (picture, again)]
    limit = np.quantile(slopes[0], 1 - _EDGES)
    peaks = (slopes[0] >= max(limit, 24.0)) & (slopes[0] >= cv2.dilate(slopes[0], np.ones((3, 3), np.uint8)))
    if peaks.sum() < 8:
        return float("nan")
    ratio = slopes[0][peaks] / np.maximum(slopes[1][peaks], 1e-3)
    widths = _REBLUR / np.sqrt(np.maximum(ratio**2 - 1.0, 1e-2))
    return float(np.quantile(widths, 0.3))


def fine_detail(
    gray: np.ndarray,  # [H, W] uint8
) -> np.ndarray:
    """[4] fine against coarse slopes across, along one diagonal, down and along the other; NaN where all is flat.

    A picture that moved during its exposure loses fine slopes in the direction of the motion, and only there.
    """
    slopes = []
    for blur in _DETAIL:
        smooth = cv2.GaussianBlur(gray.astype(np.float32), (0, 0), blur)
        dx, dy = (cv2.Sobel(smooth, cv2.CV_32F, x, 1 - x) for x in (1, 0))
        directions = np.arange(4) * np.pi / 4
        slopes.append(np.array([np.sqrt(np.mean((dx * np.cos(a) + dy * np.sin(a)) ** 2)) for a in directions]))
    return np.where(slopes[1] > 1.0, slopes[0] / np.maximum(slopes[1], 1.0), np.nan)


def _frozen_rows(image: np.ndarray) -> float:
    """Share of the rows at the bottom that show a single flat colour: what a decoder fills in."""
    flat = (np.ptp(image.reshape(len(image), -1, 3), axis=1).max(-1) <= 2)[::-1]
    return float(len(flat) if flat.all() else flat.argmin()) / len(flat)


def _matte_look(path: Path, face: Face | None, size: tuple[int, int]) -> tuple[MatteLook | None, str]:
    problem, matte = _read(path, cv2.IMREAD_GRAYSCALE)
    if matte is None:
        return None, problem
    if (matte.shape[1], matte.shape[0]) != size:
        return None, "size"
    scale = min(WORK_PIXELS / max(size), 1.0)
    small = cv2.resize(matte, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else matte
    person = small >= 128
    area = float(person.mean())
    filled = _filled(person)
    holes = float((filled & ~person).sum() / max(person.sum(), 1))
    inside = np.zeros_like(person)
    if face is not None and head_turn(face.points)[2, 2] > _FRONT:
        contour = face.points[list(CONTOUR), :2] * scale
        middle = contour.mean(0)
        hull = cv2.convexHull((middle + _SURE_CONTOUR * (contour - middle)).astype(np.int32))
        inside = cv2.fillConvexPoly(np.zeros(person.shape, np.uint8), hull, 1) > 0
    face_holes = float((inside & ~person).sum() / max(inside.sum(), 1))
    columns = person[:, [0, -1]].astype(np.float32)
    sides = cv2.resize(columns, (2, _STRETCHES), interpolation=cv2.INTER_AREA).T
    return MatteLook(area, holes, face_holes, float(person[0].mean()), sides), ""


def _filled(person: np.ndarray) -> np.ndarray:
    """The mask with what it encloses; background that reaches the picture's edge stays background."""
    outside = np.pad(~person, 1, constant_values=True).astype(np.uint8)
    _, labels = cv2.connectedComponents(outside, connectivity=4)
    return np.asarray((labels != labels[0, 0])[1:-1, 1:-1])
