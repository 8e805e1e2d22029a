"""Quality of an avatar that is learned while the footage streams, against seconds.

The first 80 % of a clip are streamed at the pace at which they were filmed, on the machine that also tracks and trains.
The avatar as it stands after so many seconds is then judged on the last 20 %, which it has never seen: their codes are
tracked by what was known of the person at that moment, landmarks only, nothing is fitted to the images. PSNR of the
pooled error over all pixels, and over face and mouth (hulls of the posed landmarks).

    python -m benchmarks.online clip.mp4 --seconds 5 10 15 20

On a busy machine ``--clock cpu`` counts two seconds of this process's CPU time as one second, for the stream too: what
two free cores would do, if they shared the work without loss.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measuring import print_table, write_json
from capture.landmarks import Landmarks
from capture.live import FaceFollower, Framing, Picture, paced
from capture.tracking.landmark_basis import LandmarkBasis
from capture.tracking.live import Known, follow
from recon.avatars.splats import SplatAvatar
from recon.frames import region_masks
from recon.online import Look, OnlineConfig, learn_online
from recon.train_config import TrainConfig
from studio.codes import Codes
from studio.heads import load_head
from studio.heads.model import HeadModel
from studio.media.images import write_image
from studio.media.video_reader import probe, read_frames
from studio.rotations import rigid_inverse

_TRAINED = 0.8
_REGIONS = ("full", "face", "mouth")


def tail(source: Path, fps: float, framing: Framing) -> tuple[list[np.ndarray], Landmarks]:
    """Pictures in the window and landmarks of the last part, at the stream's rate."""
    info = probe(source, fps)
    pictures, faces = [], []
    with closing(FaceFollower()) as find:
        for frame in read_frames(source, fps=fps, start=round(_TRAINED * info.frames)):
            face = find(frame)
            if face is not None:
                pictures.append(framing.window.cut(frame))
                faces.append(face)
    points, scores = np.stack([face.points for face in faces]), np.stack([face.scores for face in faces])
    found = Landmarks(points, scores, np.ones(len(faces), bool))
    return pictures, found.in_window(framing.window.corner, framing.window.scale)


def judge(
    avatar: SplatAvatar, known: Known, head: HeadModel, pictures: list[np.ndarray], found: Landmarks
) -> dict[str, float]:
    """PSNR by region, in dB."""
    codes, _ = follow(head, LandmarkBasis.of(head), known, found)
    codes = replace(codes, head_to_world=rigid_inverse(avatar.camera.viewmats) @ codes.head_to_world)
    person = head.with_identity(known.fit.identity).landmark_submodel()
    errors: dict[str, list[np.ndarray]] = {name: [] for name in _REGIONS}
    for index, picture in enumerate(pictures):
        image = render(avatar, codes[index])
        squared = (image - picture.astype(np.float32) / 255) ** 2
        masks = region_masks(person, codes[index], avatar.camera)
        for name in _REGIONS:
            errors[name].append(squared.reshape(-1) if name == "full" else squared[masks[name]].reshape(-1))
    return {name: float(-10 * np.log10(np.concatenate(parts).mean())) for name, parts in errors.items()}


def render(avatar: SplatAvatar, codes: Codes) -> np.ndarray:
    """[H, W, 3] float32 over the learned background."""
    behind = torch.zeros(3) if avatar.background is None else avatar.background
    return avatar.render(avatar.camera, codes).over(behind)[0].clamp(0, 1).numpy()


def _half_cpu_time() -> float:
    return time.process_time() / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--seconds", type=float, nargs="+", default=[5.0, 10.0, 15.0, 20.0])
    parser.add_argument("--fps", type=float, default=OnlineConfig.fps)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--gaussians", type=int, default=12_000)
    parser.add_argument("--clock", default="wall", choices=("wall", "cpu"))
    parser.add_argument("--pictures", type=Path, default=None, help="folder for a picture of each moment")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmarks/online.json"))
    chosen = parser.parse_args()
    head = load_head("auto")
    footage = _TRAINED * probe(chosen.source).duration
    online = OnlineConfig(fps=chosen.fps, size=chosen.size)
    wanted, kept = sorted(chosen.seconds), list[tuple[float, Look, SplatAvatar, int]]()
    clock = time.monotonic if chosen.clock == "wall" else _half_cpu_time
    began: list[float] = []

    def look(now: Look) -> None:
        if len(kept) < len(wanted) and clock() - began[0] >= wanted[len(kept)]:
            kept.append((clock() - began[0], now, now.session.snapshot(), now.session.steps))

    def stream() -> Iterator[Picture]:
        began.append(clock())
        yield from paced(chosen.source, chosen.fps, stop=footage, clock=clock)
        while len(kept) < len(wanted):  # the footage has ended, training goes on
            time.sleep(0.05)

    with tempfile.TemporaryDirectory() as temporary:
        config = TrainConfig(gaussians=chosen.gaussians)
        learn_online(stream(), head, config, Path(temporary) / "live", online, look)
    framing = kept[0][1].progress.framing
    pictures, found = tail(chosen.source, chosen.fps, framing)
    rows: list[dict[str, Any]] = []
    for seconds, now, avatar, steps in kept:
        known = now.progress.known
        figures = judge(avatar, known, head, pictures, found)
        seen = {"seconds": seconds, "footage": min(seconds, footage), "frames": now.frames, "steps": steps}
        rows.append({**seen, **figures})
        if chosen.pictures is not None:
            codes, _ = follow(head, LandmarkBasis.of(head), known, found)
            state = replace(codes, head_to_world=rigid_inverse(avatar.camera.viewmats) @ codes.head_to_world)
            shown = [render(avatar, state[index]) for index in np.linspace(0, len(pictures) - 1, 5).astype(int)]
            image = np.rint(255 * np.concatenate(shown, axis=1)).astype(np.uint8)
            write_image(chosen.pictures / f"{seconds:04.1f}.png", image)
    print_table(rows)
    write_json(chosen.out, "online", rows)


if __name__ == "__main__":
    main()
