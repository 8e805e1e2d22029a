"""What is behind the person while training: the camera's own background, learned, or random colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from recon.frames import View, Views
from recon.losses import as_floats, target_over
from recon.states import rows_at
from studio.errors import StudioError

Behind = Literal["auto", "learned", "random"]
_SAMPLES = 40  # photos whose median starts a background that nobody estimated


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
        return None if image is None else torch.from_numpy(image).to(self._views.device).float() / 255

    def _median(self, camera: int, timesteps: tuple[int, ...]) -> Tensor:
        chosen = np.linspace(0, len(timesteps) - 1, min(_SAMPLES, len(timesteps))).round().astype(int)
        photos = torch.stack([self._views[(timesteps[index], camera)].image for index in chosen])
        return photos.median(dim=0).values.float() / 255

    def forward(self, views: Sequence[View], numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """What is behind (see ``view_loss``) and the photos (uint8 or float) of views of these numbers in training.

        [H, W, 3] of a single view, else [B, H, W, 3].
        """
        if not self.random:
            photos = stacked([view.image for view in views])
            if len(self.images) == 1:  # a view: the gradient of an index fills a whole batch
                return self.images.squeeze(0), photos
            return rows_at(self.images, [self._cameras.index(view.key[1]) for view in views]), photos
        colors, pictures = zip(*(self._before_a_color(view, number) for view, number in zip(views, numbers)))
        behind = colors[0] if len(views) == 1 else torch.stack(colors)[:, None, None]
        return behind, stacked(pictures)

    def _before_a_color(self, view: View, number: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + number + 1)
        return self._over(view, torch.rand(3, generator=generator).to(view.image.device))

    def truth(self, view: View) -> tuple[Tensor, Tensor]:
        """What is behind and the photo, as floats, where a view is judged: white stands for random colours."""
        white = torch.ones(3, device=view.image.device)
        behind, photo = self._over(view, white) if self.random else self([view], [0])
        return behind, as_floats(photo)

    def _over(self, view: View, color: Tensor) -> tuple[Tensor, Tensor]:
        return color, target_over(view, self._estimates.get(view.key[1]), color)

    def image(self, camera: int) -> Tensor | None:
        """[H, W, 3] the background of a camera, learned or as captured, or None; on the CPU."""
        if self.random or camera not in self._cameras:
            known = self._known(camera)
            return None if known is None else known.cpu()
        return self.images[self._cameras.index(camera)].detach().clamp(0, 1).cpu()


def stacked(images: Sequence[Tensor]) -> Tensor:
    """Images of views as one tensor; that of a single view as it is."""
    return images[0] if len(images) == 1 else torch.stack(list(images))
