"""Head poses from the pixels: bundle adjustment of points on the skin by their brightness, independent of any avatar.

Landmarks of single frames scatter by some milliradians of pose, without any order in time. Here some thousand points of
the fitted surface each have one unknown brightness for the whole clip, and the poses are those at which every frame
shows it (as in direct visual odometry: Engel et al., 2018). Points are trusted the less the more expressions move
them; each may move a little from the model's surface, which absorbs errors of its shape.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from capture.tracking.face_fit import FaceFit
from capture.tracking.geometry import moved, pose_jacobian, project, projection_jacobian
from capture.tracking.patches import Patches
from studio.heads.model import HeadModel

POINTS = 2500
_ROUNDS = 10
_CHUNK = 64
_RIGID = 0.0015  # metres of movement by expression at which a point counts half
_SHAPE_SPREAD = 0.002  # metres: how far points may lie off the model's surface
# How far (standard deviation) a pose may be from that of the landmarks: radians, then metres sideways and in depth.
_POSE_SPREAD = (0.02, 0.02, 0.02, 0.004, 0.004, 0.02)
_SKIN = ("face", "ear_left", "ear_right", "scalp", "brows")


@dataclass(frozen=True)
class SkinPoints:
    """Points on the skin, linear in expression.

    Args:
        rest: [P, 3] metres, head frame, of this person.
        expression: [E, P, 3] metres.
        normals: [P, 3].
        weights: [P] trust, 1 for points that expressions do not move.
    """

    rest: Tensor
    expression: Tensor
    normals: Tensor
    weights: Tensor

    @staticmethod
    def sample(head: HeadModel, fit: FaceFit, count: int = POINTS) -> SkinPoints:
        """Points spread by area over the front of the head."""
        template = head.with_identity(fit.identity).template
        a, b, c = template[head.faces].unbind(1)
        cross = torch.linalg.cross(b - a, c - a)
        area = cross.norm(dim=-1)
        normals = cross / area[:, None].clamp(min=1e-12)
        front = head.region_faces(*_SKIN) & (normals[:, 2] > -0.2) & (template[head.faces].mean(1)[:, 2] > -0.08)
        front &= (head.skin_weights[head.faces][..., 0] > 0.9).all(-1)
        generator = torch.Generator().manual_seed(0)
        faces = torch.multinomial((area * front).double(), count, replacement=True, generator=generator)
        bary = _barycentric(count)
        corners = head.faces[faces]
        rest = (template[corners] * bary[..., None]).sum(1)
        expression = (head.expression_basis[:, corners] * bary[..., None]).sum(2)
        swing = torch.einsum("te,epd->tpd", fit.expression, expression).std(dim=0).norm(dim=-1)
        return SkinPoints(rest, expression, normals[faces], 1.0 / (1.0 + (swing / _RIGID) ** 2))

    def arms(self, fit: FaceFit, frames: slice, shape: Tensor) -> Tensor:
        """Points [t, P, 3] relative to the head's origin, camera axes."""
        moved_points = self.rest + shape + torch.einsum("te,epd->tpd", fit.expression[frames], self.expression)
        return moved_points @ fit.rotations[frames].transpose(1, 2)


def _barycentric(count: int) -> Tensor:
    """Uniform barycentric coordinates [count, 3], the same ones each time."""
    u, v = torch.rand(2, count, generator=torch.Generator().manual_seed(1))
    root = u.sqrt()
    return torch.stack((1 - root, root * (1 - v), root * v), dim=-1)


def align_poses(patches: Patches, skin: SkinPoints, fit: FaceFit) -> tuple[FaceFit, float]:
    """Poses at which every frame shows the same brightness at every point.

    Returns:
        The fit with new poses, and the remaining error relative to the detail of the images (0 perfect, 1 useless).
    """
    start = fit
    shape = torch.zeros_like(skin.rest)
    level = 1.0
    for turn in range(_ROUNDS):
        brightness = _brightness(patches, skin, fit, shape)
        fit, level = _pose_step(patches, skin, fit, shape, brightness, start)
        if turn >= 3:
            shape = _shape_step(patches, skin, fit, shape, brightness)
    return fit, level


def _chunks(count: int) -> list[slice]:
    return [slice(begin, begin + _CHUNK) for begin in range(0, count, _CHUNK)]


def _visibility(skin: SkinPoints, fit: FaceFit, frames: slice, arms: Tensor) -> Tensor:
    """Trust [t, P] by how much a point faces the camera."""
    towards = -torch.nn.functional.normalize(arms + fit.translations[frames, None], dim=-1)
    facing = ((skin.normals @ fit.rotations[frames].transpose(1, 2)) * towards).sum(-1)
    return skin.weights * ((facing - 0.25) / 0.4).clamp(0.0, 1.0)


