"""First colours of the Gaussians, read from the photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from recon.avatars.splats import SplatAvatar
from recon.frames import View
from studio.codes import Codes

_CAVITY = ("mouth_interior", "gums", "tongue")
_HIDDEN_SHADE = 0.35  # what no photo shows of the mouth lies deeper than what one does, and gets less light
_LEAST_SEEN_INSIDE = 2.0  # glimpses between lips are of the colour of lips
_LEAST_SEEN = 0.05  # blending weight over all views below which a Gaussian was not seen


def initial_colors(
    avatar: SplatAvatar,
    codes: Codes,  # batch [T]
    views: Sequence[View],
) -> None:
    """Set each Gaussian's colour to the mean of the pixels it covers, weighted by how much of each it makes up.

    Blending is linear in the colours, so that weight is the gradient of the image to the colour: no extra pass over
    pixels is needed. What no view shows takes the colour of the nearest Gaussian of its region that was seen, so that a
    mouth that opens wider than ever shows more of the same teeth and tongue.
    """
    count = len(avatar.learned)
    colored, seen = torch.zeros(count, 3), torch.zeros(count, 3)
    for view in views:
        state = codes[view.key[0]]
        photo = view.image.float() / 255
        inside = torch.ones(photo.shape[:2]) if view.alpha is None else view.alpha.float() / 255
        with torch.no_grad():
            gaussians = avatar.head_gaussians(state)
        colors = gaussians.colors.clone().requires_grad_()
        drawn = avatar.render_gaussians(view.camera, replace(gaussians, colors=colors), state.head_to_world).rgb[0]
        for total, image in ((colored, photo), (seen, torch.ones_like(photo))):
            weighted = (drawn * image * inside[..., None]).sum()
            total += torch.autograd.grad(weighted, colors, retain_graph=True)[0]
    cavity = avatar.head.region_faces(*_CAVITY)[avatar.binding.faces]
    known = seen[:, 0] > torch.where(cavity, _LEAST_SEEN_INSIDE, _LEAST_SEEN)
    colors = colored / seen.clamp(min=1e-6)
    with torch.no_grad():
        avatar.learned.colors.copy_(_filled(avatar, colors, known))


def _filled(
    avatar: SplatAvatar,
    colors: Tensor,  # [N, 3]
    known: Tensor,  # [N] bool
) -> Tensor:
    """Colours [N, 3] with the unknown ones taken from the nearest known one of the same region, at rest."""
    head, binding = avatar.head, avatar.binding
    places = (head.template[head.faces[binding.faces]] * binding.bary[..., None]).sum(1)
    region = head.face_region[binding.faces]
    filled = torch.where(known[:, None], colors, colors[known].mean(0) if known.any() else 0.5)
    for index in range(len(head.region_names)):
        source, wanted = ((region == index) & chosen for chosen in (known, ~known))
        if source.any():
            near = colors[source][torch.cdist(places[wanted], places[source]).argmin(1)]
            filled[wanted] = near * _HIDDEN_SHADE if head.region_names[index] in _CAVITY else near
    return filled
