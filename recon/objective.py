"""What lies between an avatar and the photos: pose residuals, a rig's corrections, backgrounds, and the loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recon.avatars.splats import SplatAvatar
from recon.backdrop import Backdrop, stacked
from recon.binding import PARTS, Binding
from recon.cameras_fit import RigResiduals
from recon.frames import View, Views
from recon.losses import image_loss
from recon.metrics import psnr
from recon.perceptual import load_perceptual
from recon.refinement import PoseResiduals, torso_share
from recon.selection import Selection
from recon.temporal import restlessness
from recon.train_config import TrainConfig
from studio.cameras import Camera
from studio.codes import Codes
from studio.errors import StudioError
from studio.kernels.view_loss import Target

# Noise on the code components of a part, against those of the others: lids and brows move by little more than their
# landmarks are wrong by, and corrections that believed them would move lids by that error.
_UNSURE = {"eyes": 2.0, "brows": 2.0}


class Objective:
    """Compares an avatar with photos.

    Args:
        views: the photos; what is compared is on their device.
        codes: batch [T], all timesteps of the capture; ``codes`` may be replaced when a capture has grown.
        selection: what is trained on.
        unit: inter-ocular distance, metres.
        config: of the training.
    """

    def __init__(self, views: Views, codes: Codes, selection: Selection, unit: float, config: TrainConfig) -> None:
        self.codes, self._timesteps, self._config = codes, selection.timesteps, config
        self._perceptual = load_perceptual(config.perceptual) if config.loss.lpips > 0 else None
        if config.loss.lpips > 0 and self._perceptual is None:
            raise StudioError("a loss by LPIPS needs its weights", next="give perceptual.backbone and perceptual.heads")
        cameras = views.capture.cameras[selection.cameras]
        self.residuals = PoseResiduals(len(selection.timesteps), unit).to(views.device)
        self.rig = RigResiduals(cameras, unit, config.camera_colors, config.camera_motions).to(views.device)
        self.backdrop = Backdrop(views, selection.cameras, selection.timesteps, config.behind, config.seed)
        self._torso: tuple[Binding, Tensor] | None = None
        if self._perceptual is not None:
            self._perceptual.to(views.device)

    def modules(self) -> dict[str, nn.Module]:
        """What is learned along with the avatar, by name."""
        return {"residuals": self.residuals, "rig": self.rig, "backdrop": self.backdrop}

    def loss(self, avatar: SplatAvatar, views: Sequence[View], numbers: Sequence[int]) -> Tensor:
        """The mean loss of training views, drawn by the avatar in training or a sparser level of it.

        Args:
            numbers: of each view among all that are drawn in training; what is random is a function of them.
        """
        if avatar.device.type == "cpu" and len(views) > 1:  # our kernels take one state at a time
            return torch.stack([self._loss(avatar, [v], [n]) for v, n in zip(views, numbers)]).mean()
        return self._loss(avatar, views, numbers)

    def _loss(self, avatar: SplatAvatar, views: Sequence[View], numbers: Sequence[int]) -> Tensor:
        """Several views go through every operation as a batch, a single one without a leading dimension."""
        config, moments = self._config, [view.key[0] for view in views]
        codes = self.codes[_one_or_all(moments)]
        gaussians = avatar.head_gaussians(codes, stacked([self._jitter(avatar, number) for number in numbers]))
        if config.refine:
            places = [self._timesteps.index(moment) for moment in moments]
            gaussians = self.residuals(gaussians, self._torso_share(avatar), places)
        camera = _joined([self.rig.placed(view.camera) for view in views])
        output = avatar.render_gaussians(camera, gaussians, codes.head_to_world)
        output = self.rig.colored(output, [view.camera.ids[0] for view in views])
        behind, photos = self.backdrop(views, numbers)
        mattes = [view.alpha for view in views if view.alpha is not None]  # of all views or of none
        target = Target(photos, stacked([view.emphasis for view in views]), stacked(mattes) if mattes else None)
        loss = image_loss(output, behind, target, config.loss, self._perceptual)
        followed = [moment for moment in moments if moment + 1 in self._timesteps]
        if config.loss.temporal > 0 and followed:
            two = self.codes[_one_or_all(followed)], self.codes[_one_or_all([moment + 1 for moment in followed])]
            loss = loss + config.loss.temporal * len(followed) / len(moments) * restlessness(avatar, *two)
        return loss

    @torch.no_grad()
    def judge(self, avatar: SplatAvatar, view: View) -> float:
        """PSNR of a view, driven by plain tracked codes."""
        behind, target = self.backdrop.truth(view)
        output = avatar.render(self.rig.placed(view.camera), self.codes[view.key[0]])
        return psnr(self.rig.colored(output, view.camera.ids).over(behind)[0].clamp(0, 1), target)

    def _torso_share(self, avatar: SplatAvatar) -> Tensor:
        if self._torso is None or self._torso[0] is not avatar.binding:
            self._torso = avatar.binding, torso_share(avatar).to(avatar.device)
        return self._torso[1]

    def _jitter(self, avatar: SplatAvatar, number: int) -> Tensor:
        """[D] noise on the code components, the same whenever a step is repeated."""
        generator = torch.Generator().manual_seed(self._config.seed * 1_000_003 + number)
        return component_noise(avatar.statistics.sizes, self._config.jitter, generator)


def component_noise(
    sizes: Tensor,  # [P] int64: how many components each of ``PARTS`` sees
    jitter: float,
    generator: torch.Generator,
) -> Tensor:
    """[D] normal noise on the code components, of the size ``jitter``, and twice that for lids and brows."""
    scale = torch.tensor([_UNSURE.get(part, 1.0) for part in PARTS]).repeat_interleave(sizes)
    return jitter * scale * torch.randn(len(scale), generator=generator)


def _one_or_all(indices: list[int]) -> int | list[int]:
    """What selects without a leading dimension where there is only one."""
    return indices if len(indices) > 1 else indices[0]


def _joined(cameras: Sequence[Camera]) -> Camera:
    """Cameras of one image size as one; the same may come more than once, so that ids are numbers."""
    if len(cameras) == 1:
        return cameras[0]
    viewmats, Ks = (torch.cat([getattr(camera, name) for camera in cameras]) for name in ("viewmats", "Ks"))
    return Camera(viewmats, Ks, cameras[0].width, cameras[0].height)
