"""How true tracking is where the truth is known, and how long it takes.

    python -m benchmarks.track [--frames 60] [--size 512] [--only landmarks,rig,single] [--head procedural] [--no-align]

- landmarks: points of the head model seen by 16 cameras with 0.5 pixels of noise, scores that are vague, and cameras
  whose calibration is 0.2 pixels wrong; nothing is rendered.
- rig: the same rig rendered (2 % of exposure and colour between cameras, 0.2 pixels of calibration error), every view's
  landmarks found in the pictures, ``studio track`` from end to end.
- single: one camera of a rendered capture.

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
from capture.synthetic.rig import Flaws, make_rig
from capture.synthetic.script import perform
from capture.tracking import TrackConfig, track_capture
from capture.tracking.faces import observe_rig
from capture.tracking.landmark_basis import LandmarkBasis
from capture.tracking.track import fit_landmarks
from studio.cameras import Camera
from studio.captures import open_capture
from studio.codes import Codes
from studio.heads import load_head
from studio.heads.model import HeadModel
from studio.rotations import axis_angle_to_matrix, matrix_to_axis_angle, rigid

_NOISE_PIXELS, _CALIBRATION_PIXELS, _EXPOSURE = 0.5, 0.2, 0.02
_SEEN_RADIANS = 1.2  # from the front: beyond, no landmarks are found
_LIVELY = 0.05  # standard deviation from which a channel is correlated


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--head", default="procedural")
    parser.add_argument("--only", default="landmarks,rig,single")
    parser.add_argument("--align", action=argparse.BooleanOptionalAction, default=None)
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
    for row in rows:
        print_table(
            [{"figure": name, "of": row["case"], "value": value} for name, value in row.items() if name != "case"]
        )
    write_json(chosen.out, "track", rows)


if __name__ == "__main__":
    main()
