"""Levels of detail: one avatar with its Gaussians in an order in which every beginning is a sparser avatar.

Neighbours in space share a cell; of each cell the Gaussians that make up most of the photos come first. So a prefix
stays closed and keeps the relative density of its kinds: lips, lids, teeth and eyeballs are thinned out as skin is, not
lost. What is left of a cell is enlarged to cover what its neighbours covered, and then fitted for a short while to the
photos, and to the whole from where nobody filmed. Each level keeps own offsets, orientations, sizes, opacities and
colours (14 numbers for each Gaussian); the corrections, a hundred and more, are shared with the whole.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import replace
from statistics import median

import torch
from torch import Tensor

from recon.avatars.splats import SplatAvatar
from recon.binding import compacted
from recon.blending import summed_by_gaussian
from recon.frames import View
from recon.growth import from_rows, kind_of, rows_of
from studio.avatar import Avatar
from studio.cameras import Camera
from studio.codes import Codes
from studio.kernels.adam import Adam
from studio.logs import say
from studio.rotations import axis_angle_to_matrix, rigid

LEVEL_ROWS = ("offsets", "quats", "log_scales", "opacity_logits", "colors")  # what a level has of its own
_CELL = 32  # neighbours that are thinned out together
_LIKELY = 0.5  # exponent by which cells that make up more of the photos keep more of theirs
_MOST_KEPT = 3.0  # times as many as the average cell, or as few
_MOST_ENLARGED = 2.5
_UNSEEN = 1e-3  # what a Gaussian that no photo shows counts for its area, against the average one that is seen
_TURNS = (0.3, 0.9)  # radians up and down, left and right: from where a level is compared with the whole
_TIMED = 7  # frames
_BITS = 10  # of each coordinate, for the order along a space-filling curve
_EPS = 1e-7
_RATES = {"offsets": 1e-3, "quats": 2e-3, "log_scales": 1e-2, "opacity_logits": 3e-2, "colors": 4e-3}


def blending_weights(
    avatar: SplatAvatar,
    codes: Codes,  # batch [T]
    views: Iterable[View],
) -> Tensor:
    """[N] how many pixels each Gaussian makes up in the views."""
    return summed_by_gaussian(avatar, codes, views, lambda _, drawn: torch.ones_like(drawn.alpha[0]))


def cells_of(avatar: SplatAvatar) -> Tensor:
    """[N] int64: neighbours at rest in the same kind (mouth, eyes, the rest) have the same number."""
    with torch.no_grad():
        places = avatar.head_gaussians(avatar.codes).means.cpu()
    low, high = places.amin(0), places.amax(0)
    grid = ((places - low) / (high - low).clamp(min=1e-9).amax() * (2**_BITS - 1)).long()
    curve = torch.zeros(len(grid), dtype=torch.int64)
    for bit in range(_BITS):
        for axis in range(3):
            curve |= ((grid[:, axis] >> bit) & 1) << (3 * bit + axis)
    kind = kind_of(avatar.head, avatar.binding)
    order = (kind * 2 ** (3 * _BITS) + curve).argsort(stable=True)
    place = torch.empty_like(kind)
    place[order] = torch.arange(len(kind))
    before = torch.cat((kind.new_zeros(1), torch.bincount(kind).cumsum(0)))  # of each kind, where it begins
    in_kind = (place - before[kind]) // _CELL
    return torch.unique(kind * len(kind) + in_kind, return_inverse=True)[1]


def detail_order(
    cells: Tensor,  # [N] int64
    kinds: Tensor,  # [N] int64
    weights: Tensor,  # [N] ≥ 0, see ``blending_weights``
) -> Tensor:
    """[N] rows, most important first, so that a beginning of any length takes its share of every kind."""
    counts = torch.bincount(cells).clamp(min=1)
    by_cell = torch.zeros(len(counts)).index_add_(0, cells, weights) / counts
    by_kind = torch.zeros(int(kinds.max()) + 1).index_add_(0, kinds, weights) / torch.bincount(kinds).clamp(min=1)
    # How dense a cell stays against its kind: what fills more of the photos keeps a little more.
    kept: Tensor = (by_cell[cells] / by_kind[kinds].clamp(min=1e-12)).clamp(min=1e-12) ** _LIKELY
    kept = kept.clamp(1 / _MOST_KEPT, _MOST_KEPT)
    by_weight = weights.argsort(descending=True, stable=True)
    grouped = by_weight[cells[by_weight].argsort(stable=True)]  # cell after cell, each by falling weight
    starts = torch.cat((counts.new_zeros(1), torch.bincount(cells).cumsum(0)[:-1]))
    rank = torch.empty_like(cells)
    rank[grouped] = torch.arange(len(cells)) - starts[cells[grouped]]
    return _interleaved((rank + 0.5) / (counts[cells] * kept), kinds)


def _interleaved(keys: Tensor, kinds: Tensor) -> Tensor:
    """Rows by rising key within each kind, the kinds mixed evenly."""
    place = torch.empty(len(keys))
    for kind in kinds.unique():
        rows = torch.nonzero(kinds == kind)[:, 0]
        place[rows[keys[rows].argsort(stable=True)]] = (torch.arange(len(rows)) + 0.5) / len(rows)
    return place.argsort(stable=True)


def taken(avatar: SplatAvatar, rows: Tensor) -> SplatAvatar:
    """The avatar with some of its Gaussians only, in the given order; its levels are left behind."""
    learned = deepcopy(avatar.learned)
    here = rows.to(avatar.device)
    values = {name: value[here] for name, value in rows_of(learned.state_dict()).items()}
    for name, value in from_rows(values).items():
        setattr(learned, name, torch.nn.Parameter(value))
    return replace(avatar, binding=avatar.binding[rows], learned=learned.requires_grad_(False), levels={})


def enlarged(
    avatar: SplatAvatar,  # in the order of ``detail_order``
    cells: Tensor,  # [N] in the same order
    weights: Tensor,  # [N] in the same order, see ``blending_weights``
    count: int,
) -> SplatAvatar:
    """The first ``count`` Gaussians, so much larger that those of a cell show as much as all of it did.

    What a Gaussian shows are its pixels in the photos; where none was seen, the areas decide.
    """
    scales = avatar.learned.log_scales.detach().cpu().exp()
    area = avatar.learned.opacity_logits.detach().cpu().sigmoid() * scales.sort(dim=-1).values[:, 1:].prod(-1)
    shown = weights + _UNSEEN * weights.mean().clamp(min=1) * area / area.mean()
    none = torch.zeros(int(cells.max()) + 1)
    whole, left = (none.index_add(0, cells[:some], shown[:some]) for some in (len(cells), count))
    factor = (whole / left.clamp(min=1e-12)).sqrt().clamp(1.0, _MOST_ENLARGED)
    level = taken(avatar, torch.arange(count))
    with torch.no_grad():
        level.learned.log_scales.add_(factor[cells[:count]].log()[:, None].to(level.device))
    return level


def difference_from_sides(level: SplatAvatar, whole: SplatAvatar, step: int) -> Tensor:
    """How much a level differs from the whole at rest, turned at random: photos show little of a head's sides."""
    random = 2 * torch.rand(2, generator=torch.Generator().manual_seed(step)) - 1
    turn = axis_angle_to_matrix(torch.cat((random * torch.tensor(_TURNS), torch.zeros(1))))
    codes, camera = whole.codes, whole.camera
    codes = replace(codes, head_to_world=codes.head_to_world @ rigid(turn, torch.zeros(3)))
    target = whole.render(camera, codes)
    drawn = level.render_gaussians(camera, level.head_gaussians(codes), codes.head_to_world)
    return (drawn.rgb - target.rgb).abs().mean() + (drawn.alpha - target.alpha).abs().mean()


