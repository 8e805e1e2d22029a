"""Growing the number of bound Gaussians where the image needs them, up to a fixed budget.

Training starts with a share of the budget, spread over the surface; now and then the Gaussians under the largest errors
are split in two along their longest axis (Kerbl et al. 2023, "3D Gaussian Splatting", split by screen-space gradients;
the error that a Gaussian is to blame for follows Rota Bulò et al. 2024, "Revising Densification in Gaussian Splatting")
and those that have become transparent are used for such splits again (Kheradmand et al. 2024). Children keep the
triangle of their parent (GaussianAvatars, Qian et al. 2024). Mouth and eyes, small and seldom seen, keep their shares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from recon.avatars.splats import SplatAvatar
from recon.backdrop import Backdrop
from recon.binding import Binding
from recon.blending import summed_by_gaussian
from recon.checkpoints import Optimizer
from recon.field import SplatField
from recon.frames import View
from studio.avatar import RenderOutput
from studio.codes import Codes
from studio.heads.model import HeadModel
from studio.rotations import quat_to_matrix

PER_GAUSSIAN = ("offsets", "quats", "log_scales", "opacity_logits", "colors", "bases")
_MOMENTS = ("exp_avg", "exp_avg_sq")  # of Adam
_DEAD = 0.01  # opacity below which a Gaussian shows nothing
_KINDS = (
    ("teeth_upper", "teeth_lower", "tongue", "gums", "mouth_interior"),
    ("eye_left", "eye_right", "eye_occlusion", "lacrimal", "lids", "lashes"),
)
# The two halves of a split lie this far from the middle, in standard deviations of the whole.
_HALF_SHIFT = 0.5


@dataclass(frozen=True)
class GrowthConfig:
    """When Gaussians are added and moved.

    Args:
        first: share of the Gaussians that training begins with.
        rounds: how often some are added, up to all; 0: all are there from the beginning.
        start: step of the first round, as a share of all steps.
        stop: step of the last one.
    """

    first: float = 0.8
    rounds: int = 0
    start: float = 0.1
    stop: float = 0.5

    def count(self, budget: int, step: int, iterations: int) -> int:
        """How many Gaussians there are after a number of steps."""
        if self.rounds == 0:
            return budget
        done = sum(at <= step for at in self._steps(iterations))
        return min(budget, max(1, round(budget * (self.first + (1 - self.first) * done / self.rounds))))

    def due(self, step: int, iterations: int) -> bool:
        """Whether a round follows on a number of steps."""
        return step in self._steps(iterations)

    def _steps(self, iterations: int) -> list[int]:
        stride = (self.stop - self.start) / max(self.rounds - 1, 1)
        return [round(iterations * (self.start + index * stride)) for index in range(self.rounds)]


@dataclass(frozen=True)
class Splits:
    """Which Gaussians are split: ``source`` [M] are halved, the other halves become ``target`` [M].

    Targets are transparent ones of before, or rows past the end (``count`` Gaussians afterwards).
    """

    source: Tensor
    target: Tensor
    count: int


def blame(
    avatar: SplatAvatar,
    codes: Codes,  # batch [T]
    views: Iterable[View],
    backdrop: Backdrop,
) -> Tensor:
    """[N] absolute error of the views, shared among the Gaussians by their blending weights and summed."""

    def error(view: View, drawn: RenderOutput) -> Tensor:
        behind, target = backdrop.truth(view)
        return (drawn.over(behind)[0] - target).abs().mean(-1)

    return summed_by_gaussian(avatar, codes, views, error)


def plan_splits(
    kinds: Tensor,  # [N] int64: inside of the mouth, eyes, all else; see ``kind_of``
    opacities: Tensor,  # [N] 0..1
    blamed: Tensor,  # [N] what each is to blame for; those with 0 are never split
    count: int,  # how many there shall be
    generator: torch.Generator,
) -> Splits:
    """Choose Gaussians to split, with odds by blame: as many as have died, and as many as are missing to ``count``.

    Every kind gets new ones by its share of the Gaussians, so that the small ones keep theirs; within a kind the errors
    decide. None is split twice at once.
    """
    total = len(kinds)
    alive = opacities > _DEAD
    added = max(0, count - total)
    sources, targets, first = [], [], total
    for kind in range(len(_KINDS) + 1):
        odds = torch.where(alive & (kinds == kind), blamed, torch.zeros_like(blamed))
        dead = torch.nonzero(~alive & (kinds == kind))[:, 0]
        fresh = _share(added, kinds, kind)
        wanted = min(len(dead) + fresh, int((odds > 0).sum()))
        if wanted == 0:
            continue
        sources.append(torch.multinomial(odds, wanted, generator=generator))
        fresh = min(fresh, wanted)
        targets.append(torch.cat((torch.arange(first, first + fresh), dead[: wanted - fresh])))
        first += fresh
    empty = torch.zeros(0, dtype=torch.int64)
    return Splits(torch.cat((empty, *sources)), torch.cat((empty, *targets)), first)


def _share(added: int, kinds: Tensor, kind: int) -> int:
    """How many of the new ones a kind gets: the shares of all kinds, rounded so that they sum up."""
    below = [round(added * int((kinds < limit).sum()) / len(kinds)) for limit in (kind, kind + 1)]
    return below[1] - below[0]


def kind_of(head: HeadModel, binding: Binding) -> Tensor:
    """[N] which kind each Gaussian belongs to: the mouth's inside, the eyes, everything else."""
    kind = torch.full((len(head.faces),), len(_KINDS))
    for index, names in enumerate(_KINDS):
        kind[head.region_faces(*names)] = index
    return kind[binding.faces]


