"""Speed of training: ``python -m benchmarks.train [--capture folder --track name] [--size 256] [--gaussians 24000]``.

Iterations per second of the splat avatar, and what each part of a step takes: the compiled kernels by family, the
optimiser, and all the rest (torch, Python). Without a capture a small synthetic one is made first. Times are medians
over the steps; the shares are of the same steps.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measuring import print_table, write_json
from capture.synthetic.make import SyntheticConfig, make_synthetic_capture
from recon.checkpoints import Optimizer
from recon.splat_session import SplatSession
from recon.train_config import TrainConfig
from studio.captures import Capture, open_capture
from studio.heads import load_head
from studio.kernels import workers

_FAMILIES = {"splat": "raster", "drive": "deformation", "photometric": "loss", "view": "loss"}
_PARTS = ("raster", "deformation", "loss", "optimiser")
_SIZES = ((256, 24_000), (512, 36_000))


def main() -> None:
    """Measure, print a table and write ``train.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--capture", type=Path, help="a prepared capture; without it, synthetic ones of 256² and 512²")
    parser.add_argument("--track", default="fitted", help="its code track")
    parser.add_argument("--head", default="auto", help="the head model that the track was made with")
    parser.add_argument("--gaussians", type=int, help="how many; 24,000 at 256² and 36,000 at 512² if not given")
    parser.add_argument("--steps", type=int, default=100, help="steps measured, after 20 others")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmarks"), help="folder for the JSON file")
    options = parser.parse_args()
    rows = []
    if options.capture is not None:
        capture = open_capture(options.capture)
        rows.append(_row(capture, options.track, options.head, options.gaussians, options.steps))
    else:
        for size, count in _SIZES:
            with tempfile.TemporaryDirectory() as folder:
                made = SyntheticConfig(cameras=1, frames=24, size=size, supersample=1)
                capture = open_capture(make_synthetic_capture(Path(folder) / "head" / str(size), made))
                rows.append(_row(capture, "truth", "procedural", options.gaussians or count, options.steps))
    print_table(rows)
    write_json(options.out / "train.json", "training", rows)


def _row(capture: Capture, track: str, head: str, count: int | None, steps: int) -> dict[str, object]:
    size = capture.cameras.width
    count = count or (24_000 if size <= 256 else 36_000)
    config = TrainConfig(gaussians=count, iterations=steps + 20)
    session = SplatSession(capture, capture.track(track), load_head(head), config)
    clock = _Clock(type(session.optimizer))
    for key in session.keys:  # photos are decoded once in a training run
        session.views[key]
    for step in range(20):
        session.step(step)
    with clock:
        for step in range(20, 20 + steps):
            clock.time("step", session.step, step)
    step = clock.median("step")
    parts = {part: clock.median(part) for part in _PARTS}
    parts["rest"] = step - sum(parts.values())
    columns = {f"{part}, ms": value for part, value in parts.items()}
    return {
        "capture": capture.folder.name,
        "pixels": f"{size}²",
        "Gaussians": len(session.avatar.learned),
        "it/s": 1e3 / step,
        "step, ms": step,
        **columns,
    }


class _Clock:
    """Adds up, step by step, the time that the calling thread spends in each family of kernels and the optimiser."""

    def __init__(self, optimizer: type[Optimizer]) -> None:
        self._optimizer = optimizer
        self.now: dict[str, float] = defaultdict(float)
        self.steps: list[dict[str, float]] = []
        self._patched: list[tuple[Any, str, Any]] = []

    def __enter__(self) -> _Clock:
        for name, module in list(sys.modules.items()):
            stem = name.removeprefix("studio.kernels.").split("_")[0]
            if name.startswith("studio.kernels.") and getattr(module, "run", None) is workers.run and stem in _FAMILIES:
                self._patch(module, "run", self._timed(_FAMILIES[stem], workers.run))
        self._patch(self._optimizer, "step", self._timed("optimiser", self._optimizer.step))
        return self

    def __exit__(self, *error: object) -> None:
        for owner, name, value in reversed(self._patched):
            setattr(owner, name, value)

    def _patch(self, owner: Any, name: str, value: Any) -> None:
        self._patched.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    def _timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.now[part] += 1e3 * (time.perf_counter() - began)

        return timed

    def time(self, part: str, function: Callable[..., Any], *args: Any) -> None:
        """Call ``function`` as one step."""
        self.now = defaultdict(float)
        self._timed(part, function)(*args)
        self.steps.append(dict(self.now))

    def median(self, part: str) -> float:
        """Milliseconds per step."""
        return statistics.median(step.get(part, 0.0) for step in self.steps)


if __name__ == "__main__":
    main()
