"""Head poses from the pixels: bundle adjustment of points on the skin by their brightness, independent of any avatar.

Landmarks of single frames scatter by some milliradians of pose, without any order in time. Here some thousand points of
the fitted surface each have one unknown brightness for the whole clip, and the poses are those at which every frame
shows it (as in direct visual odometry: Engel et al., 2018). Points are trusted the less the more expressions move
them; each may move a little from the model's surface, which absorbs errors of its shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from capture.tracking.face_fit import FaceFit
from capture.tracking.geometry import moved
from capture.tracking.patches import Patches
from capture.tracking.views import Views
from studio.heads.model import HeadModel
from studio.rotations import matrix_to_axis_angle, mean_rotation

POINTS = 2000
_POSE_ROUNDS, _JOINT_ROUNDS = 8, 8
_CHUNK = 64
_SHAPE_AFTER = 3  # rounds of poses alone before the surface may give way
_INDEPENDENT = 0.3  # neighbouring points share their errors: so many count as independent
_RIGID = 0.0015  # metres of movement by expression at which a point counts half
_SHAPE_SPREAD = 0.002  # metres: how far points may lie off the model's surface
# How far (standard deviation) a pose may be from that of the landmarks: radians, then metres sideways and in depth.
_POSE_SPREAD = (0.06, 0.06, 0.03, 0.005, 0.005, 0.03)
_RIG_SPREAD = (0.06, 0.005)  # the same where several views tell: radians, metres
_GAIN_PRECISION = (25.0, 0.01)  # of a picture's gain (from 1) and offset (levels)
_SKIN = ("face", "ear_left", "ear_right", "scalp", "brows")


@dataclass(frozen=True)
class SkinPoints:
    """Points on the skin, linear in identity and expression.

    Args:
        rest: [P, 3] metres, head frame, of this person.
        identity: [I, P, 3] metres.
        expression: [E, P, 3] metres.
        normals: [P, 3].
        weights: [P] trust, 1 for points that expressions do not move.
    """

    rest: Tensor
    identity: Tensor
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

        def on_surface(values: Tensor) -> Tensor:
            return (values[..., corners, :] * bary[..., None]).sum(-2)

        expression = on_surface(head.expression_basis)
        swing = torch.einsum("te,epd->tpd", fit.expression, expression).std(dim=0).norm(dim=-1)
        trust = 1.0 / (1.0 + (swing / _RIGID) ** 2)
        return SkinPoints(on_surface(template), on_surface(head.identity_basis), expression, normals[faces], trust)

    def in_head(self, expression: Tensor) -> Tensor:
        """Points [T, P, 3] in the head frame for expressions [T, E]."""
        return self.rest + (expression @ self.expression.flatten(1)).unflatten(-1, (-1, 3))

    def moved(self, identity: Tensor, shape: Tensor) -> SkinPoints:
        """For an identity that differs by [I] from this person's, with points [P, 3] off the surface."""
        return replace(self, rest=self.rest + torch.einsum("i,ipd->pd", identity, self.identity) + shape)


def _barycentric(count: int) -> Tensor:
    """Uniform barycentric coordinates [count, 3], the same ones each time."""
    u, v = torch.rand(2, count, generator=torch.Generator().manual_seed(1))
    root = u.sqrt()
    return torch.stack((1 - root, root * (1 - v), root * v), dim=-1)


@dataclass(frozen=True)
class Alignment:
    """What ``align`` found.

    Args:
        fit: with new poses and expressions, and a new identity where several views were known.
        skin: the points where the pictures put them.
        brightness: [P] of every point, in the patches' levels.
        mismatch: remaining error relative to the detail of the images (0 perfect, 1 useless).
    """

    fit: FaceFit
    skin: SkinPoints
    brightness: Tensor
    mismatch: float


