"""Figures of motion, on the built-in head in its mean identity: metres there, millimetres here.

Formulas: LMD as ER-NeRF (mean-free mouth landmarks), LVE and FDD as CodeTalker, AUE as TalkingGaussian, jitter as the
mean second difference; eye aspect ratio as Soukupova and Cech (2016) with EmoFace's threshold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reenact.emotion.table import read_table, sided
from reenact.mouth import face_points, lip_gap, measuring_head
from studio.codes import ARKIT52, Codes, CodeTrack
from studio.rotations import matrix_to_axis_angle

# MediaPipe's points of the lips, in place of the 20 of the 68-point layout.
LIPS: tuple[int, ...] = (
    *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185),
    *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191),
)
_EYES = ((33, 160, 158, 133, 153, 144), (263, 387, 385, 362, 380, 373))
_IRISES = (468, 473)
_CLOSED_EYE = 0.21  # eye aspect ratio
_BLINK_SECONDS = 0.1  # at least
_LONGEST_BLINK = 0.6  # seconds: eyes that stay closed are no blink
LOWER_UNITS = (10, 12, 14, 15, 17, 20, 23, 25, 26)
UPPER_UNITS = (1, 2, 4, 5, 6, 7, 9, 43)  # 43 stands for 45, a blink
CLOSURES = ("P", "B", "M")
_REACH = 0.04  # seconds round a phone in which its closure may come
_SILENCE_EDGE = 0.1  # seconds at either end of a silence that belong to speech


@dataclass(frozen=True)
class Interval:
    """Something from one time to another, seconds: a phone, or a silence."""

    start: float
    end: float
    name: str = ""


def against(track: CodeTrack, reference: CodeTrack) -> dict[str, float]:
    """Figures of a track against a reference of the same frames, over those valid in both."""
    both = track.valid & reference.valid
    ours, theirs = track.codes[both], reference.codes[both]
    points, true = face_points(ours), face_points(theirs)
    eyes = float((true[:, _IRISES[0]] - true[:, _IRISES[1]]).norm(dim=-1).mean())
    lips, true_lips = points[:, LIPS, :2], true[:, LIPS, :2]
    lmd = ((lips - lips.mean(1, keepdim=True)) - (true_lips - true_lips.mean(1, keepdim=True))).norm(dim=-1).mean()
    mouth, upper = _regions()
    vertices, truth = _vertices(ours), _vertices(theirs)
    lve = (vertices[:, mouth] - truth[:, mouth]).square().sum(-1).amax(1).mean()
    fdd = (_dynamics(truth[:, upper]) - _dynamics(vertices[:, upper])).mean()
    turn = _relative_turns(theirs).transpose(1, 2) @ _relative_turns(ours)
    units, true_units = action_units(ours), action_units(theirs)
    error = {number: float((units[number] - true_units[number]).square().mean()) for number in units}
    return {
        "LMD, mm": 1e3 * float(lmd),
        "LMD, share of the eyes' distance": float(lmd) / eyes,
        "LVE, mm2": 1e6 * float(lve),
        "FDD, mm2": 1e6 * float(fdd),
        "AED": float((ours.expression - theirs.expression).abs().mean()),
        "APD, degrees": float(torch.rad2deg(matrix_to_axis_angle(turn.contiguous()).norm(dim=-1)).mean()),
        "AUE, lower face": sum(error[number] for number in LOWER_UNITS),
        "AUE, upper face": sum(error[number] for number in UPPER_UNITS),
        "jitter, ratio": jitter(track) / max(jitter(reference), 1e-9),
        "mouth opening, r": correlation(lip_gap(ours), lip_gap(theirs)),
        "mouth opening, ratio of ranges": dynamic_range(ours) / max(dynamic_range(theirs), 1e-9),
    }


def jitter(track: CodeTrack) -> float:
    """Mean length of the second difference of the face's points, metres a second squared, with the head's motion."""
    points = face_points(track.codes)
    pose = track.codes.head_to_world
    world = points @ pose[:, :3, :3].transpose(1, 2) + pose[:, None, :3, 3]
    if len(world) < 3:
        return 0.0
    return float(world.diff(n=2, dim=0).norm(dim=-1).mean()) * track.fps**2


def dynamic_range(codes: Codes) -> float:
    """Metres between the 5th and 95th percentile of the mouth's opening."""
    gap = lip_gap(codes)
    return float(gap.quantile(0.95) - gap.quantile(0.05))


def correlation(first: Tensor, second: Tensor) -> float:
    """Pearson's r; 0 where one of them does not move."""
    a, b = first - first.mean(), second - second.mean()
    size = float(a.norm() * b.norm())
    return float((a * b).sum()) / size if size > 1e-12 else 0.0


def action_units(codes: Codes) -> dict[int, Tensor]:
    """[T] intensities of the table's action units: how far the channels of each are on, by least squares.

    These are what the codes say, not what a detector would see in a picture.
    """
    found = {}
    for number, unit in read_table().units.items():
        weights = {channel: w for name, w in unit.channels.items() for channel in sided(name, "both")}
        values = torch.stack([codes.expression[:, ARKIT52.index(channel)] for channel in weights], dim=-1)
        amounts = torch.tensor(list(weights.values()))
        found[number] = (values @ amounts) / amounts.square().sum()
    return found


