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
from capture.tracking.geometry import moved, project, projection_jacobian
from capture.tracking.patches import Patches
from studio.heads.model import HeadModel
from studio.rotations import matrix_to_axis_angle

POINTS = 2000
_POSE_ROUNDS, _JOINT_ROUNDS = 8, 8
_CHUNK = 64
_SHAPE_AFTER = 3  # rounds of poses alone before the surface may give way
_INDEPENDENT = 0.3  # neighbouring points share their errors: so many count as independent
_RIGID = 0.0015  # metres of movement by expression at which a point counts half
_SHAPE_SPREAD = 0.002  # metres: how far points may lie off the model's surface
# How far (standard deviation) a pose may be from that of the landmarks: radians, then metres sideways and in depth.
_POSE_SPREAD = (0.06, 0.06, 0.03, 0.005, 0.005, 0.03)
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

    def in_head(self, expression: Tensor) -> Tensor:
        """Points [T, P, 3] in the head frame for expressions [T, E]."""
        return self.rest + (expression @ self.expression.flatten(1)).unflatten(-1, (-1, 3))


def _barycentric(count: int) -> Tensor:
    """Uniform barycentric coordinates [count, 3], the same ones each time."""
    u, v = torch.rand(2, count, generator=torch.Generator().manual_seed(1))
    root = u.sqrt()
    return torch.stack((1 - root, root * (1 - v), root * v), dim=-1)


def align(patches: Patches, skin: SkinPoints, fit: FaceFit, precision: Tensor) -> tuple[FaceFit, float]:
    """Poses, then poses and expressions, at which every frame shows the same brightness at every point.

    Args:
        patches: the images' detail.
        skin: points on the surface.
        fit: where to begin; also the prior of poses and expressions.
        precision: [T, E, E] how firmly the expressions of ``fit`` are known.

    Returns:
        The fit with new poses and expressions, and the remaining error relative to the detail of the images
        (0 perfect, 1 useless).
    """
    start = fit
    shape = torch.zeros_like(skin.rest)
    brightness: Tensor | None = None
    level = 1.0
    for turn in range(_POSE_ROUNDS + _JOINT_ROUNDS):
        joint = turn >= _POSE_ROUNDS
        weights = torch.ones_like(skin.weights) if joint else skin.weights
        current = replace(skin, weights=weights, rest=skin.rest + shape)
        brightness = _brightness(patches, current, fit, brightness)
        normal = _ShapeSystem.empty(len(skin.rest))
        parts, errors, details = [], 0.0, 0.0
        for frames in _chunks(len(fit.expression)):
            look = _look(patches, current, fit[frames], frames, brightness)
            normal.add(look, fit.rotations[frames])
            prior = precision[frames] if joint else None
            parts.append(_step(look, current, fit[frames], start[frames], brightness, prior))
            errors += float((look.weight * look.error**2).sum())
            details += float((look.weight * (brightness**2 + look.error**2)).sum())
        rotations, translations, expression = (torch.cat(items) for items in zip(*parts, strict=True))
        fit = replace(fit, rotations=rotations, translations=translations, expression=expression)
        level = (errors / max(details, 1e-9)) ** 0.5
        if turn >= _SHAPE_AFTER:
            shape = normal.solved(shape)
    return fit, level


def _chunks(count: int) -> list[slice]:
    return [slice(begin, begin + _CHUNK) for begin in range(0, count, _CHUNK)]


def _trust(skin: SkinPoints, fit: FaceFit, points: Tensor) -> Tensor:
    """Trust [t, P] by how much points [t, P, 3] (camera coordinates) face the camera."""
    towards = -torch.nn.functional.normalize(points, dim=-1)
    facing = ((skin.normals @ fit.rotations.transpose(1, 2)) * towards).sum(-1)
    return skin.weights * ((facing - 0.25) / 0.4).clamp(0.0, 1.0)


def _brightness(patches: Patches, skin: SkinPoints, fit: FaceFit, before: Tensor | None) -> Tensor:
    """The unknown brightness [P] of every point: its mean over the clip, robust about the estimate before."""
    total, weight = torch.zeros(len(skin.rest)), torch.full((len(skin.rest),), 1e-6)
    for frames in _chunks(len(fit.expression)):
        part = fit[frames]
        placed = skin.in_head(part.expression) @ part.rotations.transpose(1, 2) + part.translations[:, None]
        values, inside = patches.values_at(frames, project(placed, fit.K))
        trust = _trust(skin, part, placed) * inside
        if before is not None:
            error = (values - before).abs()
            trust = trust / (1 + (error / _typical(error)) ** 2)
        total += (trust * values).sum(0)
        weight += trust.sum(0)
    return total / weight


def _typical(error: Tensor) -> Tensor:
    """Scale of robust weights: 2 standard deviations of the bulk, [t, 1]."""
    return 3.0 * error.median(dim=1, keepdim=True).values.clamp(min=0.1)


