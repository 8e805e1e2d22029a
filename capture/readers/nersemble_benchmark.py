"""NeRSemble benchmark (nvs, mono_flame_avatar): ``<task>/<person>/sequences/<sequence>`` with videos and videos of
mattes.

    images/cam_<serial>.mp4, alpha_maps/cam_<serial>.mp4, tracking/flame2023_tracking*.npz; <person>/calibration/
    camera_params.json

Conventions of the format: ``world_2_cam`` with OpenCV axes, metres; K for each serial, in pixels of the videos.
FLAME's rotation is applied outside of the model (``rotation_matrices``; ``rotation`` holds their Euler angles) after
``scale`` and before ``translation``; it becomes the track "flame", whose ``head_to_world`` leaves the scale out (it
is kept in the extras). The benchmark's hold-out cameras are the split "novel_view"; the rest is "train".
"""

from __future__ import annotations

from pathlib import Path

import torch

from capture.formats.files import numbers, read_arrays, reading
from capture.formats.flame import flame_track
from capture.formats.footage import Footage, FootageConfig
from capture.formats.nersemble_videos import is_video_sequence, read_video_sequence
from capture.readers import footage_reader
from studio.captures import Split
from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.rotations import matrix_to_axis_angle

HOLD_OUT = {"nvs": ("222200046", "222200037", "222200039"), "mono": ("222200046", "220700191", "222200039")}
_NAMES = {"expression": "expr", "neck": "neck_pose", "jaw": "jaw_pose", "eyes": "eyes_pose"}


def accepts(source: Path) -> bool:
    """Whether it is a sequence of videos with mattes."""
    return is_video_sequence(source) and (source / "alpha_maps").is_dir()


def describe(source: Path, config: FootageConfig) -> Footage:
    """The cameras, videos, mattes and FLAME tracking of a sequence."""
    sequence = read_video_sequence(source)
    serials, frames = sequence.rig.serials, sequence.frames
    task = "mono" if sequence.person.parent.name.startswith("mono") else "nvs"
    held = tuple(index for index, serial in enumerate(serials) if serial in HOLD_OUT[task])
    kept = tuple(index for index in range(len(serials)) if index not in held)
    times = tuple(range(frames))
    splits = {"train": Split(times, kept), "novel_view": Split(times, held)} if held and kept else {}
    tracking = sorted((source / "tracking").glob("flame2023_tracking*.npz"))
    tracks = {"flame": _flame(tracking[-1], frames, sequence.fps)} if tracking else {}
    return Footage(
        format="nersemble_benchmark",
        viewmats=sequence.rig.viewmats,
        Ks=sequence.rig.Ks,
        size=sequence.size,
        camera_ids=serials,
        timestep_ids=[f"{index:05d}" for index in times],
        fps=sequence.fps,
        streams=sequence.clips(source / "alpha_maps"),
        described_by=[sequence.calibration, *tracking[-1:]],
        splits=splits,
        tracks=tracks,
        beside=source,
    )


def _flame(path: Path, frames: int, fps: float) -> CodeTrack:
    with reading(path, "FLAME's parameters: expression, rotation_matrices, translation, jaw, neck, eyes, shape"):
        arrays = read_arrays(path)
        rotations = numbers(arrays["rotation_matrices"], (-1, 3, 3), f"rotation_matrices of {path}")
        parameters = {name: arrays[stored] for stored, name in _NAMES.items()}
        parameters |= {
            "translation": arrays["translation"],
            "rotation": matrix_to_axis_angle(torch.from_numpy(rotations)).numpy(),
            "shape": arrays["shape"].reshape(-1),
            "scale": arrays["scale"],
        }
    track = flame_track(parameters, fps, str(path))
    if len(track) != frames:
        raise StudioError(f"{path} does not fit the videos", got=f"{len(track)} frames", expected=frames)
    return track


READER = footage_reader(FootageConfig, accepts, describe)