def fit_level(
    level: SplatAvatar,
    whole: SplatAvatar,
    loss: Callable[[SplatAvatar, int], Tensor],  # of a photo, chosen by the number of the step
    steps: int,
) -> SplatAvatar:
    """The level with what is its own fitted to photos and to the whole seen from elsewhere (changed in place)."""
    for name in LEVEL_ROWS:
        getattr(level.learned, name).requires_grad_(True)
    groups = [{"params": [getattr(level.learned, name)], "rate": rate} for name, rate in _RATES.items()]
    optimizer = torch.optim.Adam(groups, eps=_EPS, fused=True) if level.device.type != "cpu" else Adam(groups, _EPS)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * 0.5 * (1 + math.cos(math.pi * step / steps))
        value = loss(level, step) if step % 2 == 0 else difference_from_sides(level, whole, step)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
    level.learned.requires_grad_(False)
    return level


def with_levels(
    avatar: SplatAvatar,
    counts: tuple[int, ...],
    weights: Tensor,  # [N] see ``blending_weights``
    loss: Callable[[SplatAvatar, int], Tensor],
    steps: int,
) -> SplatAvatar:
    """The avatar in the order of its levels, with a level of each count that is smaller than it.

    Args:
        counts: how many Gaussians the levels have.
        loss, steps: see ``fit_level``; 0 steps leave the levels enlarged only.
    """
    cells, kinds, weights = cells_of(avatar), kind_of(avatar.head, avatar.binding), weights.cpu()
    order = detail_order(cells, kinds, weights)
    ordered, levels = taken(avatar, order), {}
    for count in sorted({count for count in counts if count < len(order)}):
        level = enlarged(ordered, cells[order], weights[order], count)
        fit_level(level, ordered, loss, steps)
        levels[count] = {name: getattr(level.learned, name).detach().cpu().clone() for name in LEVEL_ROWS}
    return replace(ordered, levels=levels)


