"""``studio doctor``: one line for each thing that the studio needs from this machine, with advice."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from platformdirs import user_cache_path

from studio.cli.config import Config
from studio.errors import StudioError

_NEEDED_GB = 5.0


@dataclass(frozen=True)
class Finding:
    """One line of the report: "ok", "note" (works without) or "bad" (must be mended)."""

    state: str
    subject: str
    found: str
    advice: str = ""


def run(config: Config) -> None:
    """Check everything and print a line for each. Raises StudioError when something must be mended."""
    checks: tuple[Callable[[], list[Finding]], ...] = (
        _python,
        _torch,
        _kernels,
        _cuda,
        _landmarker,
        _heads,
        _codecs,
        lambda: _disk(config.path("out")),
        _cache,
    )
    bad = 0
    for check in checks:
        for finding in _guarded(check):
            advice = f"; {finding.advice}" if finding.advice else ""
            print(f"{finding.state:<4}  {finding.subject:<12} {finding.found}{advice}", flush=True)
            bad += finding.state == "bad"
    if bad:
        raise StudioError(f"{bad} of the checks failed", next="follow the advice in the lines that begin with bad")


def _guarded(check: Callable[[], list[Finding]]) -> list[Finding]:
    """A check that raises is itself a finding: the report goes on."""
    try:
        return check()
    except Exception as error:
        name = getattr(check, "__name__", "disk").strip("_")
        advice = "" if isinstance(error, StudioError) else 'reinstall: pip install -c constraints.txt -e ".[dev]"'
        return [Finding("bad", name, f"{type(error).__name__}: {' '.join(str(error).split())}", advice)]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _python() -> list[Finding]:
    cores = os.cpu_count() or 1
    new_enough = sys.version_info >= (3, 10)
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {cores} cores"
    return [Finding("ok" if new_enough else "bad", "python", found, "" if new_enough else "3.10 or newer is needed")]


def _torch() -> list[Finding]:
    import torch

    passive = os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE"
    advice = "" if passive else "unset OMP_WAIT_POLICY: spinning threads slow small operations down"
    found = f"{torch.__version__}, {torch.get_num_threads()} threads"
    return [Finding("ok" if passive else "note", "torch", found, advice)]


def _cuda() -> list[Finding]:
    import torch

    present = {name: importlib.util.find_spec(name) is not None for name in ("gsplat", "nerfacc", "tinycudann")}
    listed = ", ".join(f"{name} {'there' if found else 'not installed'}" for name, found in present.items())
    if not torch.cuda.is_available():
        return [Finding("ok", "cuda", f"no device ({listed})", "everything runs on the CPU kernels")]
    compiler = shutil.which("nvcc") is not None
    advice = "" if compiler else "gsplat and nerfacc compile on first use: install the CUDA toolkit (nvcc)"
    if not present["tinycudann"]:
        advice = f"{advice}; tinycudann is optional: see CUDA in README.md".strip("; ")
    name = torch.cuda.get_device_name()
    return [Finding("ok" if compiler else "note", "cuda", f"{name} ({listed})", advice)]


def _landmarker() -> list[Finding]:
    from studio.assets import ASSETS, find_asset

    version = _version("mediapipe")
    if version is None:
        return [Finding("bad", "mediapipe", "not installed", "pip install -c constraints.txt mediapipe")]
    import mediapipe  # noqa: F401  (its shared libraries must load)

    path = find_asset("face_landmarker")
    if path is None:
        advice = f"it is downloaded at first use; offline: fetch {ASSETS['face_landmarker'].url} and set STUDIO_ASSETS"
        return [Finding("note", "mediapipe", f"{version}, without the face landmarker bundle", advice)]
    return [Finding("ok", "mediapipe", f"{version}, bundle {path}")]


def _heads() -> list[Finding]:
    from studio.assets import find_asset

    path = find_asset("ict_facekit")
    if path is None:
        return [Finding("ok", "heads", "procedural", "ICT-FaceKit is optional: see Offline assets in README.md")]
    return [Finding("ok", "heads", f"procedural, ICT-FaceKit at {path}")]


def _codecs() -> list[Finding]:
    import av

    wanted = ("h264", "hevc", "vp9", "av1", "aac", "libx264")
    missing = [name for name in wanted if name not in av.codecs_available]
    if missing:
        return [Finding("note", "video", f"PyAV {av.__version__} without {', '.join(missing)}", "pip install -U av")]
    return [Finding("ok", "video", f"PyAV {av.__version__} with {', '.join(wanted)}")]


def _disk(out: Path) -> list[Finding]:
    place = next(path for path in (out.resolve(), *out.resolve().parents) if path.is_dir())
    if not os.access(place, os.W_OK):
        return [Finding("bad", "disk", f"{place} is read-only", "give out=<another folder>")]
    free = shutil.disk_usage(place).free / 1e9
    enough = free >= _NEEDED_GB
    advice = "" if enough else f"a long clip needs about {_NEEDED_GB:g} GB"
    return [Finding("ok" if enough else "note", "disk", f"{free:.1f} GB free at {place}", advice)]


def _cache() -> list[Finding]:
    folder = user_cache_path("head-avatar-studio")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return [Finding("ok", "cache", f"{folder} is writable")]
    except OSError as error:
        return [Finding("note", "cache", f"{folder}: {error.strerror}", "set XDG_CACHE_HOME to a writable folder")]


def _kernels() -> list[Finding]:
    """Compile (once per machine) and run the splat rasteriser on a handful of Gaussians."""
    import numba
    import torch
    from llvmlite import binding

    from studio.cameras import Camera, intrinsics
    from studio.kernels.splat import rasterize_splats
    from studio.kernels.workers import worker_count

    count = 64
    camera = Camera(torch.eye(4)[None], intrinsics(64.0, 64, 64)[None], 64, 64)
    quats = torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(count, 4)
    means = torch.rand(count, 3) - torch.tensor([0.5, 0.5, -1.0])
    began = time.perf_counter()
    image = rasterize_splats(
        means,
        quats,
        torch.full((count, 3), 0.05),
        torch.full((count,), 0.8),
        torch.rand(count, 3),
        camera,
        kernels="cpu",
    )
    seconds = time.perf_counter() - began
    features = binding.get_host_cpu_features()
    known = {"avx512f": "AVX-512", "avx2": "AVX2", "neon": "NEON"}
    simd = next((name for feature, name in known.items() if features.get(feature)), "no wide vectors")
    found = f"numba {numba.__version__}, {simd}, {worker_count()} threads, first image after {seconds:.1f} s"
    if not bool(torch.isfinite(image.rgb).all()) or float(image.alpha.max()) <= 0:
        return [Finding("bad", "kernels", f"{found}, and it is wrong", "delete the kernels folder in the cache below")]
    return [Finding("ok", "kernels", found)]