def align(
    patches: Sequence[Patches], skin: SkinPoints, fit: FaceFit, precision: Tensor, known: Tensor | None = None
) -> Alignment:
    """Poses, then poses and expressions, at which every frame shows the same brightness at every point in all views.

    With several views, the places of points in space say who it is, too: the identity follows.

    Args:
        patches: the images' detail, of each of the fit's C views.
        skin: points on the surface.
        fit: where to begin; also the prior of poses and expressions.
        precision: [T, E, E] how firmly the expressions of ``fit`` are known.
        known: [P] brightness from other frames; then the surface stays as it is, too.
    """
    start, brightness, level = fit, known, 1.0
    shape, identity = torch.zeros_like(skin.rest), torch.zeros_like(fit.identity)
    for turn in range(_POSE_ROUNDS + _JOINT_ROUNDS):
        joint = turn >= _POSE_ROUNDS
        current = skin.moved(identity, shape)
        if joint:
            current = replace(current, weights=torch.ones_like(skin.weights))
        if known is None:
            brightness = _brightness(patches, current, fit, brightness)
        assert brightness is not None
        normal = _ShapeSystem.empty(len(skin.rest))
        parts, errors, details = [], 0.0, 0.0
        for frames in _chunks(len(fit.expression)):
            looks = _looks(patches, current, fit[frames], frames, brightness)
            for look in looks:
                normal.add(look, fit.rotations[frames])
                errors += float((look.weight * look.error**2).sum())
                details += float((look.weight * (brightness**2 + look.error**2)).sum())
            prior = precision[frames] if joint else None
            parts.append(_step(looks, current, fit[frames], start[frames], brightness, prior))
        rotations, translations, expression = (torch.cat(items) for items in zip(*parts, strict=True))
        fit = replace(fit, rotations=rotations, translations=translations, expression=expression)
        level = (errors / max(details, 1e-9)) ** 0.5
        if turn >= _SHAPE_AFTER and known is None:
            if len(patches) > 1:
                identity = identity + normal.identity_step(skin.identity, start.identity + identity, shape)
            shape = normal.solved(shape)
    assert brightness is not None
    found = replace(fit, identity=start.identity + identity)
    return Alignment(found, skin.moved(identity, shape), brightness, level)


def anchored(fit: FaceFit, start: FaceFit) -> FaceFit:
    """The fit with the mean pose of ``start``: one turn and one shift of the head in its own frame, for the whole clip.

    Brightness tells how a head moves, but hardly how it lies: points that all move about in the head's frame look the
    same under poses that move back. Of that the landmarks know more.
    """
    turn = mean_rotation(fit.rotations.transpose(1, 2) @ start.rotations)
    rotations = fit.rotations @ turn
    shift = ((start.translations - fit.translations)[:, None] @ rotations).mean(0)[0]
    return replace(fit, rotations=rotations, translations=fit.translations + rotations @ shift)


def _chunks(count: int) -> list[slice]:
    return [slice(begin, begin + _CHUNK) for begin in range(0, count, _CHUNK)]


def _typical(error: Tensor) -> Tensor:
    """Scale of robust weights: 2 standard deviations of the bulk, [t, 1]."""
    return 3.0 * error.median(dim=1, keepdim=True).values.clamp(min=0.1)


@dataclass(frozen=True)
class _Placed:
    """P points of t frames as one view sees them.

    Args:
        arms: [t, P, 3] relative to the head's origin, world axes.
        pixels: [t, P, 2].
        by_point: [t, P, 2, 3] derivatives of pixels by points in the world.
        trust: [t, P] by how much they face the camera.
    """

    arms: Tensor
    pixels: Tensor
    by_point: Tensor
    trust: Tensor


def _placed(skin: SkinPoints, fit: FaceFit) -> list[_Placed]:
    """For each view."""
    arms = skin.in_head(fit.expression) @ fit.rotations.transpose(1, 2)
    points = arms + fit.translations[:, None]
    normals = skin.normals @ fit.rotations.transpose(1, 2)
    result = []
    for view in range(len(fit.views)):
        alone = fit.views[view]
        towards = torch.nn.functional.normalize(alone.centers[0] - points, dim=-1)
        trust = skin.weights * (((normals * towards).sum(-1) - 0.25) / 0.4).clamp(0.0, 1.0)
        in_camera = alone.in_cameras(points)
        result.append(_Placed(arms, alone.project(points)[:, 0], alone.jacobian(in_camera)[:, 0], trust))
    return result


