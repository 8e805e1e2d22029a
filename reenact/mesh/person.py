"""The whole head of the person that an avatar shows: an avatar itself keeps only the triangles it needs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from recon.avatars.splats import SplatAvatar
from recon.bust import has_torso, with_bust
from reenact.exporters import Subject
from studio.errors import StudioError
from studio.heads.model import HeadModel

_FAR = 0.03  # metres that a vertex of the person may lie from where the identity parameters put it
_USUAL, _CLOSE = 1e-3, 1e-4  # metres, likewise: of vertices that still count half, and at best
_NEIGHBOURS = 6  # of a vertex that the avatar does not keep: their mean, by inverse distance, is how it moves


def whole_head(subject: Subject) -> HeadModel:
    """The head model in the avatar's own shape, with shoulders, without identity parameters.

    Avatars from before they kept it: vertices that the avatar has are found again in the model by how they move, and
    in which order they come. From them the identity is solved; each lies where the avatar has it, and those that it
    lacks move as their neighbours of the same part do.

    Raises:
        StudioError: the avatar has no mesh, or was made with another head model than the one that is here.
    """
    avatar = subject.avatar
    if not isinstance(avatar, SplatAvatar) or subject.load_head is None:
        raise StudioError(
            "this avatar has no mesh", got=type(avatar).__name__, expected="an avatar trained with avatar=splats"
        )
    model, own = subject.load_head(), avatar.head
    if model.hash != avatar.head_hash:
        raise StudioError(
            "the avatar was made with another head model", got=model.name, expected=own.name, next="give head=…"
        )
    if avatar.shape is not None:
        return _shaped(model, avatar.shape, own.joint_positions)
    kept, found = matched(own, model)
    identity = _identity(model, found, own.template[kept])
    person = replace(model.with_identity(identity), joint_positions=own.joint_positions)
    person = person if has_torso(person) else with_bust(person)
    kept, found = matched(own, person)
    moves = own.template[kept] - person.template[found]
    if len(found) == 0 or float(moves.norm(dim=-1).max()) > _FAR:
        raise StudioError("the avatar's mesh is none of this head model's", got=f"{len(found)} vertices in common")
    return replace(person, template=person.template + _spread(person, found, moves))


def _shaped(model: HeadModel, shape: Tensor, joints: Tensor) -> HeadModel:
    """The model in a shape that an avatar kept. Raises StudioError when it is another model's."""
    person = replace(model.with_identity(torch.zeros(model.num_identity)), joint_positions=joints)
    person = person if has_torso(person) else with_bust(person)
    if shape.shape != person.template.shape:
        raise StudioError("the avatar's mesh is none of this head model's", got=f"{len(shape)} vertices")
    return replace(person, template=shape)


def matched(own: HeadModel, whole: HeadModel) -> tuple[Tensor, Tensor]:
    """Which vertices [M] of a compacted head are which [M] of the whole one.

    Both are in the same order; a vertex is known by its landmark, by its expressions and joints where no other has the
    same, and between two such neighbours where nothing was left out.
    """
    ours, theirs = _marks(own), _marks(whole)
    count, place = Counter(theirs), {mark: index for index, mark in enumerate(theirs)}
    corners = (head.faces[head.landmark_faces].flatten().tolist() for head in (own, whole))
    known = dict(zip(*corners)) | {index: place[mark] for index, mark in enumerate(ours) if count[mark] == 1}
    pairs: list[tuple[int, int]] = []
    before = (-1, -1)
    for after in (*sorted(known.items()), (len(ours), len(theirs))):
        if after[1] <= before[1]:
            continue
        gap = after[0] - before[0]
        if gap == after[1] - before[1]:
            between = [(before[0] + step, before[1] + step) for step in range(1, gap)]
            pairs += [(i, j) for i, j in between if ours[i] == theirs[j]]
        pairs += [after] if after[0] < len(ours) else []
        before = after
    kept, found = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).unbind(1)
    return kept, found


def _marks(head: HeadModel) -> list[bytes]:
    """What each vertex is known by."""
    values = torch.cat((head.expression_basis.permute(1, 0, 2).flatten(1), head.skin_weights), dim=1)
    return [row.tobytes() for row in np.ascontiguousarray(values.numpy())]


def _identity(model: HeadModel, found: Tensor, wanted: Tensor) -> Tensor:
    """[I] the likeliest parameters (each has a standard deviation of one) for vertices [M] that lie at [M, 3].

    Those that lie far off count less (Cauchy weights): what the parameters cannot say are moves of a part of the face.
    """
    inside = found < len(model.template)
    basis = model.identity_basis[:, found[inside]].double().flatten(1).T
    target = (wanted[inside] - model.template[found[inside]]).double()
    identity, weights = basis.new_zeros(model.num_identity), basis.new_ones(len(basis))
    prior = _CLOSE**2 * torch.eye(len(identity), dtype=basis.dtype)
    for _ in range(10):
        weighted = (basis * weights[:, None]).T
        identity = torch.linalg.solve(weighted @ basis + prior, weighted @ target.flatten())
        off = target - (basis @ identity).reshape(-1, 3)
        weights = (1 / (1 + off.square().sum(-1) / _USUAL**2)).repeat_interleave(3)
    return identity.float()


def _spread(head: HeadModel, found: Tensor, moves: Tensor) -> Tensor:
    """[V, 3] how every vertex moves when those that were found do, each part of the head by itself."""
    part = torch.zeros(len(head.template), dtype=torch.long)
    part[head.faces.flatten()] = head.face_region.long().repeat_interleave(3)
    shift = torch.zeros_like(head.template)
    for region in torch.unique(part):
        inside = torch.nonzero(part == region)[:, 0]
        have = part[found] == region
        if not bool(have.any()):  # inside of the mouth: bone that goes where the identity puts it
            continue
        near = min(_NEIGHBOURS, int(have.sum()))
        tree = cKDTree(head.template[found[have]].numpy())
        distance, index = tree.query(head.template[inside].numpy(), k=[*range(1, near + 1)])
        weights = torch.from_numpy(1 / (distance + 1e-4)).float()
        shift[inside] = (moves[have][torch.from_numpy(index)] * weights[..., None]).sum(1) / weights.sum(1)[:, None]
    shift[found] = moves
    return shift
