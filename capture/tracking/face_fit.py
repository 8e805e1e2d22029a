"""Identity, poses and expressions from landmarks: Gauss-Newton over all frames with an arrow-shaped system.

Every frame has its own pose and expression; identity, small per-landmark offsets (the model's points are not exactly
MediaPipe's) and the focal length are shared. Eliminating the frames first (Schur complement) makes a step cheap
(Triggs et al., "Bundle adjustment: a modern synthesis", 2000). Identity and expressions are solved together, and
expressions are held near MediaPipe's scores, so that the shape of a face does not leak into its expression.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from capture.tracking.geometry import moved, pose_jacobian, project, projection_jacobian
from capture.tracking.landmark_basis import LandmarkBasis

POSE = 6
_NOISE = 0.03  # of the inter-ocular distance: error of a landmark, with its strong correlation to its neighbours
_GAP_NOISE = 0.005  # the same for the distance of lips, or of lids that meet
_HUBER = 2.0  # in units of the noise
_OFFSET_SPREAD = 0.0025  # metres
_LOG_FOCAL_SPREAD = 0.25
_PIN = 1e8  # precision that holds a channel at the end of its range
_PIVOTS = 10  # rounds of deciding which channels are at the end of their range
_PIN_TURNS = 1e9  # precision that holds a rotation, 1/rad²
_SHARED_FRAMES = 120  # identity and focal length are solved on so many frames


@dataclass(frozen=True)
class Observation:
    """What is fitted to.

    Args:
        points: [T, N, 2] pixels, in the order of the basis.
        scores: [T, E] expected expression.
        spread: [E] or [T, E] standard deviation of the expectation.
        K: [3, 3] pixels.
        unit: pixels of one inter-ocular distance, median over the clip.
    """

    points: Tensor
    scores: Tensor
    spread: Tensor
    K: Tensor
    unit: float

    def __getitem__(self, frames: Tensor | slice) -> Observation:
        spread = self.spread if self.spread.ndim == 1 else self.spread[frames]
        return replace(self, points=self.points[frames], scores=self.scores[frames], spread=spread)


@dataclass(frozen=True)
class FaceFit:
    """A fitted face in camera coordinates (OpenCV axes, metres).

    Args:
        identity: [I] standard deviations.
        offsets: [N, 3] metres, head frame: where MediaPipe's points lie relative to the model's.
        K: [3, 3] pixels.
        rotations: [T, 3, 3] head to camera.
        translations: [T, 3] metres.
        expression: [T, E].
    """

    identity: Tensor
    offsets: Tensor
    K: Tensor
    rotations: Tensor
    translations: Tensor
    expression: Tensor

    def __getitem__(self, frames: Tensor | slice) -> FaceFit:
        return replace(
            self,
            rotations=self.rotations[frames],
            translations=self.translations[frames],
            expression=self.expression[frames],
        )

    def in_head(self, basis: LandmarkBasis) -> Tensor:
        """Landmarks [T, N, 3] in the head frame, metres."""
        rest = basis.rest + self.offsets + torch.einsum("i,ind->nd", self.identity, basis.identity)
        return rest + torch.einsum("te,end->tnd", self.expression, basis.expression)

    def arms(self, basis: LandmarkBasis) -> Tensor:
        """Landmarks [T, N, 3] relative to the head's origin, camera axes."""
        return self.in_head(basis) @ self.rotations.transpose(1, 2)

    def pixels(self, basis: LandmarkBasis) -> Tensor:
        """Landmarks [T, N, 2] in the image."""
        return project(self.arms(basis) + self.translations[:, None], self.K)


