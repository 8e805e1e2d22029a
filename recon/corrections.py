"""What the driving codes change beyond the mesh: reduced bases of corrections, weighted by small networks.

RGBAvatar (arXiv 2503.12886): every Gaussian owns K corrections of position, rotation and colour; a small network turns
the codes into K weights. Here each part of the head has a network of its own, which sees only what moves there: raised
brows do not repaint lips that happened to smile along. It sees where the codes put the part's landmarks, not the
channels: many mixtures of channels look alike, and which of them a tracker picked means nothing. Codes outside of what
the training clip showed are brought back to its range first, so that a foreign driver gets the mesh's motion with the
nearest correction that was ever learned, never an extrapolation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recon.binding import PARTS
from recon.bust import interocular
from studio.codes import JOINT_SIZES, Codes
from studio.heads.mediapipe_points import CONTOUR, GROUPS, LIPS
from studio.heads.model import HeadModel
from studio.kernels.code_networks import network_answers, parameter_count

_SEEN = {
    "mouth": (*LIPS, *CONTOUR),
    "eyes": (*GROUPS["lids"], *GROUPS["irises"]),
    "brows": (*GROUPS["lids"], *GROUPS["brows"]),
    "rest": CONTOUR,
}
# What moves less tells nothing: landmarks (root mean square in inter-ocular distances), the neck (radians, metres).
_LANDMARK_FLOOR = 0.003
_NECK_FLOORS = {"neck_pose": 0.02, "neck_translation": 0.003}
_NECK_FLOOR = 0.03  # of their combinations, whose entries have unit variance
_KEPT_VARIANCE = 0.995
_CARRY_RIDGE = 1e-4  # of components of unit variance
_LAYERS = ("0", "2", "4")  # names of the layers with parameters, as in a sequence with what lies between them
_STEP = 0.01  # in a code, for central differences


@dataclass(frozen=True)
class CodeStatistics:
    """What the networks see of the codes: an affine map to components of about unit variance, part after part.

    Args:
        mean: [E + 15] of ``Codes.vector``.
        projection: [E + 15, D] from centred vectors to components.
        low, high: [D] range of each component in the training clip.
        sizes: [P] int64: how many of the D belong to each of ``PARTS``.
    """

    mean: Tensor
    projection: Tensor
    low: Tensor
    high: Tensor
    sizes: Tensor

    @staticmethod
    def fit(
        codes: Codes,  # batch [T], the training frames
        head: HeadModel,  # the person's, without identity parameters
        most: int,
    ) -> CodeStatistics:
        """For each part the principal motions of its landmarks, at most ``most``, and the neck's.

        The neck belongs to every part, since the light on a face changes as the head turns.
        """
        vectors = codes.vector().double()
        mean = vectors.mean(0)
        centred = vectors - mean
        neck = _principal(centred, _neck_motion(centred, len(codes.space)), _NECK_FLOOR, most)
        maps = []
        for part in PARTS:
            motion = landmark_motion(head, _SEEN[part]).double()
            maps.append(torch.cat((_principal(centred, motion, _LANDMARK_FLOOR, most), neck), dim=1))
        projection = torch.cat(maps, dim=1)
        z = centred @ projection
        sizes = torch.tensor([part.shape[1] for part in maps])
        low, high = z.amin(0).float(), z.amax(0).float()
        return CodeStatistics(mean.float(), projection.float(), low, high, sizes)

    def components(
        self,
        codes: Codes,  # batch [...]
    ) -> Tensor:
        """[..., D] components, limited to the range of the training clip."""
        z = (codes.vector() - self.mean) @ self.projection
        return torch.minimum(torch.maximum(z, self.low), self.high)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by field name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def landmark_motion(
    head: HeadModel,  # without identity parameters
    points: Sequence[int],  # MediaPipe points
) -> Tensor:
    """[E + 15, 3 L] what each entry of ``Codes.vector`` does to L landmarks in the head frame, to first order at rest.

    In inter-ocular distances, divided by √L, so that the length of a row is a root mean square.
    """
    small, size = head.landmark_submodel(), len(head.space) + sum(JOINT_SIZES.values())
    valid = [index for index in points if head.landmark_valid[index]]
    steps = _STEP * torch.cat((torch.eye(size), -torch.eye(size)))
    states = Codes.neutral(head.space, (len(steps),)).with_vector(steps)
    ahead, behind = small.landmarks(small.vertices_head(steps.new_zeros(0), states))[:, valid].flatten(1).chunk(2)
    return (ahead - behind) / (2 * _STEP * interocular(head) * max(len(valid), 1) ** 0.5)


def _neck_motion(centred: Tensor, expressions: int) -> Tensor:
    """[E + 15, 6] neck pose and translation, each divided by its spread in the clip or its floor."""
    sizes = {"expression": expressions, **JOINT_SIZES}
    floor = torch.tensor([_NECK_FLOORS.get(name, torch.inf) for name, size in sizes.items() for _ in range(size)])
    spread = torch.maximum(centred.std(0, unbiased=False), floor.double())
    return torch.diag(1 / spread)[:, floor.isfinite()]


def _principal(
    centred: Tensor,  # [T, E + 15]
    motion: Tensor,  # [E + 15, M] what is seen of the codes
    floor: float,  # spread below which a component stays small; it is dropped below a tenth of that
    most: int,
) -> Tensor:
    """[E + 15, D] from codes to the principal components of ``centred @ motion``, of unit variance above the floor."""
    _, singular, axes = torch.linalg.svd(centred @ motion, full_matrices=False)
    variance = singular.square() / len(centred)
    share = variance.cumsum(0) / variance.sum().clamp(min=1e-12)
    telling = int((share < _KEPT_VARIANCE).sum()) + 1, int((variance > (0.1 * floor) ** 2).sum())
    kept = max(1, min(most, *telling))
    return motion @ axes[:kept].T / (variance[:kept] + floor**2).sqrt()


class BasisWeights(nn.Module):
    """The networks, one for each part, from code components to basis weights in -1..1.

    All parameters lie in ``values``; stored, they have the names of layers of their own ("parts.0.0.weight").
    """

    def __init__(
        self,
        sizes: Sequence[int],  # components of each part
        hidden: int,
        bases: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self._sizes, self._hidden, self._bases = list(sizes), hidden, bases
        self.values = nn.Parameter(torch.zeros(sum(parameter_count(size, hidden, bases) for size in sizes)))
        for network in self.layers():
            for name, value in network.items():
                if name.endswith("weight"):
                    bound = (3.0 / value.shape[1]) ** 0.5
                    nn.init.uniform_(value.detach(), -bound, bound, generator=generator)

    def layers(self) -> list[dict[str, Tensor]]:
        """The parameters of each network by name, as parts of ``values``."""
        networks, first = [], 0
        for size in self._sizes:
            network = {}
            for layer, (rows, columns) in zip(
                _LAYERS, ((self._hidden, size), (self._hidden, self._hidden), (self._bases, self._hidden)), strict=True
            ):
                network[f"{layer}.weight"] = self.values[first : first + rows * columns].view(rows, columns)
                network[f"{layer}.bias"] = self.values[first + rows * columns : first + rows * (columns + 1)]
                first += rows * (columns + 1)
            networks.append(network)
        return networks

    def forward(
        self,
        components: Tensor,  # [..., D]
    ) -> Tensor:
        """Weights [..., P, K]; bounded, so that the corrections are."""
        plain = components.requires_grad or components.ndim > 1 or self.values.dtype != torch.float32
        if self.values.device.type == "cpu" and not plain:
            return network_answers(self.values, components, self._sizes, self._hidden, self._bases)
        seen = components.to(self.values.device).split(self._sizes, dim=-1)
        answers = [_answer(network, part) for network, part in zip(self.layers(), seen, strict=True)]
        return torch.stack(answers, dim=-2).tanh()

    @torch.no_grad()
    def carried_over(
        self,
        before: Tensor,  # [T, D] components of some frames, as the networks have seen them so far
        after: Tensor,  # [T, D'] the same frames in components that were chosen anew
        sizes: Sequence[int],  # components of each part, D' in all
    ) -> BasisWeights:
        """Networks on the new components that answer as these do; the first layers are solved by least squares."""
        result = BasisWeights(sizes, self._hidden, self._bases, torch.Generator().manual_seed(0))
        known = [{name: value.cpu() for name, value in network.items()} for network in self.layers()]
        for old, new, x, z in zip(
            known, result.layers(), before.split(self._sizes, -1), after.split(list(sizes), -1), strict=True
        ):
            rows = torch.cat((z, torch.ones(len(z), 1)), dim=1).double()
            ridge = _CARRY_RIDGE * len(z) * torch.eye(rows.shape[1], dtype=torch.float64)
            sums = torch.nn.functional.linear(x, old["0.weight"], old["0.bias"])
            solved = torch.linalg.solve(rows.T @ rows + ridge, rows.T @ sums.double())
            for name, value in {**old, "0.weight": solved[:-1].T.float(), "0.bias": solved[-1].float()}.items():
                new[name].copy_(value)
        return result.to(self.values.device)

    def _named(self, prefix: str) -> dict[str, Tensor]:
        networks = enumerate(self.layers())
        return {f"{prefix}parts.{p}.{name}": value for p, network in networks for name, value in network.items()}

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        destination.update({name: v if keep_vars else v.detach() for name, v in self._named(prefix).items()})

    @torch.no_grad()
    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        own = self._named(prefix)
        missing_keys += [name for name in own if name not in state_dict]
        unexpected_keys += [name for name in state_dict if name.startswith(prefix) and name not in own]
        for name in own.keys() & state_dict.keys():
            if own[name].shape == state_dict[name].shape:
                own[name].copy_(state_dict[name])
            else:
                error_msgs.append(f"{name}: {tuple(state_dict[name].shape)} instead of {tuple(own[name].shape)}")


def _answer(network: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """What a network says before tanh, in plain torch."""
    for layer in _LAYERS:
        x = torch.nn.functional.linear(x, network[f"{layer}.weight"], network[f"{layer}.bias"])
        x = x if layer == _LAYERS[-1] else torch.nn.functional.silu(x)
    return x
