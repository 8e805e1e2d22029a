"""What reenactment and the viewer know of an avatar: give it a camera and codes, get an image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from studio.cameras import Camera
from studio.code_range import CodeRange
from studio.codes import Codes, CodeSpace


@dataclass(frozen=True)
class RenderOutput:
    """Images of one state from C cameras.

    Args:
        rgb: [C, H, W, 3] sRGB-encoded, 0..1, premultiplied by alpha.
        alpha: [C, H, W] coverage of the pixel, 0..1.
        make_depth: makes ``depth``; who needs none does not pay for it.
    """

    rgb: Tensor
    alpha: Tensor
    make_depth: Callable[[], Tensor]

    @cached_property
    def depth(self) -> Tensor:
        """[C, H, W] expected camera z in metres, 0 where nothing is."""
        return self.make_depth()

    def cpu(self) -> RenderOutput:
        """The same images on the CPU, for who goes on with arrays."""
        if self.rgb.device.type == "cpu":
            return self
        return RenderOutput(self.rgb.cpu(), self.alpha.cpu(), lambda: self.depth.cpu())

    def over(
        self,
        background: Tensor,  # [3], [H, W, 3] or [C, H, W, 3] sRGB-encoded, 0..1
    ) -> Tensor:
        """The images [C, H, W, 3] composited over a background, on their device."""
        return self.rgb + (1 - self.alpha)[..., None] * background.to(self.rgb.device)

    def pixels(
        self,
        background: Tensor,  # as above
    ) -> np.ndarray:
        """The same as images to show or store, [C, H, W, 3] uint8."""
        from studio.kernels.composite import composite_uint8  # the compiler need not be loaded to import an avatar

        return composite_uint8(self.rgb, self.alpha, background)


@runtime_checkable
class Avatar(Protocol):
    """A drivable head: Gaussians, a radiance field or a mesh.

    Attributes:
        space: the code space that it is driven in.
        camera: the camera it is seen from where nobody chooses another (C = 1).
        codes: a resting state in the place where the capture had it (no batch).
        code_range: where the codes stayed that it was learned from.
        background: [H, W, 3] the learned static background as ``camera`` sees it, or None.
    """

    # Properties, so that an implementation may compute them.
    @property
    def space(self) -> CodeSpace: ...
    @property
    def camera(self) -> Camera: ...
    @property
    def codes(self) -> Codes: ...
    @property
    def code_range(self) -> CodeRange: ...
    @property
    def background(self) -> Tensor | None: ...

    def render(self, camera: Camera, codes: Codes) -> RenderOutput:
        """Render one state (codes without batch dimension) from all cameras, without the background."""
        ...
