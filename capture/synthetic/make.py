"""A capture of a head model: rendered images, mattes and depth, sound, and the exact codes as track "truth"."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from capture.synthetic.rig import FlawedCameras, Flaws, held_out_cameras, make_rig
from capture.synthetic.script import Performance, perform
from studio.avatar import RenderOutput
from studio.cameras import Camera
from studio.captures import Split, capture_body, write_cameras
from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.folders import Manifest, require_new, write_folder
from studio.heads import load_head
from studio.heads.model import HeadModel
from studio.kernels.mesh_render import Lighting, MeshSurface, render_mesh
from studio.kernels.workers import worker_count
from studio.logs import progress
from studio.media.audio import write_wav
from studio.media.depth import encode_depth
from studio.media.images import to_uint8, write_image

_IDENTITY_SPREAD = 0.8  # standard deviations
_BATCH = 16  # timesteps posed at once


@dataclass(frozen=True)
class SyntheticConfig:
    """What is recorded, and how well.

    Args:
        head: "procedural" or "ict".
        subject: seed of the person's shape and looks.
        script: "mixed", "expressions", "sentence" or "claps"; see ``capture.synthetic.script``.
        sentence: what is said: a name or ARPAbet phones; chosen by the subject's number when not given.
        cameras: how many.
        frames: how many of each camera.
        fps: frames per second.
        size: side of the square images in pixels.
        supersample: samples along each side of a pixel.
        seed: of the performance and of the flaws.
        flaws: what is wrong with the cameras.
    """

    head: str = "procedural"
    subject: int = 0
    script: str = "mixed"
    sentence: str | None = None
    cameras: int = 16
    frames: int = 60
    fps: float = 25.0
    size: int = 512
    supersample: int = 2
    seed: int = 0
    flaws: Flaws = field(default_factory=Flaws)


def make_synthetic_capture(out: Path, config: SyntheticConfig | None = None) -> Path:
    """Render a capture folder with its track "truth". Returns the folder.

    Raises:
        StudioError: the folder exists, or a setting is out of range.
    """
    config = config or SyntheticConfig()
    _check(config)
    require_new(out)
    head, identity = make_subject(config.head, config.subject)
    played = perform(config.script, config.frames, config.fps, config.seed, config.sentence)
    rig = make_rig(config.cameras, config.size)
    cameras = FlawedCameras(config.flaws, config.cameras, config.seed)
    ids = [f"{index:05d}" for index in range(config.frames)]
    body = capture_body(ids, config.fps, _splits(played, config.cameras))
    body |= {"segments": list(played.segments), "phones": [[p.name, p.start, p.end] for p in played.phones]}
    manifest = Manifest(
        kind="capture",
        code_space=head.space.name,
        head_hash=head.hash,
        seed=config.seed,
        licence="generated, free of rights" if head.name == "procedural" else f"rendered from {head.name}",
        consent="nobody was filmed",
        synthetic=True,
        body=body,
    )
    with write_folder(out, manifest) as folder:
        write_cameras(folder / "cameras.json", cameras.miscalibrated(rig))
        write_wav(folder / "audio.wav", played.audio)
        truth = CodeTrack(
            played.codes,
            config.fps,
            torch.ones(config.frames, dtype=torch.bool),
            {"expression": "script", "head": "script", "identity": "script"},
            {"identity": identity.numpy()},
        )
        truth.save(folder / "tracks" / "truth")
        _render(folder, head, identity, played, rig, cameras, config)
    return out


def make_subject(name: str, subject: int) -> tuple[HeadModel, Tensor]:
    """A person: a head model with their colours, and their identity parameters [I]."""
    head = load_head(name)
    rng = np.random.default_rng([subject, 4])
    identity = torch.from_numpy(rng.normal(0, _IDENTITY_SPREAD, head.num_identity).clip(-2, 2)).float()
    if head.name == "procedural":
        from studio.heads.procedural import Appearance, paint

        head = replace(head, texture=paint(Appearance.random(subject)))
    return head, identity


def _check(config: SyntheticConfig) -> None:
    for name, least in (("cameras", 1), ("frames", 1), ("size", 16), ("supersample", 1)):
        if getattr(config, name) < least:
            raise StudioError(f"{name} of a synthetic capture", got=getattr(config, name), expected=f"{least} or more")
    if config.fps <= 0:
        raise StudioError("fps of a synthetic capture", got=config.fps, expected="more than 0")


def _splits(played: Performance, cameras: int) -> dict[str, Split]:
    """Train on seen expressions from most cameras; test new cameras, new expressions, and both at once."""
    seen = tuple(np.flatnonzero(~played.unseen).tolist())
    unseen = tuple(np.flatnonzero(played.unseen).tolist())
    held_out = held_out_cameras(cameras)
    kept = tuple(index for index in range(cameras) if index not in held_out)
    splits = {"train": Split(seen, kept), "novel_expression": Split(unseen, kept)}
    if held_out:
        splits |= {"novel_view": Split(seen, held_out), "novel_view_expression": Split(unseen, held_out)}
    return splits


def _render(
    folder: Path,
    head: HeadModel,
    identity: Tensor,
    played: Performance,
    rig: Camera,
    cameras: FlawedCameras,
    config: SyntheticConfig,
) -> None:
    """Write the images of all frames; files are encoded in threads while the next frame is drawn."""
    backdrop, surface, person = _backdrop(config.size), MeshSurface.of(head), head.with_identity(identity)
    for index, name in enumerate(rig.ids):
        write_image(folder / "background" / f"{name}.png", to_uint8(cameras.expose(backdrop, index, -1)))
    for kind in ("images", "alpha", "depth"):
        for name in rig.ids:
            (folder / kind / name).mkdir(parents=True)
    pending: list[Future[None]] = []
    with ThreadPoolExecutor(worker_count()) as writers:
        for timestep in progress(range(config.frames), "rendering"):
            if timestep % _BATCH == 0:
                posed = person.vertices(torch.zeros(0), played.codes[timestep : timestep + _BATCH])
            output = render_mesh(posed[timestep % _BATCH], surface, rig, Lighting(), supersample=config.supersample)
            for done in pending:
                done.result()
            images = output.over(torch.from_numpy(backdrop).float()).numpy()
            pending = [
                writers.submit(_write, folder, name, index, timestep, images[index], output, cameras)
                for index, name in enumerate(rig.ids)
            ]
        for done in pending:
            done.result()


def _write(
    folder: Path,
    name: str,
    index: int,
    timestep: int,
    image: np.ndarray,
    output: RenderOutput,
    cameras: FlawedCameras,
) -> None:
    file = f"{name}/{timestep:05d}.png"
    write_image(folder / "images" / file, to_uint8(cameras.expose(image, index, timestep)))
    write_image(folder / "alpha" / file, to_uint8(output.alpha[index].numpy()))
    write_image(folder / "depth" / file, encode_depth(output.depth[index].numpy()))


def _backdrop(size: int) -> np.ndarray:
    """A studio wall [size, size, 3]: grey, a little lighter in the middle."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    glow = 0.10 * np.exp(-3.0 * (x * x + y * y))
    return (0.52 + glow)[..., None] * np.array((0.97, 1.0, 1.03))