def begin(basis: LandmarkBasis, seen: Observation, depth_points: Tensor) -> FaceFit:
    """Poses by aligning the average face with MediaPipe's points taken as a scaled orthographic view (Umeyama 1991).

    Args:
        basis: the head model's landmarks.
        seen: see ``Observation``.
        depth_points: [T, N, 3] MediaPipe's points with their depth, all in pixels.
    """
    source = basis.rest - basis.rest.mean(0)
    target = depth_points - depth_points.mean(1, keepdim=True)
    U, S, Vt = torch.linalg.svd(target.transpose(1, 2) @ source)
    flip = torch.ones(len(target), 3)
    flip[:, 2] = torch.det(U @ Vt).sign()
    rotations = U @ torch.diag_embed(flip) @ Vt
    scale = (S * flip).sum(-1) / source.square().sum()
    depth = seen.K[0, 0] / scale
    center = (seen.points.mean(1) - seen.K[:2, 2]) / seen.K.diagonal()[:2] * depth[:, None]
    translations = torch.cat((center, depth[:, None]), dim=-1) - rotations @ basis.rest.mean(0)
    return FaceFit(
        torch.zeros(len(basis.identity)),
        torch.zeros_like(basis.rest),
        seen.K,
        rotations,
        translations,
        seen.scores.clone(),
    )


def fit_shared(basis: LandmarkBasis, seen: Observation, fit: FaceFit, *, free_focal: bool, rounds: int = 12) -> FaceFit:
    """Solve identity, offsets, poses, expressions and (when free) the focal length on a selection of frames.

    Returns:
        ``fit`` with new identity, offsets and K; its poses are moved to the new focal length.
    """
    chosen = torch.linspace(0, len(seen.points) - 1, min(_SHARED_FRAMES, len(seen.points))).round().long()
    part, some = seen[chosen], fit[chosen]
    for turn in range(rounds):
        some = _shared_step(basis, part, some, free_focal=free_focal and turn >= 2)
        some, _ = fit_frames(basis, part, replace(some, expression=some.expression.clamp(0.0, 1.0)), rounds=1)
        some = replace(some, offsets=_offsets(basis, part, some))
    zoom = some.K[0, 0] / fit.K[0, 0]
    scaled = torch.cat((fit.translations[:, :2], fit.translations[:, 2:] * zoom), dim=-1)
    return replace(fit, identity=some.identity, offsets=some.offsets, K=some.K, translations=scaled)


def fit_frames(
    basis: LandmarkBasis, seen: Observation, fit: FaceFit, rounds: int = 6, *, hold_turns: bool = False
) -> tuple[FaceFit, Tensor]:
    """Solve pose and expression of every frame by itself, the shared parts held (and the rotations, if wanted).

    Returns:
        The fit and the precision matrices [T, 6 + E, 6 + E] of its frames (pose increment, then expression).
    """
    information = torch.empty(0)
    for _ in range(rounds):
        information, gradient = _frame_system(basis, seen, fit)
        if hold_turns:
            information[:, range(3), range(3)] += _PIN_TURNS
        step = step_in_range(information, gradient, fit.expression)
        rotations, translations = moved(fit.rotations, fit.translations, step[:, :POSE])
        expression = (fit.expression + step[:, POSE:]).clamp(0, 1)
        fit = replace(fit, rotations=rotations, translations=translations, expression=expression)
    return fit, information


def step_in_range(
    information: Tensor,  # [T, 6 + E, 6 + E]
    gradient: Tensor,  # [T, 6 + E]
    expression: Tensor,  # [T, E] in 0..1
) -> Tensor:
    """The best steps [T, 6 + E] among those that keep every channel in its range.

    Block principal pivoting (Júdice & Pires 1994): channels that would leave their range are held at its end, held ones
    whose error pulls them inside are let go, until nothing changes.
    """
    information, gradient, expression = information.double(), gradient.double(), expression.double()
    low, high = torch.zeros_like(expression, dtype=torch.bool), torch.zeros_like(expression, dtype=torch.bool)
    step = torch.zeros_like(gradient)
    for _ in range(_PIVOTS):
        pin = (low | high).double() * _PIN
        held = torch.nn.functional.pad(pin, (POSE, 0))
        wanted = torch.nn.functional.pad(pin * (high.double() - expression), (POSE, 0))
        step = torch.linalg.solve(information + torch.diag_embed(held), gradient + wanted)
        value = expression + step[:, POSE:]
        pull = (gradient - (information @ step[..., None])[..., 0])[:, POSE:]
        now = torch.where(low, pull < 0, ~high & (value < 0)), torch.where(high, pull > 0, ~low & (value > 1))
        if torch.equal(low, now[0]) and torch.equal(high, now[1]):
            break
        low, high = now
    return step.float()