def eye_aspect(codes: Codes) -> Tensor:
    """[T] height of the eyes over their width, the mean of both."""
    points = face_points(codes)[..., :2]

    def far(a: int, b: int) -> Tensor:
        return (points[:, a] - points[:, b]).norm(dim=-1)

    ratios = [(far(up1, low1) + far(up2, low2)) / (2 * far(a, b)) for a, up1, up2, b, low2, low1 in _EYES]
    return torch.stack(ratios).mean(0)


def blinks(track: CodeTrack) -> list[Interval]:
    """When the eyes are closed for as long as a blink."""
    runs = _runs(eye_aspect(track.codes) < _CLOSED_EYE)
    found = [Interval(start / track.fps, stop / track.fps) for start, stop in runs]
    # A frame may be missing at either end of what lasts so long.
    return [item for item in found if _BLINK_SECONDS - 1.01 / track.fps <= item.end - item.start <= _LONGEST_BLINK]


def blink_figures(track: CodeTrack) -> dict[str, float]:
    """Rate, duration, and spread of the intervals."""
    found = blinks(track)
    minutes = len(track) / track.fps / 60
    gaps = np.diff([item.start for item in found])
    return {
        "blinks a minute": len(found) / max(minutes, 1e-9),
        "blink duration, s": float(np.mean([item.end - item.start for item in found])) if found else 0.0,
        "interval between blinks, median s": float(np.median(gaps)) if len(gaps) else 0.0,
    }


def closure_recall(track: CodeTrack, phones: Sequence[Interval]) -> float | None:
    """Share of P, B and M in which the lips come together: to 1 mm or a tenth of how far the mouth opens elsewhere.

    None where none is said.
    """
    gap = lip_gap(track.codes)
    near = max(1e-3, 0.1 * float(gap.quantile(0.95)))
    hits = []
    for phone in phones:
        if phone.name.upper().rstrip("012") in CLOSURES:
            first = max(0, round((phone.start - _REACH) * track.fps))
            last = min(len(gap), round((phone.end + _REACH) * track.fps) + 1)
            if first < last:
                hits.append(float(gap[first:last].min()) < near)
    return float(np.mean(hits)) if hits else None


def silence_motion(track: CodeTrack, silences: Sequence[Interval]) -> dict[str, float] | None:
    """How fast the lips move in silences, mm a second, and as a share of the rest; None where it is never silent."""
    lips = face_points(track.codes)[:, LIPS]
    speed = torch.nn.functional.pad(lips.diff(dim=0).norm(dim=-1).mean(1), (1, 0)) * track.fps
    quiet = torch.zeros(len(track), dtype=torch.bool)
    for item in silences:
        start, end = item.start + _SILENCE_EDGE, item.end - _SILENCE_EDGE
        quiet[max(0, round(start * track.fps)) : max(0, round(end * track.fps))] = True
    if not bool(quiet.any()) or bool(quiet.all()):
        return None
    still, moving = float(speed[quiet].mean()), float(speed[~quiet].mean())
    return {"silent mouth, mm/s": 1e3 * still, "silent mouth, share of speech": still / max(moving, 1e-9)}


def phones_of(extras: Mapping[str, np.ndarray]) -> list[Interval]:
    """The phones that a driver of speech leaves in its track."""
    if any(f"phones/{part}" not in extras for part in ("start", "end", "name")):
        return []
    rows = zip(extras["phones/start"], extras["phones/end"], extras["phones/name"])
    return [Interval(float(start), float(end), str(name)) for start, end, name in rows]


def _runs(flags: Tensor) -> list[tuple[int, int]]:
    edges = torch.nn.functional.pad(flags.int(), (1, 1)).diff()
    starts, stops = torch.nonzero(edges > 0)[:, 0].tolist(), torch.nonzero(edges < 0)[:, 0].tolist()
    return list(zip(starts, stops))


def _vertices(codes: Codes) -> Tensor:
    return measuring_head().vertices_head(torch.zeros(0), codes)


def _regions() -> tuple[Tensor, Tensor]:
    """Indices of the vertices round the mouth and of the upper face."""
    head = measuring_head()
    names = head.space.channels
    moved = {
        stem: torch.stack([head.expression_basis[i].norm(dim=-1) for i, n in enumerate(names) if n.startswith(stem)])
        for stem in ("mouth", "brow", "eyeWide", "eyeSquint", "eyeBlink")
    }
    mouth = moved.pop("mouth").amax(0) > 2e-3
    upper = torch.stack([value.amax(0) for value in moved.values()]).amax(0) > 1e-3
    return torch.nonzero(mouth)[:, 0], torch.nonzero(upper & ~mouth)[:, 0]


def _dynamics(vertices: Tensor) -> Tensor:
    """[V] deviation over time of the squared motion away from the template."""
    head = measuring_head()
    _, upper = _regions()
    return (vertices - head.template[upper]).square().sum(-1).std(0)


def _relative_turns(codes: Codes) -> Tensor:
    """[T, 3, 3] the head's rotation away from its mean: two people need not sit alike."""
    from studio.code_range import mean_pose

    return mean_pose(codes.head_to_world)[:3, :3].T @ codes.head_to_world[:, :3, :3]
