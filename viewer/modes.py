"""Ways to show an avatar. Another one is a function with ``@mode`` here; panels and links know it by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from reenact.project.scene import Actor, render_scene
from studio.avatar import Avatar, RenderOutput
from studio.cameras import Camera
from studio.codes import Codes
from studio.kernels.splat import rasterize_splats
from studio.media.images import to_uint8
from studio.rotations import quat_to_matrix
from studio.splats import Splats

NEED_FOOTAGE = ("error", "footage")  # modes that say nothing without a capture
_SURE = 0.5  # coverage from which a pixel shows the head
_HARD = 12.0  # opacity that makes a Gaussian's edge sharp: it is covered wherever 12 exp(-q / 2) is above 1 …
_HARD_RADIUS = (2 * np.log(_HARD)) ** 0.5  # … which is so many deviations from its middle …
_SHOWN_RADIUS = 1.5  # … and is shown as large as so many
_ERROR_RANGE = 0.25  # of a channel: what the hottest colour stands for
_SH0 = 0.28209479177387814
_NOTHING = np.array((0.07, 0.08, 0.1), np.float32)  # colour where nothing is, in modes that measure
_LIGHT = (-0.35, -0.6, -0.75)  # towards the light, camera coordinates


@runtime_checkable
class MadeOfSplats(Protocol):
    """An avatar that can tell its Gaussians."""

    def gaussians(self, codes: Codes) -> Splats: ...


@runtime_checkable
class HasRegions(Protocol):
    """An avatar whose Gaussians belong to parts of the head."""

    def regions(self) -> tuple[Tensor, tuple[str, ...]]: ...


@dataclass(frozen=True)
class Sight:
    """What a mode shows.

    Args:
        avatar: whose state.
        camera: from there (C = 1).
        codes: the state.
        behind: [H, W, 3] the background, 0..1.
        truth: [H, W, 3] what the capture's camera filmed, 0..1; None where the view is no capture camera's.
        company: who else is there, in one state each; shown by the modes that show surfaces.
    """

    avatar: Avatar
    camera: Camera
    codes: Codes
    behind: Tensor
    truth: Tensor | None = None
    company: tuple[Actor, ...] = ()

    def output(self) -> RenderOutput:
        if not self.company:
            return self.avatar.render(self.camera, self.codes)
        own = Actor(self.avatar, Codes.stack([self.codes]), torch.eye(4))
        return render_scene([own, *self.company], self.camera, 0)


Paint = Callable[[Sight], np.ndarray]


@dataclass(frozen=True)
class Mode:
    """A way to show an avatar.

    Args:
        name: identifies it.
        label: for people.
        hint: what the colours mean.
        paint: makes the picture [H, W, 3] uint8.
        fits: whether an avatar can be shown so.
    """

    name: str
    label: str
    hint: str
    paint: Paint
    fits: Callable[[Avatar], bool] = lambda avatar: True


_MODES: dict[str, Mode] = {}
MODES: Mapping[str, Mode] = _MODES


def mode(label: str, hint: str, fits: Callable[[Avatar], bool] = lambda avatar: True) -> Callable[[Paint], Paint]:
    """Register a function as the mode of its name."""

    def register(paint: Paint) -> Paint:
        _MODES[paint.__name__] = Mode(paint.__name__, label, hint, paint, fits)
        return paint

    return register


def modes_for(avatar: Avatar) -> dict[str, Mode]:
    """The modes that an avatar can be shown in."""
    return {name: item for name, item in MODES.items() if item.fits(avatar)}


def paint(name: str, sight: Sight) -> np.ndarray:
    """The picture [H, W, 3] uint8 in a mode; in colour where the mode does not fit the avatar."""
    chosen = MODES.get(name, MODES["colour"])
    return (chosen if chosen.fits(sight.avatar) else MODES["colour"]).paint(sight)


@mode("Colour", "as it is")
def colour(sight: Sight) -> np.ndarray:
    return sight.output().pixels(sight.behind)[0]


@mode("Depth", "near is warm, far is cold; the range is that of the head on show")
def depth(sight: Sight) -> np.ndarray:
    image = sight.output().cpu()
    values, sure = image.depth[0], image.alpha[0] > _SURE
    seen = values[sure]
    if not seen.numel():
        return _masked(np.zeros((*values.shape, 3), np.uint8), image.alpha[0])
    near, far = float(seen.quantile(0.01)) if seen.numel() < 2**24 else float(seen.min()), float(seen.max())
    scaled = 1 - ((values - near) / max(far - near, 1e-6)).clamp(0, 1)
    return _masked(_turbo(scaled.numpy()), image.alpha[0])


@mode("Alpha", "white is covered, black is empty")
def alpha(sight: Sight) -> np.ndarray:
    levels = to_uint8(sight.output().cpu().alpha[0].numpy())
    return np.repeat(levels[..., None], 3, axis=2)


@mode("Normals", "which way the surface faces: red right, green up, blue towards the camera")
def normals(sight: Sight) -> np.ndarray:
    image = sight.output().cpu()
    directions = surface_normals(image.depth[0], image.alpha[0] > _SURE, sight.camera)
    flipped = directions * torch.tensor((1.0, -1.0, -1.0))  # camera axes to right, up, towards the viewer
    return _masked(to_uint8((0.5 + 0.5 * flipped).numpy()), image.alpha[0])


@mode("Regions", "to which part of the head each Gaussian belongs", lambda avatar: isinstance(avatar, HasRegions))
def regions(sight: Sight) -> np.ndarray:
    assert isinstance(sight.avatar, HasRegions)
    assert isinstance(sight.avatar, MadeOfSplats)
    numbers, names = sight.avatar.regions()
    splats = sight.avatar.gaussians(sight.codes)
    colors = region_colors(len(names))[numbers] * _shading(splats, sight.camera)[:, None]
    return _rasterized(splats, splats.scales, splats.opacities, colors, sight)


@mode("Gaussians", "each Gaussian as an ellipsoid, at 1.5 deviations", lambda avatar: isinstance(avatar, MadeOfSplats))
def ellipsoids(sight: Sight) -> np.ndarray:
    assert isinstance(sight.avatar, MadeOfSplats)
    splats = sight.avatar.gaussians(sight.codes)
    seen = splats.opacities > 0.05
    scales = splats.scales * (_SHOWN_RADIUS / _HARD_RADIUS)
    base = (0.5 + _SH0 * splats.sh[:, 0]).clamp(0.05, 1)
    colors = base * _shading(splats, sight.camera)[:, None]
    return _rasterized(splats, scales, torch.where(seen, _HARD, 0.0), colors, sight)


@mode("Error", "difference from the frame that was filmed, from the capture's camera: dark none, bright a quarter")
def error(sight: Sight) -> np.ndarray:
    if sight.truth is None:
        return colour(sight)
    picture = sight.output().cpu().over(sight.behind)[0]
    difference = (picture - sight.truth).abs().mean(-1) / _ERROR_RANGE
    return cv2.applyColorMap(to_uint8(difference.clamp(0, 1).numpy()), cv2.COLORMAP_INFERNO)[..., ::-1].copy()


@mode("Footage", "what the capture's camera filmed; the avatar from anywhere else")
def footage(sight: Sight) -> np.ndarray:
    return colour(sight) if sight.truth is None else to_uint8(sight.truth.numpy())


def surface_normals(
    depths: Tensor,  # [H, W] camera z
    sure: Tensor,  # [H, W] bool: where there is a surface
    camera: Camera,  # C = 1
) -> Tensor:
    """[H, W, 3] unit normals in camera axes, towards the camera, of a smoothed depth; (0, 0, -1) where none."""
    filled = torch.where(sure, depths, depths[sure].max() if bool(sure.any()) else 1.0).numpy()
    span = max(float(filled.max() - filled.min()), 1e-6)
    smooth = torch.from_numpy(cv2.bilateralFilter(filled.astype(np.float32), 7, 0.06 * span, 3.0))
    height, width = smooth.shape
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    rays = torch.stack((x, y, torch.ones_like(x)), -1) @ torch.linalg.inv(camera.Ks[0]).T
    points = rays * smooth[..., None]
    across, down = torch.zeros_like(points), torch.zeros_like(points)
    across[:, 1:-1], down[1:-1] = points[:, 2:] - points[:, :-2], points[2:] - points[:-2]
    found = normalize(torch.linalg.cross(down, across), dim=-1)
    flat = torch.tensor((0.0, 0.0, -1.0)).expand_as(found)
    return torch.where((found.norm(dim=-1, keepdim=True) > 0.5) & sure[..., None], found, flat)


def region_colors(count: int) -> Tensor:
    """[count, 3] colours as different as they can be, 0..1: hues by the golden angle at two lightnesses."""
    hues = (torch.arange(count) * 0.381966) % 1.0
    hsv = torch.stack((hues * 179, torch.full_like(hues, 150.0), 255.0 - 70.0 * (torch.arange(count) % 2)), -1)
    image = cv2.cvtColor(hsv.numpy().astype(np.uint8)[None], cv2.COLOR_HSV2RGB)
    return torch.from_numpy(image[0].astype(np.float32) / 255)


def _shading(splats: Splats, camera: Camera) -> Tensor:
    """[N] how bright flat Gaussians are under a light beside the camera, by the direction of their thinnest axis."""
    axes = quat_to_matrix(normalize(splats.quats, dim=-1))
    thin = splats.scales.argmin(dim=-1)
    normal = axes[torch.arange(len(splats)), :, thin] @ camera.viewmats[0, :3, :3].T
    facing = torch.where(normal[:, 2:] > 0, -normal, normal)
    light = normalize(torch.tensor(_LIGHT), dim=0)
    return 0.55 + 0.45 * (facing @ light).clamp(0, 1)


def _rasterized(splats: Splats, scales: Tensor, opacities: Tensor, colors: Tensor, sight: Sight) -> np.ndarray:
    image = rasterize_splats(
        splats.means, splats.quats, scales, opacities, colors, sight.camera, with_depth=False, kernels="auto"
    )
    return RenderOutput(image.rgb, image.alpha, lambda: image.alpha).pixels(sight.behind)[0]


def _turbo(levels: np.ndarray) -> np.ndarray:
    return cv2.applyColorMap(to_uint8(levels), cv2.COLORMAP_TURBO)[..., ::-1].copy()


def _masked(image: np.ndarray, coverage: Tensor) -> np.ndarray:
    """An image over plain darkness, by coverage: what is measured is not mixed with what is seen."""
    weight = coverage.clamp(0, 1)[..., None].numpy()
    return to_uint8(image.astype(np.float32) / 255 * weight + _NOTHING * (1 - weight))
