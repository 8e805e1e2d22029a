"""Speed of a driven frame, from codes to 8-bit pixels: ``python -m benchmarks.drive [--avatar DIR --track DIR …]``.

Without avatars it drives the procedural head with 50,000 Gaussians at 512² and 20,000 at 256². A fitted avatar is
driven by a track (one for each avatar) and seen by its own camera; its Gaussians overlap less. The whole frame is timed
alone (all cores on one frame) and in flight (a frame for each core, as ``reenact.render`` does), by stage, against the
bare rasteriser and against the same frame in plain torch around that rasteriser; all take turns in one run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.measuring import best_milliseconds, print_table, write_json
from benchmarks.scenes import procedural_avatar
from recon.avatars import load_avatar
from recon.avatars.splats import SplatAvatar
from recon.field import Gaussians
from reenact.render import render_frames
from studio.cameras import Camera
from studio.codes import Codes, CodeTrack
from studio.kernels.drive_reference import carry_reference
from studio.media.images import to_uint8

SIZES = ((50_000, 512), (20_000, 256))
_FRAMES = 16  # that are rendered in flight at a time


def main() -> None:
    """Print a table and write ``drive.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--avatar", type=Path, action="append", default=[], help="a fitted avatar; may be repeated")
    parser.add_argument("--track", type=Path, action="append", default=[], help="the codes that drive it")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmarks"), help="folder for the JSON file")
    options = parser.parse_args()
    if len(options.avatar) != len(options.track):
        parser.error("name one track for each avatar")
    scenes = [(load_avatar(a), CodeTrack.load(t).codes) for a, t in zip(options.avatar, options.track)]
    rows = [_row(avatar, codes) for avatar, codes in scenes or [procedural_avatar(*size) for size in SIZES]]
    print_table(rows)
    write_json(options.out / "drive.json", "drive", rows)


def _row(avatar: SplatAvatar, codes: Codes) -> dict[str, object]:
    chosen = torch.linspace(0, len(codes.expression) - 1, _FRAMES).round().long()
    times = best_milliseconds(_functions(avatar, codes[chosen]), repeats=25)
    times["in flight"] /= _FRAMES
    return {
        "Gaussians": len(avatar.learned),
        "pixels": f"{avatar.camera.width}x{avatar.camera.height}",
        "frames/s, in flight": 1e3 / times["in flight"],
        "frames/s, one by one": 1e3 / times["whole"],
        **{f"{name}, ms": times[name] for name in ("weights", "pose", "carry", "raster", "pixels", "whole")},
        "whole / raster": times["whole"] / times["raster"],
        "plain torch, ms": times["plain torch"],
        "plain torch / whole": times["plain torch"] / times["whole"],
    }


def _functions(avatar: SplatAvatar, codes: Codes) -> dict[str, Callable[[], object]]:
    """The stages of one frame, the whole of it, several in flight, and its plain torch rival."""
    camera, state = avatar.camera, codes[len(codes.expression) // 2]
    behind = torch.ones(3) if avatar.background is None else avatar.background
    cameras = Camera(
        camera.viewmats.repeat(_FRAMES, 1, 1), camera.Ks.repeat(_FRAMES, 1, 1), camera.width, camera.height
    )
    with torch.no_grad():
        anchors, components = avatar.rig.pose(state), avatar.statistics.components(state)
        gaussians = avatar.head_gaussians(state)
        output = avatar.render(camera, state)
    return {
        name: torch.no_grad()(function)
        for name, function in {
            "weights": lambda: avatar.learned.weights(avatar.statistics.components(state)),
            "pose": lambda: avatar.rig.pose(state),
            "carry": lambda: avatar.learned(anchors, components, avatar.binding.parts),
            "raster": lambda: avatar.render_gaussians(camera, gaussians, state.head_to_world),
            "pixels": lambda: output.pixels(behind),
            "whole": lambda: avatar.render(camera, state).pixels(behind),
            "in flight": lambda: list(render_frames(avatar, codes, cameras, lambda frame: frame.pixels(behind)[0])),
            "plain torch": lambda: _plain_torch(avatar, state, behind),
        }.items()
    }


def _plain_torch(avatar: SplatAvatar, state: Codes, behind: torch.Tensor) -> object:
    """The same frame with only the rasteriser compiled."""
    anchors, learned = avatar.rig.anchors(state), avatar.learned
    raw = (learned.offsets, learned.quats, learned.log_scales, learned.opacity_logits, learned.colors, learned.bases)
    weights = learned.weights(avatar.statistics.components(state))
    carried = carry_reference(
        learned.gains, (anchors.origins, anchors.quats, anchors.stretch), raw, weights, avatar.binding.parts
    )
    output = avatar.render_gaussians(avatar.camera, Gaussians(*carried), state.head_to_world)
    return to_uint8(output.over(behind)[0].numpy())


if __name__ == "__main__":
    main()
