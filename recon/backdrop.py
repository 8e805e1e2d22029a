"""What is behind the person while training: the camera's own background, learned, or random colours."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from recon.frames import View, Views
from recon.losses import target_over
from studio.errors import StudioError

Behind = Literal["auto", "learned", "random"]
_SAMPLES = 40  # photos whose median starts a background that nobody estimated


class _LearnedWhere(torch.autograd.Function):
    """An image [H, W, 3] as it is, whose gradient counts where a mask [H, W] says so."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(mask)
        return image.view_as(image)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, v_image: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return v_image * mask[..., None], None


class Backdrop(nn.Module):
    """Gives each view its photo and what belongs behind the render.

    "random" composites photo and render over the same random colour, by the capture's mattes: nothing but a true
    silhouette satisfies all colours. "learned" compares with the photo as it is, over a background image of each camera
    that is learned along: for clips whose mattes are rough.
    """

    def __init__(
        self, views: Views, cameras: tuple[int, ...], timesteps: tuple[int, ...], behind: Behind, seed: int
    ) -> None:
        """Args: cameras and timesteps: those trained on; behind: "auto" takes "random" for matted rigs of cameras."""
        super().__init__()
        self._views, self._seed, self._cameras = views, seed, cameras
        matted = views[(timesteps[0], cameras[0])].alpha is not None
        if behind == "random" and not matted:
            raise StudioError("behind=random", got="a capture without mattes", next="use behind=learned")
        self.random = behind == "random" or (behind == "auto" and matted and len(cameras) > 1)
        known = [self._known(camera) for camera in cameras]
        self._estimates = {camera: image for camera, image in zip(cameras, known) if image is not None}
        images = torch.zeros(0)
        if not self.random:
            start = [self._median(c, timesteps) if image is None else image for c, image in zip(cameras, known)]
            images = torch.stack(start)
        self.images = nn.Parameter(images)

    def _known(self, camera: int) -> Tensor | None:
        image = self._views.capture.background(camera)
        return None if image is None else torch.from_numpy(image).float() / 255

    def _median(self, camera: int, timesteps: tuple[int, ...]) -> Tensor:
        chosen = np.linspace(0, len(timesteps) - 1, min(_SAMPLES, len(timesteps))).round().astype(int)
        photos = torch.stack([self._views[(timesteps[index], camera)].image for index in chosen])
        return photos.median(dim=0).values.float() / 255

    def forward(self, view: View, step: int) -> tuple[Tensor, Tensor]:
        """What is behind ([3] or [H, W, 3]) and the target [H, W, 3] of a view at a training step (-1: validation)."""
        if not self.random:
            one = len(self.images) == 1  # then a view: the gradient of an index fills a whole batch
            image = self.images.squeeze(0) if one else self.images[self._cameras.index(view.key[1])]
            if view.alpha is not None:
                # Learned where nobody is: a soft silhouette would otherwise leave its outline on the wall behind.
                image = _LearnedWhere.apply(image, view.alpha == 0)
            return image, view.image / 255
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + step + 1)
        color = torch.rand(3, generator=generator) if step >= 0 else torch.ones(3)
        return color, target_over(view, self._estimates.get(view.key[1]), color)

    def image(self, camera: int) -> Tensor | None:
        """[H, W, 3] the background of a camera, learned or as captured, or None."""
        if self.random or camera not in self._cameras:
            return self._known(camera)
        return self.images[self._cameras.index(camera)].detach().clamp(0, 1)
