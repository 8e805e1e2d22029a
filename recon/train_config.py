"""Settings of the training of a drivable splat avatar."""

from __future__ import annotations

from dataclasses import dataclass, field

from recon.backdrop import Behind
from recon.field import FieldConfig
from recon.growth import GrowthConfig
from recon.losses import LossConfig
from recon.perceptual import PerceptualConfig
from recon.run_config import require_steps


@dataclass(frozen=True)
class RateConfig:
    """Adam's learning rates; lengths are in inter-ocular distances, colours sRGB 0..1.

    ``eps`` is what Adam adds to the size of a gradient: enough that what is hidden (the inside of a closed mouth) does
    not drift on rounding errors, too little to slow what is seen. ``decay`` shrinks the corrections (decoupled weight
    decay, Loshchilov and Hutter 2019), so that those of states seen once fade.
    """

    offsets: float = 1e-3
    quats: float = 4e-3
    log_scales: float = 6.4e-2
    opacity_logits: float = 4e-2
    colors: float = 6e-3
    bases: float = 3e-3
    weights: float = 2e-3
    residuals: float = 1e-2
    camera_colors: float = 6e-3
    camera_motions: float = 3e-3
    images: float = 3e-3
    eps: float = 1e-7
    decay: float = 0.7


@dataclass(frozen=True)
class TrainConfig:
    """How an avatar is trained.

    Args:
        gaussians: how many.
        iterations: steps.
        batch: images of a step, in each process that trains along (docs/avatars.md). More than one pays on a GPU.
        split: which part of the capture is trained on.
        validation: share of its timesteps, a block in the middle, that only choose the best state.
        check_every: steps between validations.
        patience: validations without improvement after which training stops.
        checkpoint_every: steps between checkpoints.
        behind: what is behind the person, see ``recon.backdrop``.
        refine: small pose corrections of the training frames, see ``recon.refinement``.
        camera_colors: affine colours of each camera of a rig, see ``recon.cameras_fit``.
        camera_motions: small motions of each camera of a rig.
        growth: whether all Gaussians are there from the beginning, see ``recon.growth``.
        levels: numbers of Gaussians of the sparser versions that the avatar brings, where it has more itself.
        hold: share of their way back to their first colours that teeth, tongue and eyeballs take each step.
        jitter: noise on the code components (which have unit variance), twice of it for lids and brows: corrections
            become smooth functions of them.
        seed: of everything random.
        kernels: "auto", "cuda" or "cpu".
        perceptual: weights of LPIPS, for a loss by it.
    """

    gaussians: int = 30_000
    iterations: int = 2_000
    batch: int = 1
    split: str = "train"
    validation: float = 0.05
    check_every: int = 250
    patience: int = 4
    checkpoint_every: int = 500
    behind: Behind = "auto"
    refine: bool = False
    camera_colors: bool = False
    camera_motions: bool = False
    hold: float = 2e-3
    jitter: float = 0.25
    levels: tuple[int, ...] = (8_000, 20_000, 50_000, 100_000)
    growth: GrowthConfig = field(default_factory=GrowthConfig)
    seed: int = 0
    kernels: str = "auto"
    model: FieldConfig = field(default_factory=FieldConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    perceptual: PerceptualConfig = field(default_factory=PerceptualConfig)
    rates: RateConfig = field(default_factory=RateConfig)

    def __post_init__(self) -> None:
        require_steps(self.iterations, self.check_every, self.checkpoint_every)
