"""How true tracking is where the truth is known, and how long it takes.

    python -m benchmarks.track [--frames 60] [--size 512] [--only landmarks,rig,single,speech] [--no-align]
    python -m benchmarks.track --only '' --clip FOLDER [--name fitted]

- landmarks: points of the head model seen by 16 cameras with 0.5 pixels of noise, scores that are vague, and cameras
  whose calibration is 0.2 pixels wrong; nothing is rendered.
- rig: the same rig rendered (2 % of exposure and colour between cameras, 0.2 pixels of calibration error), every view's
  landmarks found in the pictures, ``studio track`` from end to end.
- single: one camera of a rendered capture.
- speech: one camera sees sentences spoken: the closures of P, B and M, as SPECTRE cares for them (2022).
- clip: a tracked capture of one camera; how far the landmarks of the bare head model and of the person's mesh (with the
  track's offsets) lie from those that were seen, in pixels of a picture of 512², inner face only.

Errors of poses are told as they are, and without their mean over the clip (where the origin of a head lies in a face
that is known but for some millimetres is a matter of definition). Vertices are those of the face, in the world.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.measuring import print_table, write_json
from capture.landmarks import Landmarks
from capture.synthetic.make import SyntheticConfig, make_subject, make_synthetic_capture
from capture.synthetic.phones import SENTENCES
from capture.synthetic.rig import Flaws, make_rig
from capture.synthetic.script import perform
from capture.tracking import TrackConfig, track_capture
from capture.tracking.faces import observe_rig
from capture.tracking.landmark_basis import LandmarkBasis
from capture.tracking.track import fit_landmarks
from recon.person import head_of, identity_of, person_of
from studio.cameras import Camera
from studio.captures import open_capture
from studio.codes import Codes
from studio.heads import load_head
from studio.heads.mediapipe_points import CONTOUR, GROUPS
from studio.heads.model import HeadModel
from studio.rotations import axis_angle_to_matrix, matrix_to_axis_angle, rigid

_NOISE_PIXELS, _CALIBRATION_PIXELS, _EXPOSURE = 0.5, 0.2, 0.02
_SEEN_RADIANS = 1.2  # from the front: beyond, no landmarks are found
_LIVELY = 0.05  # standard deviation from which a channel is correlated
_LIPS = ((13, 14), (82, 87), (312, 317))  # inner rims, upper and lower
_SHUT = 0.02  # of the distance of the outer eye corners (1.8 mm in adults): lips that are closer touch
_CHUNK = 50  # frames at once
_SLACK = 0.04  # seconds by which a closure may be early or late


def calibration_degrees(rig: Camera) -> float:
    """Standard deviation of camera directions that moves pictures by 0.2 pixels."""
    return float(np.degrees(_CALIBRATION_PIXELS / float(rig.Ks[0, 0, 0])))


def noisy_landmarks(
    head: HeadModel, identity: Tensor, codes: Codes, rig: Camera, noise: float, rng: np.random.Generator
) -> dict[int, Landmarks]:
    """What a landmarker with errors of ``noise`` pixels would report of every camera, by its index."""
    points = head.landmarks(head.vertices(identity, codes))  # [T, 478, 3]
    found = {}
    for index in range(len(rig)):
        camera = rig[index]
        local = points @ camera.viewmats[0, :3, :3].T + camera.viewmats[0, :3, 3]
        pixels = local[..., :2] / local[..., 2:] * camera.Ks[0, 0, 0] + camera.Ks[0, :2, 2]
        depth = local[..., 2:] * camera.Ks[0, 0, 0] / local[..., 2].mean()
        exact = torch.cat((pixels, depth), dim=-1).numpy()
        forward = (camera.viewmats[0, :3, :3] @ codes.head_to_world[:, :3, 2:])[:, 2, 0].numpy()
        valid = -forward > np.cos(_SEEN_RADIANS)
        scores = codes.expression.numpy() * 0.8 + 0.03 + rng.normal(0, 0.05, codes.expression.shape)
        seen = (exact + rng.normal(0, noise, exact.shape)) * valid[:, None, None]
        found[index] = Landmarks(seen.astype(np.float32), scores.clip(0, 1).astype(np.float32), valid)
    return {index: landmarks for index, landmarks in found.items() if landmarks.valid.any()}


def errors(
    head: HeadModel, found: tuple[Tensor, Codes], truth: tuple[Tensor, Codes], frames: Tensor
) -> dict[str, float]:
    """Of poses, vertices of the face and expressions, over some frames."""
    codes, true = found[1][frames], truth[1][frames]
    turn = torch.rad2deg(
        matrix_to_axis_angle(
            codes.head_to_world[:, :3, :3] @ true.head_to_world[:, :3, :3].transpose(1, 2).contiguous()
        )
    )
    shift = 1000 * (codes.head_to_world[:, :3, 3] - true.head_to_world[:, :3, 3])
    face = torch.unique(head.faces[head.region_faces("face")])
    places = [
        torch.cat([head.vertices(identity, state[t : t + 1])[:, face] for t in range(len(frames))])
        for identity, state in ((found[0], codes), (truth[0], true))
    ]
    lively = torch.nonzero(true.expression.std(dim=0) > _LIVELY)[:, 0].tolist()
    r = [np.corrcoef(codes.expression[:, c].numpy(), true.expression[:, c].numpy())[0, 1] for c in lively]
    both = np.corrcoef(codes.expression[:, lively].flatten().numpy(), true.expression[:, lively].flatten().numpy())
    return {
        "turn, degrees": float(turn.norm(dim=-1).mean()),
        "turn - mean": float((turn - turn.mean(0)).norm(dim=-1).mean()),
        "shift, mm": float(shift.norm(dim=-1).mean()),
        "shift - mean": float((shift - shift.mean(0)).norm(dim=-1).mean()),
        "face, mm": 1000 * float((places[0] - places[1]).norm(dim=-1).mean()),
        "r of all weights": float(both[0, 1]),
        "r, median channel": float(np.median(np.nan_to_num(r))),
        "r, lowest channel": float(np.min(np.nan_to_num(r))),
    }


def measure_landmarks(head: str = "procedural", frames: int = 60, size: int = 512, seed: int = 0) -> dict[str, float]:
    """See the module: exact points with noise."""
    rng = np.random.default_rng(seed)
    model, identity = make_subject(head, seed)
    codes = perform("mixed", frames, 25.0, seed).codes
    rig = make_rig(16, size)
    found = noisy_landmarks(model, identity, codes, rig, _NOISE_PIXELS * size / 512, rng)
    turns = torch.from_numpy(np.radians(calibration_degrees(rig)) * rng.normal(size=(16, 3))).float()
    wrong = replace(rig, viewmats=rigid(axis_angle_to_matrix(turns), torch.zeros(16, 3)) @ rig.viewmats)
    basis = LandmarkBasis.of(model)
    began = time.process_time()
    faces = observe_rig(found, basis, wrong)
    fit, _, _ = fit_landmarks(model, basis, faces, 25.0)
    seconds = time.process_time() - began
    tracked = replace(
        Codes.neutral(model.space, (len(faces.known),)),
        expression=fit.expression,
        head_to_world=rigid(fit.rotations, fit.translations),
    )
    known = torch.from_numpy(faces.known)
    result = errors(model, (fit.identity, tracked), (identity, codes[known]), torch.arange(len(known)))
    return {**result, "frames": len(known), "processor seconds per frame": seconds / frames}


def measure_capture(config: SyntheticConfig, tracker: TrackConfig, folder: Path) -> dict[str, float]:
    """See the module: rendered, and tracked as captures are."""
    capture = open_capture(make_synthetic_capture(folder, config))
    head = load_head(config.head)
    began, busy = time.perf_counter(), time.process_time()
    track_capture(capture, head, tracker)
    seconds, busy = time.perf_counter() - began, time.process_time() - busy
    track, truth = capture.track("fitted"), capture.track("truth")
    frames = torch.nonzero(track.valid)[:, 0]
    pairs = [(torch.from_numpy(item.extras["identity"]), item.codes) for item in (track, truth)]
    result = errors(head, pairs[0], pairs[1], frames)
    marks = [head.landmarks(head.vertices(identity, codes[frames])) for identity, codes in pairs]
    pixels = [capture.cameras[0].project(points.flatten(0, 1))[0][0] for points in marks]
    return {
        **result,
        "landmarks, pixels": float((pixels[0] - pixels[1]).norm(dim=-1).mean()),
        "frames": len(frames),
        "seconds per frame": seconds / config.frames,
        "processor seconds per frame": busy / config.frames,
    }


def lip_gap(points: Tensor) -> Tensor:
    """Distance [T] of the lips' inner rims in landmarks [T, 478, D], relative to that of the outer eye corners."""
    gaps = torch.stack([(points[:, a] - points[:, b]).norm(dim=-1) for a, b in _LIPS])
    return gaps.mean(0) / (points[:, 33] - points[:, 263]).norm(dim=-1)