@dataclass(frozen=True)
class _Look:
    """What t frames show at P points.

    Args:
        error: [t, P] expected minus seen brightness, levels.
        weight: [t, P] trust, in 1/levels².
        by_point: [t, P, 3] derivatives of the brightness by points in camera axes.
        arms: [t, P, 3] points relative to the head's origin, camera axes.
    """

    error: Tensor
    weight: Tensor
    by_point: Tensor
    arms: Tensor


def _look(patches: Patches, skin: SkinPoints, fit: FaceFit, frames: slice, brightness: Tensor) -> _Look:
    """See ``_Look``; ``fit`` is that of the frames."""
    arms = skin.in_head(fit.expression) @ fit.rotations.transpose(1, 2)
    placed = arms + fit.translations[:, None]
    pixels = project(placed, fit.K)
    values, inside = patches.values_at(frames, pixels)
    by_point = (patches.slopes_at(frames, pixels)[..., None, :] @ projection_jacobian(placed, fit.K))[..., 0, :]
    error = brightness - values
    typical = _typical(error.abs())
    robust = 1.0 / (1 + (error / typical) ** 2) ** 2
    weight = _INDEPENDENT * _trust(skin, fit, placed) * inside * robust / (0.5 * typical) ** 2
    return _Look(error, weight, by_point, arms)


def _step(
    look: _Look, skin: SkinPoints, fit: FaceFit, start: FaceFit, brightness: Tensor, precision: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """One Gauss-Newton step of t frames; gain and offset of each frame's brightness are solved along.

    Args:
        look: what the frames show.
        skin: the points.
        fit: the present poses and expressions of the frames.
        start: those of the landmarks, which are the prior.
        brightness: [P] expected.
        precision: [t, E, E] of the expressions' prior; None holds the expressions.

    Returns:
        New rotations [t, 3, 3], translations [t, 3] and expressions [t, E].
    """
    gain = -brightness.expand_as(look.error)[..., None]
    columns = [torch.linalg.cross(look.arms, look.by_point), look.by_point, gain, -torch.ones_like(gain)]
    prior = torch.diag(torch.tensor([*(spread**-2 for spread in _POSE_SPREAD), 25.0, 0.01])).expand(len(gain), 8, 8)
    away = torch.nn.functional.pad(_away(fit, start), (0, 2))
    if precision is not None:
        in_head = look.by_point @ fit.rotations
        columns.append(torch.einsum("tpd,epd->tpe", in_head, skin.expression))
        prior = torch.stack([torch.block_diag(own, known) for own, known in zip(prior, precision, strict=True)])
        away = torch.cat((away, fit.expression - start.expression), dim=-1)
    rows = torch.cat(columns, dim=-1)
    weighted = (rows * look.weight[..., None]).transpose(1, 2)
    information = (weighted @ rows + prior).double()
    gradient = (weighted @ look.error[..., None] - prior @ away[..., None]).double()
    step = torch.linalg.solve(information, gradient)[..., 0].float()
    rotations, translations = moved(fit.rotations, fit.translations, step[:, :6])
    expression = fit.expression if precision is None else (fit.expression + step[:, 8:]).clamp(0.0, 1.0)
    return rotations, translations, expression


def _away(fit: FaceFit, start: FaceFit) -> Tensor:
    """Increments [t, 6] that lead from ``start`` to ``fit``."""
    turned = matrix_to_axis_angle(fit.rotations @ start.rotations.transpose(1, 2))
    return torch.cat((turned, fit.translations - start.translations), dim=-1)


@dataclass
class _ShapeSystem:
    """Normal equations of how far every point lies off the model's surface, summed over frames."""

    information: Tensor  # [P, 3, 3]
    gradient: Tensor  # [P, 3]

    @staticmethod
    def empty(count: int) -> _ShapeSystem:
        return _ShapeSystem(torch.zeros(count, 3, 3), torch.zeros(count, 3))

    def add(self, look: _Look, rotations: Tensor) -> None:
        """Add frames; ``rotations`` [t, 3, 3] are head to camera."""
        rows = look.by_point @ rotations  # [t, P, 3] by points in the head frame
        weighted = (rows * (0.1 * look.weight)[..., None]).transpose(0, 1)  # [P, t, 3]
        self.information += weighted.transpose(1, 2) @ rows.transpose(0, 1)
        self.gradient += (weighted * look.error.T[..., None]).sum(1)

    def solved(self, shape: Tensor) -> Tensor:
        """New offsets [P, 3] from the present ones."""
        prior = torch.eye(3) / _SHAPE_SPREAD**2
        return shape + torch.linalg.solve(self.information + prior, self.gradient - shape / _SHAPE_SPREAD**2)
