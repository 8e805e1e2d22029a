"""Identity, poses and expressions from landmarks in one view or many: Gauss-Newton with an arrow-shaped system.

Every frame has its own pose and expression; identity, small per-landmark offsets (the model's points are not exactly
MediaPipe's) and the focal length are shared. Eliminating the frames first (Schur complement) makes a step cheap
(Triggs et al., "Bundle adjustment: a modern synthesis", 2000). Identity and expressions are solved together, and
expressions are held near MediaPipe's scores, so that the shape of a face does not leak into its expression.

What all views say of a point's place is gathered first, so that many views cost little more than one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from capture.tracking.geometry import moved, skew
from capture.tracking.landmark_basis import LandmarkBasis
from capture.tracking.views import Views
from studio.rotations import rigid, rigid_inverse

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
_CHUNK = 48  # frames worked on at once, times views: bounded memory


@dataclass(frozen=True)
class Observation:
    """What is fitted to.

    Args:
        points: [T, C, N, 2] pixels, in the order of the basis.
        trust: [T, C] 0 where a view shows no face.
        scores: [T, E] expected expression.
        spread: [E] or [T, E] standard deviation of the expectation.
        views: the C cameras.
        units: [C] pixels of one inter-ocular distance, median over the clip.
    """

    points: Tensor
    trust: Tensor
    scores: Tensor
    spread: Tensor
    views: Views
    units: Tensor

    def __getitem__(self, frames: Tensor | slice) -> Observation:
        spread = self.spread if self.spread.ndim == 1 else self.spread[frames]
        parts = (self.points[frames], self.trust[frames], self.scores[frames])
        return Observation(*parts, spread, self.views, self.units)


@dataclass(frozen=True)
class FaceFit:
    """A fitted face in the world of its views (metres).

    Args:
        identity: [I] standard deviations.
        offsets: [N, 3] metres, head frame: where MediaPipe's points lie relative to the model's.
        views: the C cameras.
        rotations: [T, 3, 3] head to world.
        translations: [T, 3] metres.
        expression: [T, E].
    """

    identity: Tensor
    offsets: Tensor
    views: Views
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

    def placed(self, basis: LandmarkBasis) -> Tensor:
        """Landmarks [T, N, 3] in the world."""
        return self.in_head(basis) @ self.rotations.transpose(1, 2) + self.translations[:, None]

    def pixels(self, basis: LandmarkBasis) -> Tensor:
        """Landmarks [T, C, N, 2] in the images."""
        return self.views.project(self.placed(basis))

    def through(self, view: int) -> FaceFit:
        """The same in the coordinates of one of the cameras."""
        poses = self.views.viewmats[view] @ rigid(self.rotations, self.translations)
        alone = Views.single(self.views.Ks[view])
        return replace(self, views=alone, rotations=poses[:, :3, :3], translations=poses[:, :3, 3])

    @property
    def K(self) -> Tensor:
        """[3, 3] of the only view."""
        (K,) = self.views.Ks
        return K


def begin(basis: LandmarkBasis, seen: Observation, depth_points: Tensor) -> FaceFit:
    """Poses by aligning the average face with MediaPipe's points taken as a scaled orthographic view (Umeyama 1991).

    Args:
        basis: the head model's landmarks.
        seen: through one view; see ``Observation``.
        depth_points: [T, N, 3] MediaPipe's points with their depth, all in pixels.
    """
    source = basis.rest - basis.rest.mean(0)
    target = depth_points - depth_points.mean(1, keepdim=True)
    U, S, Vt = torch.linalg.svd(target.transpose(1, 2) @ source)
    flip = torch.ones(len(target), 3)
    flip[:, 2] = torch.det(U @ Vt).sign()
    rotations = U @ torch.diag_embed(flip) @ Vt
    scale = (S * flip).sum(-1) / source.square().sum()
    (K,), (viewmat,) = seen.views.Ks, seen.views.viewmats
    depth = K[0, 0] / scale
    center = (seen.points[:, 0].mean(1) - K[:2, 2]) / K.diagonal()[:2] * depth[:, None]
    translations = torch.cat((center, depth[:, None]), dim=-1) - rotations @ basis.rest.mean(0)
    return average_face(basis, seen, rigid_inverse(viewmat) @ rigid(rotations, translations))


def average_face(
    basis: LandmarkBasis,
    seen: Observation,
    poses: Tensor,  # [T, 4, 4] head to world
) -> FaceFit:
    """The average face in given poses, with the expressions that are expected."""
    nobody, places = torch.zeros(len(basis.identity)), torch.zeros_like(basis.rest)
    return FaceFit(nobody, places, seen.views, poses[:, :3, :3], poses[:, :3, 3], seen.scores.clone())


def fit_shared(basis: LandmarkBasis, seen: Observation, fit: FaceFit, *, free_focal: bool, rounds: int = 12) -> FaceFit:
    """Solve identity, offsets, poses, expressions and (when free) the focal length on a selection of frames.

    Returns:
        ``fit`` with new identity, offsets and views; its poses are moved to the new focal length, which only a single
        view at the origin of its world may have.
    """
    chosen = spread_frames(len(seen.points), _SHARED_FRAMES)
    part, some = seen[chosen], fit[chosen]
    for turn in range(rounds):
        some = _shared_step(basis, part, some, free_focal=free_focal and turn >= 2)
        some, _ = fit_frames(basis, part, replace(some, expression=some.expression.clamp(0.0, 1.0)), rounds=1)
        some = replace(some, offsets=landmark_offsets(basis, part, some))
    fit = replace(fit, identity=some.identity, offsets=some.offsets)
    if not free_focal:
        return fit
    zoom = some.K[0, 0] / fit.K[0, 0]
    scaled = torch.cat((fit.translations[:, :2], fit.translations[:, 2:] * zoom), dim=-1)
    return replace(fit, views=some.views, translations=scaled)


def spread_frames(count: int, most: int) -> Tensor:
    """At most so many of ``count`` frames, evenly spread, [n] int."""
    return torch.linspace(0, count - 1, min(most, count)).round().long()


def fit_frames(
    basis: LandmarkBasis, seen: Observation, fit: FaceFit, rounds: int = 6, *, hold_turns: bool = False
) -> tuple[FaceFit, Tensor]:
    """Solve pose and expression of every frame by itself, the shared parts held (and the rotations, if wanted).

    Returns:
        The fit and the precision matrices [T, 6 + E, 6 + E] of its frames (pose increment, then expression).
    """
    information = torch.empty(0)
    for _ in range(rounds):
        information, gradient = _with_expectation(seen, fit, *_systems(basis, seen, fit, shared=False))
        information, gradient = _damped(information).float(), gradient.float()
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
    information, _ = _with_expectation(seen, fit, *_systems(basis, seen, fit, shared=False))
    information = _damped(information).float()
    cross = information[:, :POSE, POSE:]
    return information[:, POSE:, POSE:] - cross.transpose(1, 2) @ torch.linalg.solve(
        information[:, :POSE, :POSE], cross
    )


def residuals(basis: LandmarkBasis, seen: Observation, fit: FaceFit) -> tuple[Tensor, Tensor, Tensor]:
    """Errors of the landmarks and how they change with the points.

    Returns:
        Errors [T, C, N, 2] in pixels (seen minus fitted), their robust weights [T, C, N] in 1/pixel², and the
        derivatives [T, C, N, 2, 3] of pixels by points in the head frame.
    """
    placed = fit.placed(basis)
    in_cameras = fit.views.in_cameras(placed)
    error = seen.points - fit.views.project(placed)
    noise = (_NOISE * seen.units)[:, None]
    distance = error.norm(dim=-1) / noise
    # Points that face away slide along the outline of the face and are trusted less.
    towards = -torch.nn.functional.normalize(in_cameras, dim=-1)
    normals = (basis.normals @ fit.rotations.transpose(1, 2))[:, None] @ fit.views.viewmats[:, :3, :3].transpose(1, 2)
    facing = ((normals * towards).sum(-1) + 0.2) / 0.6
    weights = basis.weights * facing.clamp(0.05, 1.0) * (_HUBER / distance.clamp(min=_HUBER)) / noise**2
    by_point = fit.views.jacobian(in_cameras) @ fit.rotations[:, None, None]
    return error, weights * seen.trust[..., None], by_point


def _gathered(
    by_place: Tensor,  # [T, C, N, 2, D] derivatives in units of the noise
    errors: Tensor,  # [T, C, N, 2] in units of the noise
) -> tuple[Tensor, Tensor]:
    """What all views together say of N places: rows [T, N, k, D] and errors [T, N, k] with the same normal equations.

    A single view keeps its two rows: single precision would not do to tell depth from focal length otherwise.
    """
    if by_place.shape[1] == 1:
        return by_place[:, 0], errors[:, 0]
    information = torch.einsum("tcnpd,tcnpk->tndk", by_place, by_place).double()
    trace = information.diagonal(dim1=-2, dim2=-1).sum(-1)
    root = torch.linalg.cholesky(information + (1e-6 * trace + 1e-6)[..., None, None] * torch.eye(by_place.shape[-1]))
    gradient = torch.einsum("tcnpd,tcnp->tnd", by_place, errors).double()
    gathered = torch.linalg.solve_triangular(root, gradient[..., None], upper=False)[..., 0]
    return root.transpose(-1, -2).float(), gathered.float()


def _rows(basis: LandmarkBasis, seen: Observation, fit: FaceFit, shared: bool) -> tuple[Tensor, Tensor]:
    """Weighted Jacobian [T, M, 6 + E (+ I + 1)] and errors [T, M] of landmarks, then of gaps."""
    error, weights, by_point = residuals(basis, seen, fit)
    upper, lower = basis.gaps.unbind(-1)
    opening = (seen.points[:, :, upper] - seen.points[:, :, lower]).norm(dim=-1)
    precision = 1.0 / ((opening * basis.gap_slack).square() + (_GAP_NOISE * seen.units[:, None]) ** 2)
    scale, gap_scale = weights.sqrt()[..., None], (precision * seen.trust[..., None]).sqrt()[..., None]
    apart = torch.cat((by_point[:, :, upper], by_point[:, :, lower]), dim=-1)
    rows, errors = _gathered(by_point * scale[..., None], error * scale)
    gap_rows, gap_errors = _gathered(
        apart * gap_scale[..., None], (error[:, :, upper] - error[:, :, lower]) * gap_scale
    )
    above, below = gap_rows.split(3, dim=-1)
    columns = _Columns.of(basis, fit, shared)
    of_gaps = columns.seen_by(above, upper) - columns.seen_by(below, lower)
    together = torch.cat((columns.seen_by(rows, slice(None)).flatten(1, 2), of_gaps.flatten(1, 2)), dim=1)
    return together, torch.cat((errors.flatten(1), gap_errors.flatten(1)), dim=1)


@dataclass(frozen=True)
class _Columns:
    """How landmarks move in the head frame with the unknowns.

    Args:
        by_pose: [T, N, 3, 6].
        fixed: [N, 3, E (+ I)] by expression and identity.
        by_focal: [T, N, 3, 1 or 0] by the logarithm of the focal length.
    """

    by_pose: Tensor
    fixed: Tensor
    by_focal: Tensor

    @staticmethod
    def of(basis: LandmarkBasis, fit: FaceFit, shared: bool) -> _Columns:
        in_head, back = fit.in_head(basis), fit.rotations.transpose(1, 2)[:, None]
        by_pose = torch.cat((-skew(in_head) @ back, back.expand(-1, len(basis.rest), -1, -1)), dim=-1)
        fixed = torch.cat((basis.expression, basis.identity)) if shared else basis.expression
        # A longer focal length shows the same as points further from the axis do.
        sideways = (fit.placed(basis) * torch.tensor([1.0, 1.0, 0.0])) @ fit.rotations
        return _Columns(by_pose, fixed.permute(1, 2, 0), sideways[..., None][..., : int(shared)])

    def seen_by(
        self,
        rows: Tensor,  # [T, n, k, 3]
        which: Tensor | slice,  # n of the landmarks
    ) -> Tensor:
        """Jacobian [T, n, k, 6 + E (+ I + 1)] of rows by points."""
        fixed = torch.einsum("tnkd,ndf->tnkf", rows, self.fixed[which])
        parts = (_times(rows, self.by_pose[:, which]), fixed, _times(rows, self.by_focal[:, which]))
        return torch.cat(parts, dim=-1)


def _times(
    rows: Tensor,  # [T, n, k, 3]
    columns: Tensor,  # [T, n, 3, f], f small
) -> Tensor:
    """[T, n, k, f]; for matrices so small, sums are much faster than products of batches."""
    first, second, third = (rows[..., d, None] * columns[:, :, None, d] for d in range(3))
    return first + second + third


def _systems(basis: LandmarkBasis, seen: Observation, fit: FaceFit, shared: bool) -> tuple[Tensor, Tensor]:
    """Normal equations of every frame in float64: information [T, F, F] and gradient [T, F]."""
    informations, gradients = [], []
    step = max(_CHUNK // len(seen.views), 4)
    for first in range(0, len(seen.points), step):
        part = slice(first, first + step)
        rows, errors = _rows(basis, seen[part], fit[part], shared)
        informations.append((rows.transpose(1, 2) @ rows).double())
        gradients.append((errors[:, None] @ rows)[:, 0].double())
    return torch.cat(informations), torch.cat(gradients)


def _with_expectation(seen: Observation, fit: FaceFit, information: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The normal equations with what the scores expect of the expressions."""
    precision = (1.0 / seen.spread**2).expand_as(seen.scores).double()
    channels = slice(POSE, POSE + precision.shape[-1])
    information, gradient = information.clone(), gradient.clone()
    information[:, channels, channels] += torch.diag_embed(precision)
    gradient[:, channels] += precision * (seen.scores - fit.expression)
    return information, gradient