def closures(gap: np.ndarray, fps: float, phones: list[tuple[str, float, float]]) -> tuple[list[bool], list[bool]]:
    """Which of P, B, M show closed lips; and which frames of other sounds do.

    Args:
        gap: [T] of ``lip_gap``.
        fps: frames per second.
        phones: names, with their beginning and end in seconds.
    """
    times, shut = np.arange(len(gap)) / fps, gap < _SHUT
    other, hits = np.zeros(len(gap), bool), []
    for name, start, end in phones:
        other |= (name != "SIL") & (times >= start) & (times < end)
    for name, start, end in phones:
        if name in ("P", "B", "M"):
            hits.append(bool(shut[(times >= start - _SLACK) & (times <= end + _SLACK)].any()))
            other &= (times < start - 2 * _SLACK) | (times > end + 2 * _SLACK)
    return hits, shut[other].tolist()


def measure_speech(config: SyntheticConfig, tracker: TrackConfig) -> dict[str, float]:
    """See the module: every sentence by another subject, the same frames in the truth, the landmarks and the track."""
    head, result = load_head(config.head), dict[str, tuple[list[bool], list[bool]]]()
    for seed, sentence in enumerate(SENTENCES):
        with tempfile.TemporaryDirectory() as folder:
            spoken = replace(config, script="sentence", sentence=sentence, subject=seed, seed=seed)
            capture = open_capture(make_synthetic_capture(Path(folder) / "capture", spoken))
            track_capture(capture, head, tracker)
            track, truth = capture.track("fitted"), capture.track("truth")
            marks = {"landmarks": torch.from_numpy(track.extras["landmarks"])}
            for name, item in (("truth", truth), ("track", track)):
                marks[name] = head.landmarks(head.vertices(torch.from_numpy(item.extras["identity"]), item.codes))
            phones = [tuple(phone) for phone in capture.manifest.body["phones"]]
            for name, points in marks.items():
                hits, others = closures(lip_gap(points).numpy(), capture.fps, phones)
                before = result.get(name, ([], []))
                result[name] = (before[0] + hits, before[1] + others)
    figures = {"closures": float(len(result["truth"][0]))}
    for name, (hits, others) in result.items():
        figures |= {f"{name}: closed of P, B, M": np.mean(hits), f"{name}: closed of the rest": np.mean(others)}
    return {name: float(value) for name, value in figures.items()}


