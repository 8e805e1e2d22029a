"""Before training: which triangles are seen, where hair and clothes are, and which colour each Gaussian starts with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from recon.binding import Binding, Rig, face_density, sample_shell, sample_surface, triangle_frames
from recon.bust import interocular
from recon.frames import View
from studio.cameras import Camera
from studio.codes import Codes
from studio.heads.model import HeadModel
from studio.rotations import transform_points

_SHELL_THICKNESS = 0.4  # inter-ocular distances: mean height of hair and clothes above the mesh
_SHELL_SHARE = {True: 0.12, False: 0.3}  # of all Gaussians, by whether the head model brings its own hair
_SURPLUS = 4  # candidates drawn for each loose Gaussian that is kept
_INSIDE = 0.2  # mean matte over the frames above which a candidate may belong to the person: clothes slide, hair swings
_ALWAYS_SEEN = ("teeth_upper", "teeth_lower", "tongue", "gums", "mouth_interior", "lids", "lashes")


def seen_faces(
    head: HeadModel,  # without identity parameters
    codes: Codes,  # batch [T], all timesteps
    views: Sequence[View],
) -> Tensor:
    """[F] bool: triangles that face some camera in some of the views; the inside of the mouth counts as seen."""
    seen = head.region_faces(*_ALWAYS_SEEN)
    for view in views:
        vertices = head.vertices(codes.expression.new_zeros(0), codes[view.key[0]])
        corners = vertices[head.faces]
        frames, _ = triangle_frames(corners)
        centers = corners.mean(dim=1)
        towards = torch.nn.functional.normalize(view.camera.centers[0] - centers, dim=-1)
        seen |= ((frames[..., 2] * towards).sum(-1) > -0.15) & inside_image(view.camera, centers)
    return seen


def inside_image(
    camera: Camera,  # C = 1
    points: Tensor,  # [N, 3] world
) -> Tensor:
    """[N] bool: whether points project into the image."""
    (xy,), (depth,) = camera.project(points)
    x, y = xy.unbind(-1)
    return (depth > 0) & (x >= 0) & (x < camera.width) & (y >= 0) & (y < camera.height)


def make_binding(
    head: HeadModel,  # without identity parameters, with a torso
    codes: Codes,  # batch [T]
    views: Sequence[View],
    count: int,
    generator: torch.Generator,
) -> Binding:
    """``count`` Gaussians: skin, eyes and teeth on the mesh; hair, neck and clothes where the mattes show somebody."""
    weights = face_density(head, seen_faces(head, codes, views))
    shell_count = int(_SHELL_SHARE[bool(head.region_faces("hair").any())] * count)
    thickness = _SHELL_THICKNESS * interocular(head)
    shell = _carved(sample_shell(head, thickness, _SURPLUS * shell_count, generator), head, codes, views, shell_count)
    surface_count = count - len(shell)
    trial = sample_surface(head, weights, _SURPLUS * surface_count, generator)
    outside = trial.loose & (_mean_matte(trial, head, codes, views) < _INSIDE)
    # Triangles whose candidates all fell outside of the person get none; what they would have had goes to the others.
    share = torch.zeros(2, len(head.faces))
    share[0].index_add_(0, trial.faces, torch.ones(len(trial)))
    share[1].index_add_(0, trial.faces, (~outside).float())
    kept = torch.where(share[0] > 0, share[1] / share[0].clamp(min=1), 1.0)
    return sample_surface(head, weights * kept, surface_count, generator).joined(shell)


def _carved(binding: Binding, head: HeadModel, codes: Codes, views: Sequence[View], count: int) -> Binding:
    """At most ``count`` of the candidates that lie inside of the mattes, evenly drawn."""
    inside = (_mean_matte(binding, head, codes, views) >= _INSIDE).nonzero()[:, 0]
    if not len(inside):
        return binding[inside]
    chosen = inside[torch.linspace(0, len(inside) - 1, min(count, len(inside))).long()]
    kept = binding[chosen]
    return replace(kept, spacing=kept.spacing * (len(inside) / len(chosen)) ** 0.5)


def _mean_matte(binding: Binding, head: HeadModel, codes: Codes, views: Sequence[View]) -> Tensor:
    """[N] mean matte over the views that see a Gaussian; 1 where there are no mattes, 0 where no view sees it."""
    rig = Rig(head, binding)
    total, seen = torch.zeros(len(binding)), torch.zeros(len(binding))
    for view in views:
        if view.alpha is None:
            return torch.ones(len(binding))
        state = codes[view.key[0]]
        anchors = rig.pose(state)
        points = anchors.origins + (anchors.rotations * (binding.offsets * anchors.stretch[:, None])[:, None]).sum(-1)
        points = transform_points(state.head_to_world, points)
        inside = inside_image(view.camera, points)
        x, y = view.camera.project(points)[0][0][inside].long().unbind(-1)
        total[inside] += view.alpha[y, x].float() / 255
        seen[inside] += 1
    return total / seen.clamp(min=1)