def at_level(avatar: SplatAvatar, gaussians: int) -> SplatAvatar:
    """The avatar's finest level of at most so many Gaussians (the whole is one), or its coarsest if all have more."""
    counts = sorted((*avatar.levels, len(avatar.learned)))
    count = max((count for count in counts if count <= gaussians), default=counts[0])
    if count == len(avatar.learned):
        return avatar
    level = taken(avatar, torch.arange(count))
    level.learned.load_state_dict({**level.learned.state_dict(), **avatar.levels[count]})
    head, binding = compacted(level.head, level.binding)
    coarser = {n: own for n, own in avatar.levels.items() if n < count}
    return replace(level, head=head, binding=binding, levels=coarser)


def level_for_rate(
    avatar: Avatar,
    fps: float,
    size: int,  # pixels of the longer side
) -> Avatar:
    """The finest level of detail that is drawn so many times a second on this machine, or the coarsest.

    Avatars without levels stay as they are.
    """
    if not isinstance(avatar, SplatAvatar):
        return avatar
    scale = size / max(avatar.camera.width, avatar.camera.height)
    camera = avatar.camera.resized(round(scale * avatar.camera.width), round(scale * avatar.camera.height))
    level = avatar
    for count in sorted((*avatar.levels, len(avatar.learned)), reverse=True):
        level = at_level(avatar, count)
        seconds = _seconds_to_draw(level, camera)
        if seconds * fps <= 1:
            break
    say(f"{len(level.learned)} of {len(avatar.learned)} Gaussians: {1 / seconds:.0f} frames/s at {size} pixels")
    return level


def _seconds_to_draw(avatar: SplatAvatar, camera: Camera) -> float:
    """Median time of a few frames, after one that compiles and takes memory."""
    seconds = []
    for _ in range(1 + _TIMED):
        began = time.perf_counter()
        avatar.render(camera, avatar.codes)
        seconds.append(time.perf_counter() - began)
    return median(seconds[1:])
