"""How well a driven splat avatar explains the photos of one moment, and how that changes with the codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recon.avatars.splats import SplatAvatar
from recon.binding import Anchors
from recon.field import Gaussians
from studio.cameras import Camera
from studio.codes import Codes
from studio.rotations import axis_angle_to_matrix, matrix_to_axis_angle, rigid

POSE = 6  # rotation (radians, world axes, about the head's origin) and translation (metres) come first in a step


def step_size(codes: Codes) -> int:
    """U, the number of unknowns of one state: pose, then ``Codes.vector``."""
    return POSE + int(codes.vector().shape[-1])


def advanced(
    codes: Codes,  # batch [...]
    steps: Tensor,  # [..., U]
) -> Codes:
    """The codes after a step; expressions may leave their range. Differentiable to the steps."""
    space, pose, vector = codes.space, codes.head_to_world, codes.vector() + steps[..., POSE:]
    rotations = axis_angle_to_matrix(steps[..., :3]) @ pose[..., :3, :3]
    expression, jaw, neck, shift, eyes = vector.split((len(space), 3, 3, 3, 6), dim=-1)
    placed = rigid(rotations, pose[..., :3, 3] + steps[..., 3:POSE])
    return Codes(space, expression, jaw, neck, shift, eyes.unflatten(-1, (2, 3)), placed)


def difference(first: Codes, second: Codes) -> Tensor:
    """The step [..., U] that leads from the first codes to the second."""
    turned = second.head_to_world[..., :3, :3] @ first.head_to_world[..., :3, :3].transpose(-1, -2)
    moved = second.head_to_world[..., :3, 3] - first.head_to_world[..., :3, 3]
    return torch.cat((matrix_to_axis_angle(turned), moved, second.vector() - first.vector()), dim=-1)


@dataclass(frozen=True)
class Seen:
    """What C cameras saw at one moment, or a part of it.

    Args:
        photos: [C, H, W, 3] 0..1.
        behind: [C, H, W, 3] what the render is composited over.
        weights: [C, H, W] how much each pixel counts.
        camera: the C cameras.
    """

    photos: Tensor
    behind: Tensor
    weights: Tensor
    camera: Camera


def photometric_term(
    avatar: SplatAvatar,
    anchors: Callable[[Codes], Anchors],  # those of the avatar, differentiable
    seen: Sequence[Seen],
    codes: Codes,  # no batch
) -> tuple[float, Tensor]:
    """Half the weighted mean squared error of a state, every image counting alike, and the gradient [U] by a step."""
    step = torch.zeros(step_size(codes), requires_grad=True)
    state = advanced(codes, step)
    components = avatar.statistics.components(state)
    gaussians = avatar.learned(anchors(state), components, avatar.binding.parts)
    cost = _half_errors(avatar, seen, gaussians, state.head_to_world)
    return float(cost.detach()), torch.autograd.grad(cost, step)[0]


@torch.no_grad()
def photometric_cost(avatar: SplatAvatar, seen: Sequence[Seen], codes: Codes) -> float:
    """Only the cost of ``photometric_term``."""
    return float(_half_errors(avatar, seen, avatar.head_gaussians(codes), codes.head_to_world))


def _half_errors(avatar: SplatAvatar, seen: Sequence[Seen], gaussians: Gaussians, head_to_world: Tensor) -> Tensor:
    total = torch.zeros(())
    for part in seen:
        image = avatar.render_gaussians(part.camera, gaussians, head_to_world).over(part.behind)
        total = total + 0.5 * (part.weights[..., None] * (image - part.photos).square()).mean()
    return total / len(seen)


@torch.no_grad()
def photometric_information(
    avatar: SplatAvatar,
    seen: Sequence[Seen],
    codes: Codes,  # no batch
    widths: Tensor,  # [U] how far each unknown is moved
) -> Tensor:
    """Gauss-Newton's matrix [U, U] of the term: products of differences of rendered images."""
    steps = torch.cat((torch.diag(widths), torch.zeros_like(widths[None])))  # the codes as they are come last
    images = torch.stack([_weighted_images(avatar, seen, advanced(codes, step)) for step in steps])
    slopes = (images[:-1] - images[-1]) / widths[:, None]
    return slopes @ slopes.T


def _weighted_images(avatar: SplatAvatar, seen: Sequence[Seen], codes: Codes) -> Tensor:
    """[M] the renders of a state; half their squared distance from the photos so weighted is the term."""
    gaussians, images = avatar.head_gaussians(codes), []
    for part in seen:
        image = avatar.render_gaussians(part.camera, gaussians, codes.head_to_world).over(part.behind)
        images.append(((part.weights / (image.numel() * len(seen))).sqrt()[..., None] * image).flatten())
    return torch.cat(images)
