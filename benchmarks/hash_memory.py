"""Whether the memory that a radiance field's training takes grows with the length of what was filmed.

A synthetic rig is rendered once; a longer capture repeats its frames, as files of their own. Each is trained on in a
process of its own, for as many steps as it takes to read every frame of the longer one, and the process' largest
resident memory is read.

    python -m benchmarks.hash_memory
    python -m benchmarks.hash_memory --size 128 --frames 20 --times 8
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.measuring import print_table, write_json
from capture.synthetic.make import SyntheticConfig, make_synthetic_capture
from recon.hash_config import HashEnsembleConfig
from recon.train_hash_ensemble import HashEnsembleSession
from studio.captures import Split, capture_body, open_capture, write_cameras
from studio.codes import Codes, CodeTrack
from studio.folders import Manifest, write_folder

_CAMERAS = 8
_CACHE_MEGABYTES = 32
_PICTURES = ("images", "alpha", "depth")


def main() -> None:
    """Measure both, or one in this process."""
    options = _options()
    if options.one:
        print(json.dumps(_train(options.one, options.steps)))
        return
    with tempfile.TemporaryDirectory() as folder:
        short, long = Path(folder) / "short", Path(folder) / "long"
        settings = SyntheticConfig(
            script="expressions", cameras=_CAMERAS, frames=options.frames, size=options.size, supersample=1
        )
        make_synthetic_capture(short, settings)
        _repeat(short, long, options.times)
        rows = [_row(path, options.frames * options.times) for path in (short, long)]
    print_table(rows)
    grown = float(str(rows[1]["peak MB"])) / float(str(rows[0]["peak MB"])) - 1.0
    print(f"{options.times} times the frames: {100 * grown:+.1f} % of memory")
    write_json(options.out, "hash_memory", rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="side of the images")
    parser.add_argument("--frames", type=int, default=12, help="of the shorter capture")
    parser.add_argument("--times", type=int, default=8, help="how often the longer one repeats them")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmarks/hash_memory.json"))
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def _repeat(source: Path, out: Path, times: int) -> None:
    """A capture that shows another's frames over and over."""
    capture, track = open_capture(source), open_capture(source).track("truth")
    count = len(capture)
    ids = [f"{index:05d}" for index in range(count * times)]
    splits = {"train": Split(tuple(range(len(ids))), tuple(range(len(capture.cameras))))}
    manifest = Manifest(kind="capture", code_space=track.codes.space.name, body=capture_body(ids, capture.fps, splits))
    with write_folder(out, manifest) as folder:
        write_cameras(folder / "cameras.json", capture.cameras)
        for kind in _PICTURES:
            for path in (source / kind).glob("*/*"):
                (folder / kind / path.parent.name).mkdir(parents=True, exist_ok=True)
                for turn in range(times):
                    name = ids[capture.timestep_ids.index(path.stem) + turn * count]
                    os.link(path, folder / kind / path.parent.name / f"{name}{path.suffix}")
        tensors = {name: torch.cat([value] * times) for name, value in track.codes.tensors().items()}
        codes = Codes(track.codes.space, **tensors)
        valid = torch.ones(len(ids), dtype=torch.bool)
        replace(track, codes=codes, valid=valid, extras={}).save(folder / "tracks" / "truth")


def _row(capture: Path, steps: int) -> dict[str, object]:
    command = [sys.executable, "-m", "benchmarks.hash_memory", "--one", str(capture), "--steps", str(steps)]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    return dict(json.loads(found))


def _train(folder: Path, steps: int) -> dict[str, object]:
    """Steps that read another timestep each, and what they took at most."""
    capture = open_capture(folder)
    track: CodeTrack = capture.track("truth")
    everything = Split(tuple(range(len(capture))), tuple(range(len(capture.cameras))))
    capture = replace(capture, splits={"train": everything})
    config = HashEnsembleConfig(
        iterations=steps, samples=16_384, cache_megabytes=_CACHE_MEGABYTES, renew_every=1, cells=48
    )
    session = HashEnsembleSession(capture, track, config)
    for step in range(steps):
        session.step(step)
    frame = capture.frame(0, 0).image
    held = frame.size // 3 * (3 + 1 + 4) * len(capture.cameras)  # colours, matte, depth
    return {
        "frames": len(capture),
        "decoded, MB": round(held * len(capture) / 2**20),
        "cache, MB": _CACHE_MEGABYTES,
        "images read": session.stream.reads,
        "peak MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10),
    }


if __name__ == "__main__":
    main()