def _brightness(patches: Sequence[Patches], skin: SkinPoints, fit: FaceFit, before: Tensor | None) -> Tensor:
    """The unknown brightness [P] of every point: its mean over clip and views, robust about the estimate before."""
    total, weight = torch.zeros(len(skin.rest)), torch.full((len(skin.rest),), 1e-6)
    for frames in _chunks(len(fit.expression)):
        for patch, placed in zip(patches, _placed(skin, fit[frames]), strict=True):
            values, inside = patch.values_at(frames, placed.pixels)
            trust = placed.trust * inside
            if before is not None:
                error = (values - before).abs()
                trust = trust / (1 + (error / _typical(error)) ** 2)
            total += (trust * values).sum(0)
            weight += trust.sum(0)
    return total / weight


@dataclass(frozen=True)
class _Look:
    """What t frames of a view show at P points.

    Args:
        error: [t, P] expected minus seen brightness, levels.
        weight: [t, P] trust, in 1/levels².
        by_point: [t, P, 3] derivatives of the brightness by points in the world.
        arms: [t, P, 3] points relative to the head's origin, world axes.
    """

    error: Tensor
    weight: Tensor
    by_point: Tensor
    arms: Tensor


def _looks(
    patches: Sequence[Patches], skin: SkinPoints, fit: FaceFit, frames: slice, brightness: Tensor
) -> list[_Look]:
    """Of each view; ``fit`` is that of the frames."""
    result = []
    for patch, placed in zip(patches, _placed(skin, fit), strict=True):
        values, inside = patch.values_at(frames, placed.pixels)
        by_point = (patch.slopes_at(frames, placed.pixels)[..., None, :] @ placed.by_point)[..., 0, :]
        error = brightness - values
        typical = _typical(error.abs())
        robust = 1.0 / (1 + (error / typical) ** 2) ** 2
        weight = _INDEPENDENT * placed.trust * inside * robust / (0.5 * typical) ** 2
        result.append(_Look(error, weight, by_point, placed.arms))
    return result