def expression_precision(basis: LandmarkBasis, seen: Observation, fit: FaceFit) -> Tensor:
    """How firmly landmarks and scores hold the expressions, whatever the poses: [T, E, E]."""
    information, _ = _frame_system(basis, seen, fit)
    cross = information[:, :POSE, POSE:]
    return information[:, POSE:, POSE:] - cross.transpose(1, 2) @ torch.linalg.solve(
        information[:, :POSE, :POSE], cross
    )


def residuals(basis: LandmarkBasis, seen: Observation, fit: FaceFit) -> tuple[Tensor, Tensor, Tensor]:
    """Errors of the landmarks and how they change with the points.

    Returns:
        Errors [T, N, 2] in pixels (seen minus fitted), their robust weights [T, N] in 1/pixel², and the derivatives
        [T, N, 2, 3] of pixels by points in camera axes.
    """
    points = fit.arms(basis) + fit.translations[:, None]
    error = seen.points - project(points, fit.K)
    noise = _NOISE * seen.unit
    distance = error.norm(dim=-1) / noise
    # Points that face away slide along the outline of the face and are trusted less.
    towards = -torch.nn.functional.normalize(points, dim=-1)
    facing = ((basis.normals @ fit.rotations.transpose(1, 2)) * towards).sum(-1)
    weights = basis.weights * ((facing + 0.2) / 0.6).clamp(0.05, 1.0) * (_HUBER / distance.clamp(min=_HUBER)) / noise**2
    return error, weights, projection_jacobian(points, fit.K)


def _expression_jacobian(basis: LandmarkBasis, fit: FaceFit, by_point: Tensor) -> Tensor:
    """[T, N, 2, E] pixels by expression."""
    rotated = by_point @ fit.rotations[:, None]  # [T, N, 2, 3] pixels by points in the head frame
    return torch.einsum("tnpd,end->tnpe", rotated, basis.expression)


def _frame_jacobian(basis: LandmarkBasis, fit: FaceFit, by_point: Tensor) -> Tensor:
    """[T, N, 2, 6 + E] pixels by the unknowns of a frame."""
    pose = by_point @ pose_jacobian(fit.arms(basis))
    return torch.cat((pose, _expression_jacobian(basis, fit, by_point)), dim=-1)


def _rows(basis: LandmarkBasis, seen: Observation, fit: FaceFit, extra: bool) -> tuple[Tensor, Tensor]:
    """Weighted Jacobian [T, M, 6 + E (+ I + 1)] and errors [T, M] of landmarks and gaps."""
    error, weights, by_point = residuals(basis, seen, fit)
    jacobian = _frame_jacobian(basis, fit, by_point)
    if extra:
        rotated = by_point @ fit.rotations[:, None]
        identity = torch.einsum("tnpd,ind->tnpi", rotated, basis.identity)
        focal = (project(fit.arms(basis) + fit.translations[:, None], fit.K) - fit.K[:2, 2])[..., None]
        jacobian = torch.cat((jacobian, identity, focal), dim=-1)
    upper, lower = basis.gaps.unbind(-1)
    opening = (seen.points[:, upper] - seen.points[:, lower]).norm(dim=-1)
    gap_scale = (opening * basis.gap_slack).square().add((_GAP_NOISE * seen.unit) ** 2).rsqrt()[..., None]
    root = weights.sqrt()[..., None]
    rows = torch.cat(
        (
            (jacobian * root[..., None]).flatten(1, 2),
            ((jacobian[:, upper] - jacobian[:, lower]) * gap_scale[..., None]).flatten(1, 2),
        ),
        dim=1,
    )
    errors = torch.cat(((error * root).flatten(1), ((error[:, upper] - error[:, lower]) * gap_scale).flatten(1)), dim=1)
    return rows, errors


def _frame_system(basis: LandmarkBasis, seen: Observation, fit: FaceFit) -> tuple[Tensor, Tensor]:
    """Normal equations of every frame: information [T, 6 + E, 6 + E] and gradient [T, 6 + E]."""
    informations, gradients = [], []
    for begin_at in range(0, len(seen.points), 64):  # bounded memory
        part = slice(begin_at, begin_at + 64)
        rows, errors = _rows(basis, seen[part], fit[part], extra=False)
        informations.append((rows.transpose(1, 2) @ rows).double())
        gradients.append((rows.transpose(1, 2) @ errors[..., None])[..., 0].double())
    information, gradient = torch.cat(informations), torch.cat(gradients)
    precision = (1.0 / seen.spread**2).expand_as(seen.scores).double()
    information += torch.diag_embed(torch.nn.functional.pad(precision, (POSE, 0)))
    gradient[:, POSE:] += precision * (seen.scores - fit.expression)
    return _damped(information).float(), gradient.float()