def _look(
    patches: Patches, skin: SkinPoints, fit: FaceFit, frames: slice, shape: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Values [t, P], derivatives by points in camera axes [t, P, 3], trust [t, P] and arms [t, P, 3]."""
    arms = skin.arms(fit, frames, shape)
    points = arms + fit.translations[frames, None]
    values, slope, inside = patches.sample(frames, project(points, fit.K))
    by_point = (slope[..., None, :] @ projection_jacobian(points, fit.K))[..., 0, :]
    return values, by_point, _visibility(skin, fit, frames, arms) * inside, arms


def _brightness(patches: Patches, skin: SkinPoints, fit: FaceFit, shape: Tensor) -> Tensor:
    """The unknown brightness [P] of every point: a robust mean over the clip."""
    mean = torch.zeros(len(skin.rest))
    for robust in (False, True):
        total, weight = torch.zeros(len(skin.rest)), torch.full((len(skin.rest),), 1e-6)
        for frames in _chunks(len(fit.expression)):
            values, _, trust, _ = _look(patches, skin, fit, frames, shape)
            if robust:
                error = (values - mean).abs()
                trust = trust / (1 + (error / _typical(error)) ** 2)
            total += (trust * values).sum(0)
            weight += trust.sum(0)
        mean = total / weight
    return mean


def _typical(error: Tensor) -> Tensor:
    """Scale of robust weights: 2 standard deviations of the bulk, [t, 1]."""
    return 3.0 * error.median(dim=1, keepdim=True).values.clamp(min=0.1)


def _pose_step(
    patches: Patches, skin: SkinPoints, fit: FaceFit, shape: Tensor, brightness: Tensor, start: FaceFit
) -> tuple[FaceFit, float]:
    """One Gauss-Newton step of all poses; gain and offset of the brightness are solved along."""
    prior = torch.diag(torch.tensor([*(s**-2 for s in _POSE_SPREAD), 25.0, 0.01])).double()
    rotations, translations, errors, details = [], [], 0.0, 0.0
    for frames in _chunks(len(fit.expression)):
        values, by_point, trust, arms = _look(patches, skin, fit, frames, shape)
        error = brightness - values
        # e = brightness * (1 + gain) + offset - values(pose)
        rows = torch.cat(
            (
                (by_point[..., None, :] @ pose_jacobian(arms))[..., 0, :],
                -brightness.expand_as(values)[..., None],
                -torch.ones_like(values)[..., None],
            ),
            dim=-1,
        )
        typical = _typical(error.abs())
        weight = trust / (1 + (error / typical) ** 2) ** 2
        # Neighbouring points share their errors: they count as a fifth of as many independent ones.
        scaled = rows * (weight / (0.5 * typical) ** 2 * 0.2)[..., None]
        information = (scaled.transpose(1, 2) @ rows).double() + prior
        gradient = (scaled.transpose(1, 2) @ error[..., None])[..., 0].double()
        gradient[:, :6] -= _away(fit[frames], start[frames]).double() * prior.diagonal()[:6]
        step = torch.linalg.solve(information, gradient).float()
        turned, shifted = moved(fit.rotations[frames], fit.translations[frames], step[:, :6])
        rotations.append(turned)
        translations.append(shifted)
        errors += float((weight * error**2).sum())
        details += float((weight * (brightness**2 + error**2)).sum())
    return replace(fit, rotations=torch.cat(rotations), translations=torch.cat(translations)), (errors / details) ** 0.5


def _away(fit: FaceFit, start: FaceFit) -> Tensor:
    """Increments [t, 6] that lead from ``start`` to ``fit`` (small angles)."""
    difference = fit.rotations @ start.rotations.transpose(1, 2)
    angles = 0.5 * torch.stack(
        (
            difference[:, 2, 1] - difference[:, 1, 2],
            difference[:, 0, 2] - difference[:, 2, 0],
            difference[:, 1, 0] - difference[:, 0, 1],
        ),
        dim=-1,
    )
    return torch.cat((angles, fit.translations - start.translations), dim=-1)


def _shape_step(patches: Patches, skin: SkinPoints, fit: FaceFit, shape: Tensor, brightness: Tensor) -> Tensor:
    """Move points off the surface where that explains the clip better."""
    information = torch.zeros(len(skin.rest), 3, 3)
    gradient = torch.zeros_like(skin.rest)
    for frames in _chunks(len(fit.expression)):
        values, by_point, trust, _ = _look(patches, skin, fit, frames, shape)
        error = brightness - values
        typical = _typical(error.abs())
        weight = trust / (1 + (error / typical) ** 2) / (0.5 * typical) ** 2 * 0.02
        rows = (by_point[..., None, :] @ fit.rotations[frames, None])[..., 0, :]
        information += torch.einsum("tp,tpd,tpk->pdk", weight, rows, rows)
        gradient += torch.einsum("tp,tpd->pd", weight * error, rows)
    prior = torch.eye(3) / _SHAPE_SPREAD**2
    return shape + torch.linalg.solve(information + prior, gradient - shape / _SHAPE_SPREAD**2)