def split(rows: dict[str, Tensor], splits: Splits) -> dict[str, Tensor]:
    """The parameters of a field (``rows_of``) after splits, which change the image by a few per cent at most.

    A Gaussian becomes two beside each other along its longest axis. Their widths and opacity, by the opacity of the
    whole, are fitted to minimise the difference of the images (least squares over a plane; see the tests).
    """
    device = rows["offsets"].device
    source, target = splits.source.to(device), splits.target.to(device)
    whole = {name: value[source] for name, value in rows.items()}
    log_scales, opacity = whole["log_scales"], whole["opacity_logits"].sigmoid()
    longest = log_scales.argmax(-1, keepdim=True)
    along, across = 0.844 - 0.089 * opacity, 1.0 - 0.057 * opacity
    factors = across[:, None].repeat(1, 3).scatter(1, longest, along[:, None])
    halves = {
        **whole,
        "log_scales": log_scales + factors.log(),
        "opacity_logits": torch.logit(opacity * (0.58 + 0.2 * opacity), eps=1e-6),
    }
    axes = quat_to_matrix(whole["quats"])
    axis = axes.gather(2, longest[:, None].expand(-1, 3, 1))[..., 0]
    shift = _HALF_SHIFT * log_scales.gather(1, longest).exp() * axis
    first, second = ({**halves, "offsets": whole["offsets"] + sign * shift} for sign in (1, -1))
    result = {name: _sized(value, splits.count) for name, value in rows.items()}
    for name, value in result.items():
        value[source], value[target] = first[name], second[name]
    return result


def inherit(rows: Tensor, splits: Splits) -> Tensor:
    """What else is known of each Gaussian [N, …], handed on to the halves."""
    result = _sized(rows, splits.count)
    result[splits.target.to(rows.device)] = rows[splits.source.to(rows.device)]
    return result


def _sized(rows: Tensor, count: int) -> Tensor:
    return torch.cat((rows, rows.new_zeros(count - len(rows), *rows.shape[1:])))


def grown_binding(binding: Binding, splits: Splits) -> Binding:
    """The binding after splits: the halves hang where the whole did."""
    return Binding(*(inherit(getattr(binding, item.name), splits) for item in fields(Binding)))


def rows_of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The per-Gaussian parameters of a field, each as [N, …]: the bases [K, N * C] as [N, K, C]."""
    rows = {name: tensors[name] for name in PER_GAUSSIAN}
    bases, count = rows["bases"], len(rows["offsets"])
    rows["bases"] = bases.reshape(len(bases), count, bases.shape[1] // count).movedim(0, 1)
    return rows


def from_rows(rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Inverse of ``rows_of``."""
    return {**rows, "bases": rows["bases"].movedim(0, 1).flatten(1).contiguous()}


def grow(
    avatar: SplatAvatar,
    optimizer: Optimizer,  # of the avatar's field, changed in place
    blamed: Tensor,  # [N] see ``blame``
    count: int,
    generator: torch.Generator,
) -> tuple[SplatAvatar, Splits]:
    """Split Gaussians until there are ``count``; the halves inherit the momenta of the whole."""
    learned = avatar.learned
    opacities = learned.opacity_logits.detach().sigmoid().cpu()
    splits = plan_splits(kind_of(avatar.head, avatar.binding), opacities, blamed.cpu(), count, generator)
    old = {name: getattr(learned, name) for name in PER_GAUSSIAN}
    states = {name: optimizer.state.get(parameter, {}) for name, parameter in old.items()}
    moments = [key for key in _MOMENTS if all(key in state for state in states.values())]
    inherited = {key: _inherited({name: state[key] for name, state in states.items()}, splits) for key in moments}
    with torch.no_grad():
        _exchange(learned, optimizer, from_rows(split(rows_of(old), splits)))
    for name, state in states.items():
        if state:
            optimizer.state[getattr(learned, name)] = {**state, **{key: inherited[key][name] for key in moments}}
    return replace(avatar, binding=grown_binding(avatar.binding, splits)), splits


def with_binding(avatar: SplatAvatar, optimizer: Optimizer, binding: Binding) -> SplatAvatar:
    """The avatar with as many Gaussians as another binding has; their parameters are yet to be loaded."""
    rows = {name: value[:1] for name, value in rows_of(dict(avatar.learned.named_parameters())).items()}
    blank = {name: value.expand(len(binding), *value.shape[1:]) for name, value in rows.items()}
    _exchange(avatar.learned, optimizer, from_rows(blank))
    return replace(avatar, binding=binding)


def grown_mean(mean: Mapping[str, Tensor], prefix: str, splits: Splits) -> dict[str, Tensor]:
    """The running mean of all parameters by name after splits; those of the field start with ``prefix``."""
    rows = rows_of({name: mean[prefix + name] for name in PER_GAUSSIAN})
    return {**mean, **{prefix + name: value for name, value in from_rows(split(rows, splits)).items()}}


def _inherited(values: Mapping[str, Tensor], splits: Splits) -> dict[str, Tensor]:
    return from_rows({name: inherit(rows, splits) for name, rows in rows_of(values).items()})


def _exchange(learned: SplatField, optimizer: Optimizer, values: Mapping[str, Tensor]) -> None:
    """Put other per-Gaussian parameters into a field and its optimiser, which forgets what it knew of the old ones."""
    for name, value in values.items():
        old, new = getattr(learned, name), torch.nn.Parameter(value.detach().clone())
        for group in optimizer.param_groups:
            group["params"] = [new if parameter is old else parameter for parameter in group["params"]]
        optimizer.state.pop(old, None)
        setattr(learned, name, new)