def _damped(information: Tensor) -> Tensor:
    """A trace of Levenberg's damping, so that what nothing observes stays where it is."""
    return information + 1e-6 * torch.diag_embed(information.diagonal(dim1=-2, dim2=-1))


def _shared_step(basis: LandmarkBasis, seen: Observation, fit: FaceFit, *, free_focal: bool) -> FaceFit:
    E, I = len(basis.expression), len(basis.identity)
    own = POSE + E
    rows, errors = _rows(basis, seen, fit, extra=True)
    information = (rows.transpose(1, 2) @ rows).double()
    gradient = (rows.transpose(1, 2) @ errors[..., None])[..., 0].double()
    precision = (1.0 / seen.spread**2).expand_as(seen.scores).double()
    frames = information[:, :own, :own] + torch.diag_embed(torch.nn.functional.pad(precision, (POSE, 0)))
    gradient[:, POSE:own] += precision * (seen.scores - fit.expression)
    # Channels that are pushed against the end of their range have no say in who this is.
    pull = gradient[:, POSE:own]
    held = ((fit.expression <= 0) & (pull < 0)) | ((fit.expression >= 1) & (pull > 0))
    frames += torch.diag_embed(torch.nn.functional.pad(held * _PIN, (POSE, 0))).double()
    coupling = information[:, :own, own:]
    solved = torch.linalg.solve(_damped(frames), torch.cat((coupling, gradient[:, :own, None]), dim=-1))
    shared = (information[:, own:, own:] - coupling.transpose(1, 2) @ solved[..., :-1]).sum(0)
    right = (gradient[:, own:] - (coupling.transpose(1, 2) @ solved[..., -1:])[..., 0]).sum(0)
    # Landmarks of one clip repeat the same errors, so frames count as a few independent looks, not hundreds.
    looks = min(len(seen.points), 2) / len(seen.points)
    shared, right = shared * looks, right * looks
    log_focal = torch.log(fit.K[0, 0] / seen.K[0, 0]).double()
    prior = torch.cat((torch.ones(I), torch.tensor([_LOG_FOCAL_SPREAD**-2 if free_focal else 1e12]))).double()
    right = right - prior * torch.cat((fit.identity.double(), log_focal[None] if free_focal else torch.zeros(1)))
    step = torch.linalg.solve(shared + torch.diag(prior), right)
    own_step = (solved[..., -1] - solved[..., :-1] @ step).float()
    rotations, translations = moved(fit.rotations, fit.translations, own_step[:, :POSE])
    K = fit.K.clone()
    K[:2, :2] *= step[-1].clamp(-0.2, 0.2).exp().float()
    return replace(
        fit,
        identity=fit.identity + step[:I].float(),
        K=K,
        rotations=rotations,
        translations=translations,
        expression=fit.expression + own_step[:, POSE:],
    )


def _offsets(basis: LandmarkBasis, seen: Observation, fit: FaceFit) -> Tensor:
    """Offsets [N, 3] that explain what is left of the errors at all times; equal for points that meet."""
    error, weights, by_point = residuals(basis, seen, fit)
    rotated = by_point @ fit.rotations[:, None]
    looks = min(len(error), 20) / len(error)
    weighted = rotated * weights[..., None, None] * looks
    information = torch.einsum("tnpd,tnpk->ndk", weighted, rotated)
    gradient = torch.einsum("tnpd,tnp->nd", weighted, error)
    prior = torch.eye(3) / _OFFSET_SPREAD**2
    offsets = fit.offsets + torch.linalg.solve(information + prior, gradient - fit.offsets / _OFFSET_SPREAD**2)
    upper, lower = basis.gaps.unbind(-1)
    middle = 0.5 * (offsets[upper] + offsets[lower])
    offsets[upper], offsets[lower] = middle, middle
    return offsets
