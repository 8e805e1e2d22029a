"""The scenes of the benchmarks: a head-sized shell of flat Gaussians like a fitted head, and a head to be driven."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recon.avatars.splats import SplatAvatar
from recon.binding import compacted, face_density, sample_surface
from recon.bust import has_torso, interocular, with_bust
from recon.corrections import CodeStatistics
from recon.field import FieldConfig, SplatField
from studio.cameras import Camera, intrinsics, orbit
from studio.code_range import measure_range
from studio.codes import Codes, CodeTrack
from studio.heads import load_head
from studio.rotations import matrix_to_quat

SEMI_AXES = (0.075, 0.10, 0.085)  # metres


def head_shell(count: int, seed: int = 0) -> list[Tensor]:
    """means, quats, scales, opacities, colors of ``count`` Gaussians on an ellipsoid.

    Each is about twice as wide as the mean spacing, a third as thick, and lies in the surface with a random spin, so
    that a pixel sees some dozen of them and about half are hidden.
    """
    random = torch.Generator().manual_seed(seed)
    axes = torch.tensor(SEMI_AXES)
    unit = torch.nn.functional.normalize(torch.randn(count, 3, generator=random), dim=-1)
    normal = torch.nn.functional.normalize(unit / axes, dim=-1)
    tangent = torch.nn.functional.normalize(torch.linalg.cross(normal, torch.randn(count, 3, generator=random)), dim=-1)
    frame = torch.stack((tangent, torch.linalg.cross(normal, tangent), normal), dim=-1)
    a, b, c = SEMI_AXES
    area = 4 * math.pi * (((a * b) ** 1.6 + (a * c) ** 1.6 + (b * c) ** 1.6) / 3) ** (1 / 1.6)  # Thomsen's formula
    spread = 2.0 * math.sqrt(area / count) * (0.3 * torch.randn(count, 3, generator=random)).exp()
    scales = spread * torch.tensor((1.0, 1.0, 0.3))
    opacities = torch.sigmoid(1.5 * torch.randn(count, generator=random) - 0.5)
    return [unit * axes, matrix_to_quat(frame), scales, opacities, torch.rand(count, 3, generator=random)]


def portrait_camera(size: int) -> Camera:
    """One square view, a little from the side and above, the shell filling most of its height."""
    K = intrinsics(0.5 * size / math.tan(0.31), size, size)
    return orbit(torch.zeros(3), 0.36, torch.tensor([0.4]), torch.tensor([0.15]), K, size, size)


def procedural_avatar(count: int, size: int, seed: int = 0) -> tuple[SplatAvatar, Codes]:
    """An avatar on the procedural head that no footage was fitted to, and codes [T] that drive all of it.

    Opacities are spread as in ``head_shell``, corrections are random: nothing is skipped because it is zero.
    """
    random = torch.Generator().manual_seed(seed)
    head = load_head("procedural")
    person = head.with_identity(torch.zeros(head.num_identity))
    person = person if has_torso(person) else with_bust(person)
    everything = torch.ones(len(person.faces), dtype=torch.bool)
    binding = sample_surface(person, face_density(person, everything), count, random)
    small, binding = compacted(person, binding)
    codes = Codes.neutral(head.space, (60,))
    codes = codes.with_vector(0.3 * torch.rand(codes.vector().shape, generator=random).square())
    statistics = CodeStatistics.fit(codes, person, FieldConfig().components)
    learned = SplatField(binding, interocular(person), statistics.sizes.tolist(), FieldConfig(), random)
    with torch.no_grad():
        learned.opacity_logits += 1.5 * torch.randn(count, generator=random) - 0.5
        learned.colors.uniform_(generator=random)
        learned.bases.normal_(std=0.3, generator=random)
    track = CodeTrack(codes, 25.0, torch.ones(60, dtype=torch.bool))
    background = torch.rand(size, size, 3, generator=random)
    avatar = SplatAvatar(
        small,
        head.hash,
        binding,
        learned.requires_grad_(False),
        statistics,
        measure_range(track),
        portrait_camera(size),
        background,
    )
    return avatar, codes
