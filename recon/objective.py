"""What lies between an avatar and the photos: pose residuals, a rig's corrections, backgrounds, and the loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recon.avatars.splats import SplatAvatar
from recon.backdrop import Backdrop
from recon.binding import PARTS
from recon.cameras_fit import RigResiduals
from recon.frames import View, Views
from recon.losses import image_loss
from recon.metrics import psnr
from recon.perceptual import load_perceptual
from recon.refinement import PoseResiduals, torso_share
from recon.selection import Selection
from recon.temporal import restlessness
from recon.train_config import TrainConfig
from studio.codes import Codes
from studio.errors import StudioError

# Noise on the code components of a part, against those of the others: lids and brows move by little more than their
# landmarks are wrong by, and corrections that believed them would move lids by that error.
_UNSURE = {"eyes": 2.0, "brows": 2.0}


class Objective:
    """Compares an avatar with photos.

    Args:
        views: the photos.
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
        self.residuals = PoseResiduals(len(selection.timesteps), unit)
        self.rig = RigResiduals(cameras, unit, config.camera_colors, config.camera_motions)
        self.backdrop = Backdrop(views, selection.cameras, selection.timesteps, config.behind, config.seed)

    def modules(self) -> dict[str, nn.Module]:
        """What is learned along with the avatar, by name."""
        return {"residuals": self.residuals, "rig": self.rig, "backdrop": self.backdrop}

    def loss(self, avatar: SplatAvatar, view: View, step: int) -> Tensor:
        """The loss of a training view, drawn by the avatar in training or a sparser level of it."""
        codes = self.codes[view.key[0]]
        gaussians = avatar.head_gaussians(codes, self._jitter(avatar, step))
        if self._config.refine:
            gaussians = self.residuals(gaussians, torso_share(avatar), self._timesteps.index(view.key[0]))
        output = avatar.render_gaussians(self.rig.placed(view.camera), gaussians, codes.head_to_world)
        output = self.rig.colored(output, view.camera)
        behind, photo = self.backdrop(view, step)
        loss = image_loss(output, behind, photo, view, self._config.loss, self._perceptual)
        after = view.key[0] + 1
        if self._config.loss.temporal > 0 and after in self._timesteps:
            loss = loss + self._config.loss.temporal * restlessness(avatar, codes, self.codes[after])
        return loss

    @torch.no_grad()
    def judge(self, avatar: SplatAvatar, view: View) -> float:
        """PSNR of a view, driven by plain tracked codes."""
        behind, target = self.backdrop.truth(view)
        output = avatar.render(self.rig.placed(view.camera), self.codes[view.key[0]])
        return psnr(self.rig.colored(output, view.camera).over(behind)[0].clamp(0, 1), target)

    def _jitter(self, avatar: SplatAvatar, step: int) -> Tensor:
        """[D] noise on the code components, the same whenever a step is repeated."""
        generator = torch.Generator().manual_seed(self._config.seed * 1_000_003 + step)
        return component_noise(avatar.statistics.sizes, self._config.jitter, generator)


def component_noise(
    sizes: Tensor,  # [P] int64: how many components each of ``PARTS`` sees
    jitter: float,
    generator: torch.Generator,
) -> Tensor:
    """[D] normal noise on the code components, of the size ``jitter``, and twice that for lids and brows."""
    scale = torch.tensor([_UNSURE.get(part, 1.0) for part in PARTS]).repeat_interleave(sizes)
    return jitter * scale * torch.randn(len(scale), generator=generator)
