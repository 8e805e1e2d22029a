"""A small head and a small matted capture of it: enough geometry for every rule, and quick."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from studio.cameras import Camera, intrinsics, orbit
from studio.captures import Capture, Split, capture_body, open_capture, write_cameras
from studio.codes import ARKIT52, Codes, CodeTrack
from studio.folders import Manifest, write_folder
from studio.heads.mediapipe_points import EYE_CORNERS, LIDS_LEFT, LIDS_RIGHT, LIPS
from studio.heads.model import JOINTS, HeadModel
from studio.kernels.mesh_render import Lighting, render_mesh
from studio.media.images import to_uint8, write_image

TIMESTEPS, SIZE = 8, 48


def _sphere(rows: int, columns: int, radius: float) -> tuple[torch.Tensor, torch.Tensor]:
    polar = torch.linspace(0.02, torch.pi - 0.02, rows)[:, None]
    azimuth = torch.arange(columns)[None] * (2 * torch.pi / columns)
    points = torch.stack((polar.sin() * azimuth.sin(), polar.cos() + 0 * azimuth, polar.sin() * azimuth.cos()), -1)
    first = (torch.arange(rows - 1)[:, None] * columns + torch.arange(columns)).reshape(-1)
    after = (torch.arange(rows - 1)[:, None] * columns + (torch.arange(columns) + 1) % columns).reshape(-1)
    lower = torch.stack((first, first + columns, after + columns), -1)
    upper = torch.stack((first, after + columns, after), -1)
    return points.reshape(-1, 3) * radius, torch.cat((lower, upper))


def ball_head() -> HeadModel:
    """A ball with a jaw that drops, eyes that are only joints, landmarks on its front, and no torso."""
    template, faces = _sphere(20, 28, 0.09)
    expression = torch.zeros(len(ARKIT52), len(template), 3)
    lower = (template[:, 1] < -0.02) & (template[:, 2] > 0)
    expression[ARKIT52.index("jawOpen"), lower, 1] = -0.03
    expression[ARKIT52.index("browInnerUp"), template[:, 1] > 0.05, 1] = 0.01
    weights = torch.zeros(len(template), len(JOINTS))
    weights[:, 0] = 1
    joints = torch.tensor([[0, 0, 0], [0, -0.08, -0.02], [0, -0.02, 0], [0.03, 0.02, 0.07], [-0.03, 0.02, 0.07]])
    centers = template[faces].mean(1)
    wanted = torch.zeros(478, 3) + torch.tensor([0.0, 0.0, 0.09])
    for points, place in ((LIPS, (0.0, -0.035)), (LIDS_LEFT, (0.03, 0.02)), (LIDS_RIGHT, (-0.03, 0.02))):
        turn = torch.linspace(0, 2 * torch.pi, len(points))
        wanted[list(points), :2] = torch.tensor(place) + 0.012 * torch.stack((turn.cos(), turn.sin()), -1)
    wanted[EYE_CORNERS[0], :2], wanted[EYE_CORNERS[1], :2] = torch.tensor([-0.045, 0.02]), torch.tensor([0.045, 0.02])
    region = (centers[:, 1] > 0.05).long()
    texture = (np.random.default_rng(0).random((16, 16, 3)) * 155 + 100).astype(np.uint8)
    uvs = torch.stack((torch.atan2(template[:, 0], template[:, 2]) / 6.3 + 0.5, 0.5 - template[:, 1] / 0.2), -1)
    return HeadModel(
        name="ball",
        space=ARKIT52,
        template=template,
        identity_basis=0.1 * template[None].clone(),
        identity_names=("size",),
        expression_basis=expression,
        absent=(),
        joint_positions=joints,
        joint_identity_basis=0.1 * joints[None].clone(),
        skin_weights=weights,
        faces=faces,
        uvs=uvs,
        faces_uv=faces,
        face_region=region,
        region_names=("face", "scalp"),
        texture=torch.from_numpy(texture),
        landmark_faces=torch.cdist(wanted, centers).argmin(1),
        landmark_bary=torch.full((478, 3), 1 / 3),
        landmark_valid=torch.ones(478, dtype=torch.bool),
    )


def ball_cameras() -> Camera:
    K = intrinsics(2.2 * SIZE, SIZE, SIZE)
    return orbit(torch.zeros(3), 0.6, torch.tensor([-0.5, 0.0, 0.6]), torch.tensor([0.1, 0.0, -0.1]), K, SIZE, SIZE)


def ball_track() -> CodeTrack:
    time = torch.arange(TIMESTEPS) / TIMESTEPS
    codes = Codes.neutral(ARKIT52, (TIMESTEPS,)).with_channels(
        jawOpen=0.5 + 0.5 * (6.3 * time).sin(), browInnerUp=(12.6 * time).cos().clamp(min=0)
    )
    shifted = codes.head_to_world.clone()
    shifted[:, 0, 3] = 0.01 * (6.3 * time).cos()
    codes = replace(codes, head_to_world=shifted)
    return CodeTrack(codes, 25.0, torch.ones(TIMESTEPS, dtype=torch.bool), {}, {"identity": np.array([0.3])})


def write_ball_capture(folder: Path) -> Capture:
    """Three matted cameras, eight timesteps, the ball moving its jaw before a grey wall."""
    head, cameras, track = ball_head(), ball_cameras(), ball_track()
    ids = tuple(f"{index:03d}" for index in range(TIMESTEPS))
    splits = {"train": Split(tuple(range(6)), (0, 2)), "test": Split((6, 7), (0, 1, 2))}
    identity = torch.tensor([0.3])
    with write_folder(folder, Manifest(kind="capture", body=capture_body(ids, 25.0, splits))) as out:
        write_cameras(out / "cameras.json", cameras)
        for t, name in enumerate(ids):
            shown = render_mesh(head.vertices(identity, track.codes[t]), head, cameras, Lighting())
            for c, camera in enumerate(cameras.ids):
                write_image(
                    out / "images" / camera / f"{name}.png", to_uint8(shown.over(torch.full((3,), 0.4))[c].numpy())
                )
                write_image(out / "alpha" / camera / f"{name}.png", to_uint8(shown.alpha[c].numpy()))
        for camera in cameras.ids:
            write_image(out / "background" / f"{camera}.png", np.full((SIZE, SIZE, 3), 102, np.uint8))
    return open_capture(folder)