def _step(
    looks: Sequence[_Look],
    skin: SkinPoints,
    fit: FaceFit,
    start: FaceFit,
    brightness: Tensor,
    precision: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """One Gauss-Newton step of t frames; gain and offset of each picture's brightness are solved along.

    Args:
        looks: what the frames show in each view.
        skin: the points.
        fit: the present poses and expressions of the frames.
        start: those of the landmarks, which are the prior.
        brightness: [P] expected.
        precision: [t, E, E] of the expressions' prior; None holds the expressions.

    Returns:
        New rotations [t, 3, 3], translations [t, 3] and expressions [t, E].
    """
    count = len(fit.expression)
    information = _pose_precision(fit.views).expand(count, 6, 6)
    away = _away(fit, start)
    if precision is not None:
        both = [torch.block_diag(own, known) for own, known in zip(information, precision, strict=True)]
        information, away = torch.stack(both), torch.cat((away, fit.expression - start.expression), dim=-1)
    gradient = -(information @ away[..., None])
    for look in looks:
        columns = [torch.linalg.cross(look.arms, look.by_point), look.by_point]
        if precision is not None:
            columns.append(torch.einsum("tpd,epd->tpe", look.by_point @ fit.rotations, skin.expression))
        parts = _without_gains(torch.cat(columns, dim=-1), look, brightness)
        information, gradient = information + parts[0], gradient + parts[1]
    step = torch.linalg.solve(information.double(), gradient.double())[..., 0].float()
    rotations, translations = moved(fit.rotations, fit.translations, step[:, :6])
    expression = fit.expression if precision is None else (fit.expression + step[:, 6:]).clamp(0.0, 1.0)
    return rotations, translations, expression


def _without_gains(rows: Tensor, look: _Look, brightness: Tensor) -> tuple[Tensor, Tensor]:
    """Normal equations [t, D, D] and [t, D, 1] of rows [t, P, D], a picture's gain and offset being eliminated."""
    nuisance = torch.stack((-brightness.expand_as(look.error), -torch.ones_like(look.error)), dim=-1)
    weighted, weighted_nuisance = rows * look.weight[..., None], nuisance * look.weight[..., None]
    error = look.error[..., None]
    own = weighted_nuisance.transpose(1, 2) @ nuisance + torch.diag(torch.tensor(_GAIN_PRECISION))
    cross = weighted.transpose(1, 2) @ nuisance
    solved = torch.linalg.solve(own, torch.cat((cross.transpose(1, 2), weighted_nuisance.transpose(1, 2) @ error), -1))
    information = weighted.transpose(1, 2) @ rows - cross @ solved[..., :-1]
    return information, weighted.transpose(1, 2) @ error - cross @ solved[..., -1:]


def _pose_precision(views: Views) -> Tensor:
    """[6, 6] how firmly the landmarks' poses are believed, world axes; one view does not tell depth."""
    if len(views) > 1:
        return torch.diag(torch.tensor(_RIG_SPREAD).repeat_interleave(3) ** -2)
    turn = views.viewmats[0, :3, :3]
    axes = torch.block_diag(turn, turn)
    return axes.T @ torch.diag(torch.tensor(_POSE_SPREAD) ** -2) @ axes


def _away(fit: FaceFit, start: FaceFit) -> Tensor:
    """Increments [t, 6] that lead from ``start`` to ``fit``."""
    turned = matrix_to_axis_angle(fit.rotations @ start.rotations.transpose(1, 2))
    return torch.cat((turned, fit.translations - start.translations), dim=-1)


@dataclass
class _ShapeSystem:
    """Normal equations of how far every point lies off the model's surface, summed over frames and views."""

    information: Tensor  # [P, 3, 3]
    gradient: Tensor  # [P, 3]

    @staticmethod
    def empty(count: int) -> _ShapeSystem:
        return _ShapeSystem(torch.zeros(count, 3, 3), torch.zeros(count, 3))

    def add(self, look: _Look, rotations: Tensor) -> None:
        """Add frames; ``rotations`` [t, 3, 3] are head to world."""
        rows = look.by_point @ rotations  # [t, P, 3] by points in the head frame
        weighted = (rows * (0.1 * look.weight)[..., None]).transpose(0, 1)  # [P, t, 3]
        self.information += weighted.transpose(1, 2) @ rows.transpose(0, 1)
        self.gradient += (weighted * look.error.T[..., None]).sum(1)

    def solved(self, shape: Tensor) -> Tensor:
        """New offsets [P, 3] from the present ones."""
        prior = torch.eye(3) / _SHAPE_SPREAD**2
        return shape + torch.linalg.solve(self.information + prior, self.gradient - shape / _SHAPE_SPREAD**2)

    def identity_step(
        self,
        basis: Tensor,  # [I, P, 3]
        identity: Tensor,  # [I] in standard deviations, present
        shape: Tensor,  # [P, 3] present offsets
    ) -> Tensor:
        """How the identity [I] changes, the offsets being free to give way within their spread (eliminated)."""
        columns, prior = basis.double(), torch.eye(3, dtype=torch.float64) / _SHAPE_SPREAD**2
        information, wanted = self.information.double(), (self.gradient - shape / _SHAPE_SPREAD**2).double()
        total = information + prior
        held = prior @ torch.linalg.solve(total, information)  # [P, 3, 3] what a point still says
        gradient = self.gradient.double() - (information @ torch.linalg.solve(total, wanted[..., None]))[..., 0]
        matrix = torch.einsum("ipd,pdk,jpk->ij", columns, held, columns) + torch.eye(len(columns))
        return torch.linalg.solve(matrix, torch.einsum("ipd,pd->i", columns, gradient) - identity).float()
