"""Labelled sheets of a head model: its 52 shapes, and eight made-up people.

python -m studio.heads.contact_sheet shapes|people OUT.jpg [HEAD]
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from studio.cameras import Camera, look_at
from studio.codes import Codes
from studio.heads import load_head
from studio.heads.model import HeadModel
from studio.kernels.mesh_render import render_mesh

BACKGROUND = (0.32, 0.33, 0.35)


def sheet_camera(size: int, target: tuple[float, float, float], width: float, yaw: float) -> Camera:
    """A camera 1.2 m away that sees ``width`` metres across at the target; yaw in radians to the subject's left."""
    at = torch.tensor(target)
    eye = at + 1.2 * torch.tensor([np.sin(yaw), 0.05, np.cos(yaw)], dtype=torch.float32)
    focal = size * 1.2 / width
    K = torch.tensor([[focal, 0.0, size / 2], [0.0, focal, size / 2], [0.0, 0.0, 1.0]])
    return Camera(look_at(eye, at, torch.tensor([0.0, 1.0, 0.0]))[None], K[None], size, size, ("sheet",))


def picture(head: HeadModel, identity: Tensor, codes: Codes, camera: Camera) -> np.ndarray:
    """uint8 [H, W, 3]."""
    image = render_mesh(head.vertices(identity, codes), head, camera, supersample=3).over(torch.tensor(BACKGROUND))[0]
    return (image.clamp(0, 1) * 255 + 0.5).to(torch.uint8).numpy()


def _sheet(cells: list[tuple[str, np.ndarray]], columns: int) -> Image.Image:
    size = cells[0][1].shape[0]
    rows = -(-len(cells) // columns)
    sheet = Image.new("RGB", (columns * size, rows * size), tuple(int(255 * c) for c in BACKGROUND))
    draw = ImageDraw.Draw(sheet)
    for index, (label, image) in enumerate(cells):
        corner = (index % columns * size, index // columns * size)
        sheet.paste(Image.fromarray(image), corner)
        draw.text((corner[0] + 5, corner[1] + 4), label, fill=(245, 245, 235))
    return sheet


def shape_sheet(head: HeadModel, size: int = 190, columns: int = 9) -> Image.Image:
    """The neutral face, every channel of the head's code space at 1, and the closed mouth of an open jaw."""
    camera = sheet_camera(size, (0.0, -0.03, -0.02), 0.19, 0.28)
    states: list[tuple[str, tuple[str, ...]]] = [("neutral", ())]
    states += [(name, (name,)) for name in head.space.channels if name not in head.absent]
    states.append(("jawOpen + mouthClose", ("jawOpen", "mouthClose")))
    cells = []
    for label, channels in states:
        codes = Codes.neutral(head.space)
        codes.expression[[head.space.index(name) for name in channels]] = 1.0
        cells.append((label, picture(head, torch.zeros(head.num_identity), codes, camera)))
    return _sheet(cells, columns)


def people_sheet(head: HeadModel, size: int = 300, columns: int = 4) -> Image.Image:
    """Eight random identities; with the built-in head each has a look of its own."""
    from studio.heads.procedural import Appearance, paint

    cells = []
    for seed in range(8):
        identity = 0.9 * torch.randn(head.num_identity, generator=torch.Generator().manual_seed(seed))
        own = replace(head, texture=paint(Appearance.random(seed))) if head.name == "procedural" else head
        camera = sheet_camera(size, (0.0, -0.035, -0.04), 0.37, 0.35 if seed % 2 else -0.25)
        cells.append((f"subject {seed}", picture(own, identity, Codes.neutral(head.space), camera)))
    return _sheet(cells, columns)


def main(arguments: list[str]) -> None:
    if len(arguments) not in (2, 3) or arguments[0] not in ("shapes", "people"):
        raise SystemExit(__doc__)
    head = load_head(arguments[2] if len(arguments) == 3 else "procedural")
    sheet = shape_sheet(head) if arguments[0] == "shapes" else people_sheet(head)
    sheet.save(Path(arguments[1]), quality=88)


if __name__ == "__main__":
    main(sys.argv[1:])
