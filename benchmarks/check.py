"""How many faults ``studio check`` finds, and how often it is wrong about captures that are in order.

    python -m benchmarks.check [--keep folder] [--trials 2] [--only "knocked camera"] [--captures rig_a,one_a]

Synthetic captures of several people, head models, scripts, rigs and sizes are rendered once. Clean ones (as they are,
and with the small flaws of good rigs: sensor noise, 0.05 stops and 1 % of colour between cameras, 0.02 degrees of
calibration error, a proper crop) count false alarms: any "note" or "bad" but those of coverage, which every short
capture earns. Then faults are injected one at a time, at sizes drawn at random; a fault is found when a finding of its
kind names its camera.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.check_faults import FAULTS, Fault, copy_of, cropped
from benchmarks.measuring import print_table, write_json
from capture.checking.look import Look
from capture.checking.run import CheckConfig, Report, check_capture
from capture.synthetic.make import SyntheticConfig, make_synthetic_capture
from capture.synthetic.phones import SENTENCES
from capture.synthetic.rig import Flaws
from studio.captures import Capture, open_capture

_SPEECH = " SIL ".join(SENTENCES.values())
_GOOD = Flaws(noise=0.008, exposure=0.05, colour=0.01, blur=0.3, calibration=0.02)
CAPTURES = {
    "rig_a": SyntheticConfig("procedural", 0, "mixed", None, 8, 48, 25.0, 256, 2, 0),
    "rig_b": SyntheticConfig("ict", 1, "expressions", None, 6, 48, 25.0, 320, 2, 1, _GOOD),
    "rig_c": SyntheticConfig("procedural", 3, "expressions", None, 10, 40, 30.0, 256, 2, 3, _GOOD),
    "rig_d": SyntheticConfig("ict", 4, "mixed", None, 12, 40, 25.0, 256, 1, 4),
    "one_a": SyntheticConfig(
        "procedural", 5, "sentence", _SPEECH, 1, 260, 25.0, 256, 2, 5, replace(_GOOD, calibration=0)
    ),
    "one_b": SyntheticConfig("ict", 6, "sentence", _SPEECH, 1, 260, 25.0, 256, 2, 6),
}
_FREE = ("expressions_missing", "narrow_views")  # advice that clean captures may earn


def check(capture: Capture, memory: dict[str, Look]) -> Report:
    return check_capture(capture, CheckConfig(pictures=10000), memory=memory)


def alarms(report: Report) -> list[str]:
    """Names of checks that are wrong about a clean capture."""
    return [
        name
        for name, (_, verdict) in report.verdicts.items()
        if any(item.state in ("note", "bad") and item.kind not in _FREE for item in verdict.findings)
    ]


def is_found(report: Report, fault: Fault, named: tuple[str, ...]) -> bool:
    for item in report.findings:
        if item.kind not in fault.expected or item.state not in ("note", "bad"):
            continue
        if (
            not named
            or (not item.cameras and any(name in item.found for name in named))
            or set(named) & set(item.cameras)
        ):
            return True
    return False


def run_clean(folders: dict[str, Path], work: Path, memory: dict[str, Look]) -> tuple[list[dict[str, object]], int]:
    rows, total = [], 0
    for name, folder in folders.items():
        variants = {"as it is": open_capture(folder, complete=False)}
        if name.startswith("rig"):
            copy = copy_of(folder, work / f"{name}_cropped")
            cropped(copy, np.random.default_rng(len(rows)), follow=True)
            variants["cropped"] = open_capture(copy.folder, complete=False)
        for variant, capture in variants.items():
            report = check(capture, memory)
            silent = CAPTURES[name].script == "expressions"  # nothing is said: that its sound is silent is true
            wrong = [alarm for alarm in alarms(report) if not (silent and alarm == "sound")]
            total += len(report.verdicts)
            rows.append({"capture": f"{name}, {variant}", "false alarms": len(wrong), "by": ", ".join(wrong) or "–"})
            for item in report.findings:
                if item.state in ("note", "bad") and item.kind not in _FREE:
                    print(f"  false alarm in {name}, {variant}: {item.kind}: {item.found}", flush=True)
    return rows, total


def run_faults(
    folders: dict[str, Path], work: Path, memory: dict[str, Look], trials: int, only: str
) -> list[dict[str, object]]:
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for place, (name, fault) in enumerate(FAULTS.items()):
        if only and only not in name:
            continue
        for number, (base, folder) in enumerate(folders.items()):
            is_rig = base.startswith("rig")
            if (fault.rigs and not is_rig) or (fault.speech and is_rig):
                continue
            for trial in range(trials):
                rng = np.random.default_rng([place, number, trial])
                out = work / "faulty"
                named = fault.make(copy_of(folder, out), rng)
                report = check(open_capture(out, complete=False), memory)
                found = is_found(report, fault, named)
                others = [n for n in alarms(report) if not any(k in _kinds(report, n) for k in fault.expected)]
                counts[name][0] += found
                counts[name][1] += 1
                counts[name][2] += bool(others)
                if not found:
                    said = [f"{i.kind}: {i.found}" for i in report.findings if i.kind and i.kind not in _FREE]
                    print(f"  missed {name} in {base} trial {trial} ({', '.join(named)}): {said}", flush=True)
                shutil.rmtree(out)
        print(f"{name}: {counts[name][0]} of {counts[name][1]}", flush=True)
    return [
        {"fault": name, "found": found, "of": of, "checks beside": beside}
        for name, (found, of, beside) in counts.items()
    ]


def _kinds(report: Report, name: str) -> set[str]:
    return {item.kind for item in report.verdicts[name][1].findings}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, default=None, help="folder in which the captures are kept and found")
    parser.add_argument("--trials", type=int, default=2)
    parser.add_argument("--captures", default=",".join(CAPTURES), help="names of the captures that faults are put into")
    parser.add_argument("--only", default="", help="part of the name of the faults to inject")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmarks/check.json"))
    chosen = parser.parse_args()
    began = time.process_time()
    with tempfile.TemporaryDirectory(dir=chosen.keep and chosen.keep.parent) as temporary:
        work = Path(temporary)
        keep = chosen.keep or work / "captures"
        folders = {name: keep / name for name in CAPTURES}
        for name, folder in folders.items():
            if not folder.exists():
                make_synthetic_capture(folder, CAPTURES[name])
        memory: dict[str, Look] = {}
        clean, asked = run_clean(folders, work, memory) if not chosen.only else ([], 1)
        faulty = {name: folders[name] for name in chosen.captures.split(",")}
        faults = run_faults(faulty, work, memory, chosen.trials, chosen.only)
    wrong = sum(int(str(row["false alarms"])) for row in clean)
    found, of = (sum(int(str(row[key])) for row in faults) for key in ("found", "of"))
    if clean:
        print_table(clean)
    print_table(faults)
    print(f"found {found} of {of} faults ({100 * found / max(of, 1):.1f} %), ", end="")
    print(f"{wrong} false alarms in {asked} checks of clean captures ({100 * wrong / asked:.1f} %)")
    print(f"{time.process_time() - began:.0f} s of processor time")
    write_json(chosen.out, "check", [*clean, *faults])


if __name__ == "__main__":
    main()
