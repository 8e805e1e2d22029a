"""How much of a driver's identity leaks into another person's avatar, on synthetic subjects with known truth.

Several people (random identities of a head model) perform two scripts each. The first script is what their avatar was
recorded from; the second drives the others. What avatar B must do when driven by A is known: what B does in A's script.
Both are taken through the same tracker, so that its errors on B alone do not count.

    python -m benchmarks.leak                 # codes tracked from rendered images (needs MediaPipe's face landmarker)
    python -m benchmarks.leak --codes exact

For each way of transfer, over all pairs A -> B and all frames, on the vertices of the face in the head frame:

leak        the part of the error that looks like A: its mean over time, projected on A's resting shape minus B's, as a
            share of that difference (0: none of A, 1: B has become A); root mean square over the pairs
offset      all of the error that stays over time, whatever it looks like, as a share of the same difference
motion      what is left, root mean square in millimetres
channels    mean absolute error of the expression channels
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.measuring import print_table, write_json
from capture.synthetic.make import SyntheticConfig, make_subject, make_synthetic_capture
from capture.synthetic.script import perform
from reenact.retarget import retarget
from studio.captures import open_capture
from studio.code_guard import guarded
from studio.code_range import CodeRange, measure_range
from studio.codes import Codes, CodeTrack
from studio.heads.model import HeadModel

_FPS, _SIZE = 12.5, 256
_WORST_CHANNELS = 5


@dataclass(frozen=True)
class Subject:
    """A person as the studio sees them.

    Args:
        shape: [I] true identity.
        seen: the person's head as tracked: what the avatar is made of.
        recorded: codes of the script that the avatar was learned from.
        driving: codes of the script that drives.
    """

    shape: Tensor
    seen: HeadModel
    recorded: CodeTrack
    driving: CodeTrack


def make_exact(name: str, number: int, frames: int) -> Subject:
    """Codes as they were performed."""
    head, shape = make_subject(name, number)
    tracks = []
    for seed in (10 + number, 0):
        played = perform("mixed", frames, _FPS, seed, None)
        tracks.append(CodeTrack(played.codes, _FPS, torch.ones(frames, dtype=torch.bool)))
    return Subject(shape, head.with_identity(shape), *tracks)


def make_tracked(name: str, number: int, frames: int, folder: Path) -> Subject:
    """Codes and identity tracked from renders."""
    from capture.tracking import TrackConfig, track_capture

    head, shape = make_subject(name, number)
    tracks = []
    for seed in (10 + number, 0):
        capture, config = folder / f"{number}_{seed}", TrackConfig()
        if not capture.exists():
            made = SyntheticConfig(name, number, "mixed", None, 1, frames, _FPS, _SIZE, 1, seed)
            track_capture(open_capture(make_synthetic_capture(capture, made)), head, config)
        tracks.append(open_capture(capture).track(config.name))
    return Subject(shape, head.with_identity(_identity(tracks[0])), *tracks)


def _identity(track: CodeTrack) -> Tensor:
    return torch.from_numpy(track.extras["identity"]).float()


def as_they_are(track: CodeTrack, avatar: CodeRange) -> CodeTrack:
    """No transfer at all."""
    return track


def from_first_frame(track: CodeTrack, avatar: CodeRange) -> CodeTrack:
    """Relative to the first frame instead of a neutral state estimated over the clip."""
    away = track.codes.expression - track.codes.expression[0]
    expression = (avatar.neutral.expression + away).clamp(0, 1)
    return replace(track, codes=replace(track.codes, expression=expression))


def ours(track: CodeTrack, avatar: CodeRange) -> CodeTrack:
    """As the studio drives."""
    moved = retarget(track, avatar)
    return replace(moved, codes=guarded(moved.codes, avatar)[0])


WAYS = {"as they are": as_they_are, "from the first frame": from_first_frame, "studio": ours}


def face_vertices(head: HeadModel) -> Tensor:
    """Indices of the vertices that any expression channel moves."""
    return torch.nonzero(head.expression_basis.norm(dim=-1).amax(0) > 1e-3)[:, 0]


def motion(head: HeadModel, codes: Codes, chosen: Tensor) -> Tensor:
    """[T, V, 3] the face in the head frame, metres; neck and place are no expression."""
    still = Codes.neutral(codes.space, codes.batch)
    local = replace(codes, neck_pose=still.neck_pose, neck_translation=still.neck_translation)
    local = replace(local, head_to_world=still.head_to_world)
    parts = [
        head.vertices(torch.zeros(0), local[first : first + 16])[:, chosen] for first in range(0, codes.batch[0], 16)
    ]
    return torch.cat(parts)


def shares(
    error: Tensor,  # [T, V, 3] metres
    between: Tensor,  # [V, 3] metres, from one person's resting shape to the other's
) -> tuple[Tensor, Tensor, Tensor]:
    """Leak and offset as shares of the difference, and the rest as a root mean square in metres."""
    constant = error.mean(0)
    leak = (constant * between).sum() / between.square().sum()
    return leak, constant.norm() / between.norm(), (error - constant).square().sum(-1).mean().sqrt()


def measure(subjects: list[Subject], head: HeadModel) -> list[dict[str, object]]:
    """One row for each way of transfer."""
    chosen = face_vertices(head)
    rests = [head.with_identity(subject.shape).template[chosen] for subject in subjects]
    ranges = [measure_range(subject.recorded) for subject in subjects]
    wanted = [motion(subject.seen, subject.driving.codes, chosen) for subject in subjects]
    rows: list[dict[str, object]] = []
    for name, way in WAYS.items():
        leaks, offsets, motions, channels = (list[Tensor]() for _ in range(4))
        for a, b in permutations(range(len(subjects)), 2):
            driven = way(subjects[a].driving, ranges[b]).codes
            error = motion(subjects[b].seen, driven, chosen) - wanted[b]
            for figures, value in zip((leaks, offsets, motions), shares(error, rests[a] - rests[b]), strict=True):
                figures.append(value)
            channels.append((driven.expression - subjects[b].driving.codes.expression).abs().mean(0))
        per_channel = torch.stack(channels).mean(0)
        worst = per_channel.topk(_WORST_CHANNELS).indices.tolist()
        rows.append(
            {
                "transfer": name,
                "leak": f"{100 * torch.stack(leaks).square().mean().sqrt():.1f} %",
                "largest": f"{100 * torch.stack(leaks).abs().max():.1f} %",
                "offset": f"{100 * torch.stack(offsets).square().mean().sqrt():.1f} %",
                "motion mm": float(1e3 * torch.stack(motions).square().mean().sqrt()),
                "channels": float(per_channel.mean()),
                "worst": ", ".join(f"{head.space.channels[index]} {per_channel[index]:.2f}" for index in worst),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--head", default="ict", help="head model of the subjects")
    parser.add_argument("--codes", default="tracked", choices=("tracked", "exact"))
    parser.add_argument("--subjects", type=int, default=4)
    parser.add_argument("--frames", type=int, default=125)
    parser.add_argument("--keep", type=Path, default=None, help="folder in which the captures are kept and found")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmarks/leak.json"))
    chosen = parser.parse_args()
    head, _ = make_subject(chosen.head, 0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.keep or Path(temporary)
        subjects = [
            make_exact(chosen.head, number, chosen.frames)
            if chosen.codes == "exact"
            else make_tracked(chosen.head, number, chosen.frames, folder)
            for number in range(chosen.subjects)
        ]
    rows = measure(subjects, head)
    print_table(rows)
    write_json(chosen.out, "leak", rows)


if __name__ == "__main__":
    main()