def measure_clip(folder: Path, name: str) -> dict[str, float]:
    """See the module: a capture that is tracked already."""
    capture = open_capture(folder)
    track = capture.track(name)
    head = head_of(track)
    if head is None:
        raise SystemExit(f"no head model fits the identity of the track {name}")
    inner = head.landmark_valid.clone()
    inner[[*CONTOUR, *GROUPS["irises"]]] = False
    seen = torch.from_numpy(track.extras["landmarks"])
    known, result = torch.nonzero(track.valid)[:, 0], {"frames": float(track.valid.sum())}
    for said, person in (("bare", head.with_identity(identity_of(track, head))), ("person", person_of(track, head))):
        person, errors = person.landmark_submodel(), []
        for frames in known.split(_CHUNK):
            points = person.landmarks(person.vertices(torch.zeros(person.num_identity), track.codes[frames]))
            pixels = capture.cameras[0].project(points.flatten(0, 1))[0][0].unflatten(0, points.shape[:2])
            errors.append((pixels - seen[frames]).norm(dim=-1)[:, inner])
        distance = torch.cat(errors) * 512 / max(capture.cameras.width, capture.cameras.height)
        result |= {f"{said}, pixels": float(distance.mean()), f"{said}, 95 %": float(np.quantile(distance, 0.95))}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--head", default="procedural")
    parser.add_argument("--only", default="landmarks,rig,single,speech")
    parser.add_argument("--align", action=argparse.BooleanOptionalAction, default=None)
    parser.add_argument("--clip", type=Path, help="folder of a tracked capture")
    parser.add_argument("--name", default="fitted", help="of its track")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmarks/track.json"))
    chosen = parser.parse_args()
    wanted = chosen.only.split(",")
    rows: list[dict[str, object]] = []
    if "landmarks" in wanted:
        rows.append({"case": "landmarks", **measure_landmarks(chosen.head, chosen.frames, chosen.size)})
    flaws = Flaws(
        exposure=np.log2(1 + _EXPOSURE), colour=_EXPOSURE, calibration=calibration_degrees(make_rig(16, chosen.size))
    )
    for case, cameras, made in (("rig", 16, flaws), ("single", 1, Flaws())):
        if case in wanted:
            config = SyntheticConfig(chosen.head, cameras=cameras, frames=chosen.frames, size=chosen.size, flaws=made)
            with tempfile.TemporaryDirectory() as folder:
                tracker = TrackConfig(align=chosen.align)
                rows.append({"case": case, **measure_capture(config, tracker, Path(folder) / "capture")})
    if "speech" in wanted:
        config = SyntheticConfig(chosen.head, cameras=1, frames=chosen.frames, size=chosen.size)
        rows.append({"case": "speech", **measure_speech(config, TrackConfig(align=chosen.align))})
    if chosen.clip is not None:
        rows.append({"case": "clip", **measure_clip(chosen.clip, chosen.name)})
    for row in rows:
        print_table(
            [{"figure": name, "of": row["case"], "value": value} for name, value in row.items() if name != "case"]
        )
    write_json(chosen.out, "track", rows)


if __name__ == "__main__":
    main()
