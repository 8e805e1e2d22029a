"""What is seen behind a rendered head."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from studio.avatar import Avatar
from studio.errors import StudioError
from studio.media.images import read_image

COLORS = {"black": "#000000", "white": "#ffffff", "grey": "#808080", "green": "#00b140", "blue": "#0047bb"}
_COLOR = re.compile("#[0-9a-fA-F]{6}")


def require_background(choice: str) -> None:
    """Raise StudioError for a background that is no colour and no file; see ``background``."""
    if choice != "avatar" and not _COLOR.fullmatch(COLORS.get(choice, choice)) and not Path(choice).is_file():
        raise StudioError(
            f"no such background: {choice}", expected=f"avatar, an image file, #rrggbb, {', '.join(COLORS)}"
        )


def background(choice: str, avatar: Avatar, width: int, height: int) -> Tensor:
    """A background [height, width, 3], sRGB-encoded 0..1.

    Args:
        choice: "avatar" (the place it was filmed in, where that is known; else white), a colour (a name of ``COLORS``
            or "#rrggbb"), or an image file.
        avatar: the avatar.
        width: pixels.
        height: pixels.

    Raises:
        StudioError: no such colour or file.
    """
    if choice == "avatar":
        own = avatar.background
        return filled(own, width, height) if own is not None else torch.ones(height, width, 3)
    require_background(choice)
    code = COLORS.get(choice, choice)
    if _COLOR.fullmatch(code):
        color = torch.tensor([int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        return color.expand(height, width, 3).clone()
    return filled(torch.from_numpy(read_image(Path(choice)).astype(np.float32) / 255), width, height)


def filled(image: Tensor, width: int, height: int) -> Tensor:
    """An image [H, W, 3] scaled evenly so as to fill another size, the surplus cut evenly on both sides."""
    scale = max(width / image.shape[1], height / image.shape[0])
    wide, high = round(image.shape[1] * scale), round(image.shape[0] * scale)
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    pixels = image.numpy() if scale == 1 else cv2.resize(image.numpy(), (wide, high), interpolation=kind)
    left, top = (wide - width) // 2, (high - height) // 2
    return torch.from_numpy(np.ascontiguousarray(pixels[top : top + height, left : left + width])).clamp(0, 1)