def _damped(information: Tensor) -> Tensor:
    """A trace of Levenberg's damping, so that what nothing observes stays where it is."""
    return information + 1e-6 * torch.diag_embed(information.diagonal(dim1=-2, dim2=-1))


def _shared_step(basis: LandmarkBasis, seen: Observation, fit: FaceFit, *, free_focal: bool) -> FaceFit:
    E, I = len(basis.expression), len(basis.identity)
    own = POSE + E
    information, gradient = _with_expectation(seen, fit, *_systems(basis, seen, fit, shared=True))
    frames = information[:, :own, :own].clone()
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
    log_focal = torch.log(fit.views.Ks[0, 0, 0] / seen.views.Ks[0, 0, 0]).double()
    prior = torch.cat((torch.ones(I), torch.tensor([_LOG_FOCAL_SPREAD**-2 if free_focal else 1e12]))).double()
    right = right - prior * torch.cat((fit.identity.double(), log_focal[None] if free_focal else torch.zeros(1)))
    step = torch.linalg.solve(shared + torch.diag(prior), right)
    own_step = (solved[..., -1] - solved[..., :-1] @ step).float()
    rotations, translations = moved(fit.rotations, fit.translations, own_step[:, :POSE])
    Ks = fit.views.Ks.clone()
    Ks[:, :2, :2] *= step[-1].clamp(-0.2, 0.2).exp().float()
    return replace(
        fit,
        identity=fit.identity + step[:I].float(),
        views=replace(fit.views, Ks=Ks),
        rotations=rotations,
        translations=translations,
        expression=fit.expression + own_step[:, POSE:],
    )


def landmark_offsets(basis: LandmarkBasis, seen: Observation, fit: FaceFit) -> Tensor:
    """Offsets [N, 3] that explain what is left of the errors at all times; equal for points that meet."""
    error, weights, by_point = residuals(basis, seen, fit)
    looks = min(len(error), 20) / len(error)
    weighted = by_point * (weights * looks)[..., None, None]
    information = torch.einsum("tcnpd,tcnpk->ndk", weighted, by_point)
    gradient = torch.einsum("tcnpd,tcnp->nd", weighted, error)
    prior = torch.eye(3) / _OFFSET_SPREAD**2
    offsets = fit.offsets + torch.linalg.solve(information + prior, gradient - fit.offsets / _OFFSET_SPREAD**2)
    upper, lower = basis.gaps.unbind(-1)
    middle = 0.5 * (offsets[upper] + offsets[lower])
    offsets[upper], offsets[lower] = middle, middle
    return offsets
