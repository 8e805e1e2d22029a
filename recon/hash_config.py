"""Settings of the radiance fields of moving heads."""

from __future__ import annotations

from dataclasses import dataclass, field

from recon.head_field import HeadFieldShape
from recon.run_config import RunConfig


@dataclass(frozen=True)
class HashEnsembleConfig(RunConfig):
    """How a hash ensemble is trained, besides what all training is told.

    Names are those of NeRSemble's code; where it counts steps these are shares of all steps.

    Args:
        train_num_rays_per_batch: pixels of a step, at most.
        samples: learned from in a step, about: as many pixels are taken as see so many.
        timesteps_per_batch: timesteps that they come from.
        render_step_size: step of the marching, metres.
        alpha_thre: steps less opaque than this are not looked at closely.
        early_stop_eps: nor what less of the light than this reaches.
        cells: of the occupancy grid, a side.
        min_views: cameras that must see a cell [frustum culling].
        window_deform_end: share of the steps at which the deformation sees all frequencies, beginning with none.
        window_hash_encodings_begin: share of the steps until which there is one table.
        window_hash_encodings_end: from which there are all.
        lr_main: Adam's rate of tables and networks; all rates drop fifteen times, evenly over all steps.
        lr_deformation_field: of the deformation.
        lr_embeddings: of the codes of timesteps.
        gamma_deformation_field: what is left of that of the deformation each time; 0.8 of the others.
        use_masked_rgb_loss: colours count on the person only; otherwise everywhere, over random backgrounds.
        lambda_alpha_loss: weight of coverage.
        lambda_empty_loss: of what stands before a known depth.
        lambda_near_loss: of how light gathers about it.
        lambda_depth_loss: of the mean depth.
        lambda_dist_loss: pull of what a ray sees into one place.
        lambda_doubt_loss: pull towards emptiness where fewer than half of the cameras look.
        camera_colors: learn an affine change of colour for each camera.
        foreground: share of the pixels that are drawn on or near the person.
        cache_megabytes: of images held in memory.
        renew_every: steps after which one timestep in memory gives its place to another.
        field: sizes.
    """

    train_num_rays_per_batch: int = 4096
    samples: int = 49_152
    timesteps_per_batch: int = 4
    render_step_size: float = 0.0025
    alpha_thre: float = 1e-3
    early_stop_eps: float = 5e-3
    cells: int = 64
    min_views: int = 2
    window_deform_end: float = 0.067
    window_hash_encodings_begin: float = 0.3
    window_hash_encodings_end: float = 0.6
    lr_main: float = 1e-2
    lr_deformation_field: float = 5e-3
    lr_embeddings: float = 2e-2
    gamma_deformation_field: float = 0.8
    use_masked_rgb_loss: bool = False
    lambda_alpha_loss: float = 1e-2
    lambda_empty_loss: float = 1e-2
    lambda_near_loss: float = 1e-4
    lambda_depth_loss: float = 1e-4
    lambda_dist_loss: float = 3e-3
    lambda_doubt_loss: float = 1e-2
    camera_colors: bool = False
    foreground: float = 0.9
    cache_megabytes: int = 512
    renew_every: int = 20
    field: HeadFieldShape = field(
        default_factory=lambda: HeadFieldShape(
            n_hash_encodings=16,
            n_levels=8,
            log2_hashmap_size=15,
            per_level_scale=1.45,
            latent_dim_time_deform=16,
            n_freq_pos=4,
            mlp_num_layers=2,
            mlp_layer_width=32,
            skip_connection=0,
            hidden=32,
        )
    )
