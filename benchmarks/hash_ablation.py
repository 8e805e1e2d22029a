"""NeRSemble's ablation: one table without deformation < one with deformation < the ensemble, in cameras held out.

All three begin with the same seeds and see the same pixels in the same order, so that differences can be paired. What
was measured before is read from the results and not measured again. Ends with 1 if a step of the order is not larger
than the spread between seeds.

    python -m benchmarks.hash_ablation
    python -m benchmarks.hash_ablation --size 256 --seeds 1
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.measuring import print_table
from capture.synthetic.make import SyntheticConfig, make_synthetic_capture
from recon.evaluate import evaluate
from recon.hash_config import HashEnsembleConfig
from recon.train_hash_ensemble import HashEnsembleSession
from studio.captures import Capture, open_capture
from studio.folders import write_json

_TABLES, _TOLD = "n_hash_encodings", "latent_dim_time_deform"
_VARIANTS: dict[str, dict[str, int]] = {
    "one table, no deformation": {_TABLES: 1, _TOLD: 0},
    "one table, deformation": {_TABLES: 1},
    "ensemble, deformation": {},
}
_SPLIT = "novel_view"
Results = dict[str, dict[str, dict[str, float]]]  # by variant and seed


def main() -> None:
    """Train and judge what is missing, and show all."""
    options = _options()
    results: Results = json.loads(options.out.read_text()) if options.out.exists() else {}
    folder = options.out.parent / f"hash_ablation_{options.size}"
    if not folder.exists():
        make_synthetic_capture(folder, SyntheticConfig(script="expressions", size=options.size))
    capture = _thinned(open_capture(folder), options.every)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for seed in range(options.seeds):
        for variant in _VARIANTS:
            if str(seed) not in results.setdefault(variant, {}):
                results[variant][str(seed)] = _measure(capture, variant, seed, options.steps, options.samples)
                write_json(options.out, results)
                print(variant, seed, results[variant][str(seed)], flush=True)
    print_table(_rows(results))
    if not _ordered(results):
        raise SystemExit(1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="side of the images")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--steps", type=int, default=1500, help="of each training")
    parser.add_argument("--samples", type=int, default=32_768, help="of each step, about")
    parser.add_argument("--every", type=int, default=3, help="which timesteps are judged")
    parser.add_argument("--out", type=Path, help="results; outputs/benchmarks/hash_ablation_SIZE.json by default")
    options = parser.parse_args()
    options.out = options.out or Path(f"outputs/benchmarks/hash_ablation_{options.size}.json")
    return options


def _thinned(capture: Capture, every: int) -> Capture:
    """The capture, of whose held-out cameras only some timesteps are judged."""
    split = capture.split(_SPLIT)
    return replace(capture, splits={**capture.splits, _SPLIT: replace(split, timesteps=split.timesteps[::every])})


def _measure(capture: Capture, variant: str, seed: int, steps: int, samples: int) -> dict[str, float]:
    """Train and judge one. The tables are let in early, so that most steps see all of them."""
    config = HashEnsembleConfig(
        iterations=steps,
        samples=samples,
        seed=seed,
        render_step_size=0.003,
        window_hash_encodings_begin=0.13,
        window_hash_encodings_end=0.27,
    )
    config = replace(config, field=replace(config.field, **_VARIANTS[variant]))
    track, began, worked = capture.track("truth"), time.perf_counter(), time.process_time()
    session = HashEnsembleSession(capture, track, config)
    for step in range(steps):
        session.step(step)
    took = {"seconds": time.perf_counter() - began, "processor seconds": time.process_time() - worked}
    with tempfile.TemporaryDirectory() as folder:
        judged = evaluate(session.avatar, capture, track, _SPLIT, Path(folder) / "eval")
    return {"foreground dB": float(judged["regions"]["foreground"]["psnr"]), **took}


def _decibels(results: Results, variant: str) -> list[float]:
    return [found["foreground dB"] for found in results[variant].values()]


def _rows(results: Results) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for variant, runs in results.items():
        values = _decibels(results, variant)
        work = sum(found["processor seconds"] for found in runs.values()) / len(runs)
        row: dict[str, object] = {"variant": variant}
        row |= {f"seed {seed}": round(found["foreground dB"], 2) for seed, found in runs.items()}
        row |= {"mean": round(sum(values) / len(values), 2), "spread": round(max(values) - min(values), 2)}
        rows.append({**row, "processor s": round(work)})
    return rows


def _ordered(results: Results) -> bool:
    """Whether each step of the order, of means, is larger than the spreads of both of its ends."""
    ordered = True
    for lower, higher in zip(list(_VARIANTS)[:-1], list(_VARIANTS)[1:]):
        a, b = _decibels(results, lower), _decibels(results, higher)
        margin, spread = sum(b) / len(b) - sum(a) / len(a), max(max(a) - min(a), max(b) - min(b))
        print(f"{lower} < {higher}: {margin:.2f} dB, seeds spread over {spread:.2f}")
        ordered = ordered and margin > spread
    return ordered


if __name__ == "__main__":
    main()
