"""Rest in time: what corrections may not do between two frames of a clip."""

from __future__ import annotations

from torch import Tensor

from recon.avatars.splats import SplatAvatar
from recon.binding import PARTS
from studio.codes import Codes

_CALM = PARTS.index("rest")


def restlessness(
    avatar: SplatAvatar,
    before: Codes,  # batch [...]
    after: Codes,  # batch [...]
) -> Tensor:
    """Mean squared change of the basis weights (-1..1) of skin, hair and clothes from one frame to the next, a scalar.

    The codes of neighbouring frames differ by what moved and by the tracker's noise; networks that are steep where the
    clip passes make flicker of the latter. Mouth, eyes and brows may change as fast as they do.
    """
    one, two = (avatar.learned.weights(avatar.statistics.components(codes))[..., _CALM, :] for codes in (before, after))
    return (two - one).square().mean()
