"""All frames of a clip fitted at once, with a prior for every frame and one between neighbours.

Levenberg-Marquardt, whose matrix every gradient improves (BFGS, Nocedal & Wright 2006): steps as large as the images
allow, without derivatives of any image.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy.linalg import solveh_banded
from torch import Tensor

from recon.code_fit_term import POSE, advanced, difference
from studio.codes import Codes

_FIRST_DAMPING, _BOLDER, _CALMER = 0.3, 0.5, 4.0
_PIN = 1e9  # precision that holds an expression at the end of its range


class Clip:
    """Frames being fitted: the best codes so far, what is known about them, and the codes to try next."""

    def __init__(
        self,
        codes: Codes,  # batch [T]: to start from, and the prior
        information: Tensor,  # [U, U] about the second derivative of any frame's cost
        precision: Tensor,  # [U] of the prior
        link: Tensor,  # [T, U] precision of the change since the frame before; zero where there is none
        last: Codes | None,  # the frame before the first, which is fixed
    ) -> None:
        self.best = self.trial = self._prior = codes
        self._information = information.expand(len(link), *information.shape).clone()
        self._precision, self._link, self._last = precision, link, last
        self._damping = torch.full((len(link),), _FIRST_DAMPING)
        self.costs = torch.full((len(link),), torch.inf)
        self._gradient = torch.zeros_like(link)

    def advance(self, costs: Tensor, gradients: Tensor, weight: float) -> None:
        """Take ``trial`` where it is better, and choose the next one.

        Args:
            costs: [T] of the trial codes.
            gradients: [T, U] by a step.
            weight: of a cost against the priors, which are negative log-likelihoods.
        """
        if bool(self.costs.isfinite().all()):
            self._information = secant_update(
                self._information, difference(self.best, self.trial), gradients - self._gradient
            )
        better = self.settle(costs, weight)
        self._gradient = torch.where(better[:, None], gradients, self._gradient)
        matrix = weight * self._information + torch.diag(self._precision)
        matrix += torch.diag_embed(self._damping[:, None] * matrix.diagonal(dim1=1, dim2=2))
        gradient = weight * self._gradient + self._precision * difference(self._prior, self.best)
        steps = clip_step(matrix, gradient, self._jumps(self.best), self._link, self.best.expression)
        moved = advanced(self.best, steps)
        self.trial = replace(moved, expression=moved.expression.clamp(0, 1))

    def settle(self, costs: Tensor, weight: float) -> Tensor:
        """Take ``trial`` where it is better, given its costs [T]; returns where [T]."""
        before = weight * self.costs + self._prior_cost(self.best)
        better = weight * costs + self._prior_cost(self.trial) < before
        tensors = self.trial.tensors().items()
        self.best = Codes(
            self.best.space,
            **{n: torch.where(better.view(-1, *[1] * (v.ndim - 1)), v, getattr(self.best, n)) for n, v in tensors},
        )
        self.costs = torch.where(better, costs, self.costs)
        self._damping = torch.where(better, self._damping * _BOLDER, self._damping * _CALMER).clamp(1e-4, 1e4)
        return better

    def _prior_cost(self, codes: Codes) -> Tensor:
        """[T] what the priors charge; a change between two frames is charged to both."""
        changes = 0.5 * (self._link * self._jumps(codes).square()).sum(-1)
        shared = changes + torch.nn.functional.pad(changes[1:], (0, 1))
        return 0.5 * (self._precision * difference(self._prior, codes).square()).sum(-1) + shared

    def _jumps(self, codes: Codes) -> Tensor:
        """[T, U] from the frame before."""
        first = codes[:1] if self._last is None else Codes.stack([self._last])
        before = {name: torch.cat((value, getattr(codes, name)[:-1])) for name, value in first.tensors().items()}
        return difference(Codes(codes.space, **before), codes)


def secant_update(
    matrix: Tensor,  # [T, U, U] symmetric, positive definite
    step: Tensor,  # [T, U]
    change: Tensor,  # [T, U] of the gradient along the step
) -> Tensor:
    """The matrices [T, U, U] that explain the change and stay positive definite: BFGS with Powell's damping (1978)."""
    s, y = step.double(), change.double()
    B = matrix.double()
    Bs = (B @ s[..., None])[..., 0]
    sBs, sy = (s * Bs).sum(-1), (s * y).sum(-1)
    share = torch.where(sy < 0.2 * sBs, 0.8 * sBs / (sBs - sy).clamp(min=1e-300), 1.0)[:, None]
    r = share * y + (1 - share) * Bs
    sr = (s * r).sum(-1)
    fits = (sBs > 1e-300) & (sr > 1e-300)
    sBs, sr = (torch.where(fits, value, 1.0)[:, None, None] for value in (sBs, sr))
    updated = B - Bs[:, :, None] * Bs[:, None] / sBs + r[:, :, None] * r[:, None] / sr
    return torch.where(fits[:, None, None], updated, B).float()


def clip_step(
    information: Tensor,  # [T, U, U]
    gradient: Tensor,  # [T, U] of the costs of single frames
    jumps: Tensor,  # [T, U] from the frame before; anything where ``link`` is zero
    link: Tensor,  # [T, U] precision of a jump; zero where a frame has no predecessor
    expression: Tensor,  # [T, E] present weights, which stay within 0..1
) -> Tensor:
    """The steps [T, U] that minimise the quadratic model of the clip.

    cost = Σ_t [ g·s + ½ s·A·s ]_t + ½ Σ_t link_t · (jump_t + s_t - s_{t-1})², where the first frame's predecessor
    holds still. The system is banded: dense blocks on the diagonal, diagonal blocks beside them.
    """
    matrix, right = information.double().clone(), -gradient.double()
    wide, jumps = link.double(), jumps.double()
    diagonal = torch.diagonal(matrix, dim1=1, dim2=2)
    diagonal += wide
    diagonal[:-1] += wide[1:]
    right -= wide * jumps
    right[:-1] += wide[1:] * jumps[1:]
    steps = _solved(matrix, right, wide)
    reached = expression + steps[:, POSE : POSE + expression.shape[1]]
    pinned = torch.zeros_like(right)
    pinned[:, POSE : POSE + expression.shape[1]] = ((reached < 0) | (reached > 1)) * _PIN
    if bool(pinned.any()):
        # Weights that would leave their range stay at its end; the others are solved again around them.
        target = torch.zeros_like(right)
        target[:, POSE : POSE + expression.shape[1]] = reached.clamp(0, 1) - expression
        diagonal += pinned
        steps = _solved(matrix, right + pinned * target, wide)
    return steps.float()


def _solved(matrix: Tensor, right: Tensor, wide: Tensor) -> Tensor:
    """Solve the banded system; rows of LAPACK's lower form are the subdiagonals."""
    frames, unknowns, _ = matrix.shape
    band = np.zeros((unknowns + 1, frames, unknowns))
    for offset in range(unknowns):
        band[offset, :, : unknowns - offset] = torch.diagonal(matrix, offset=-offset, dim1=1, dim2=2).numpy()
    band[unknowns, :-1] = -wide[1:].numpy()
    flat = solveh_banded(
        band.reshape(unknowns + 1, -1), right.numpy().reshape(-1), lower=True, overwrite_ab=True, check_finite=False
    )
    return torch.from_numpy(flat.reshape(frames, unknowns))
