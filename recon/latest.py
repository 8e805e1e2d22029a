"""An avatar that is exchanged for a better one while it is in use."""

from __future__ import annotations

from torch import Tensor

from recon.avatars.splats import SplatAvatar
from studio.avatar import RenderOutput
from studio.cameras import Camera
from studio.code_range import CodeRange
from studio.codes import Codes, CodeSpace


class LatestAvatar:
    """An avatar that stands for whichever one is the latest; ``now`` may be replaced at any time, from any thread."""

    def __init__(self, now: SplatAvatar) -> None:
        self.now = now

    @property
    def space(self) -> CodeSpace:
        return self.now.space

    @property
    def camera(self) -> Camera:
        return self.now.camera

    @property
    def codes(self) -> Codes:
        return self.now.codes

    @property
    def code_range(self) -> CodeRange:
        return self.now.code_range

    @property
    def background(self) -> Tensor | None:
        return self.now.background

    def render(self, camera: Camera, codes: Codes) -> RenderOutput:
        """As the avatar of this moment renders."""
        return self.now.render(camera, codes)
