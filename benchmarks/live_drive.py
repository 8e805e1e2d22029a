"""A face that drives live: a video taken as if it were filmed now, from pictures to codes.

    python -m benchmarks.live_drive clip.mp4 [--fps 25] [--seconds 20]

Once the person is known: pictures a second that become codes, the delay from a picture's arrival to its codes (median
and 95th percentile), and pictures that were left out. Run it on an idle machine: it needs both cores.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from benchmarks.measuring import print_table
from capture.live import paced
from reenact.live import LiveFace
from studio.heads import load_head


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--fps", type=float, default=25.0)
    parser.add_argument("--seconds", type=float, default=None)
    parser.add_argument("--head", default="auto")
    arguments = parser.parse_args()
    live = LiveFace(load_head(arguments.head), arguments.fps)
    began, used = time.monotonic(), time.process_time()
    states = list(live.states(paced(arguments.clip, arguments.fps, arguments.seconds)))
    seconds, used = time.monotonic() - began, time.process_time() - used
    settled = [state for state in states if state.settled]
    delays = 1e3 * np.array([state.seconds for state in settled] or [np.nan])
    span = (settled[-1].number - settled[0].number + 1) / arguments.fps if settled else np.nan
    row: dict[str, object] = {
        "clip": arguments.clip.name,
        "codes": len(states),
        "of them settled": len(settled),
        "codes/s": len(settled) / span,
        "delay ms": float(np.median(delays)),
        "95 %": float(np.quantile(delays, 0.95)),
        "left out": live.dropped,
        "no face": live.lost,
        "processor ms/picture": 1e3 * used / max(len(states), 1),
        "clip s": seconds,
    }
    print_table([row])


if __name__ == "__main__":
    main()
