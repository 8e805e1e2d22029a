"""A folder with a web page in which the avatar is orbited, driven by sliders and by a stored performance with sound.

No server code: any server of files, or a double click on index.html. WebGL2; the corrections by code are evaluated in a
worker. Beside index.html lie avatar.js (the avatar, as text that pages opened from a disk may load too) and sound.wav.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import ImageColor

from recon.avatars.splats import SplatAvatar
from reenact.exporters import Subject
from reenact.web.pack import Block, pack
from studio.code_range import CodeRange
from studio.errors import StudioError
from studio.folders import write_folder
from studio.media.audio import write_wav
from studio.rotations import transform_points

_WEB = Path(__file__).parents[1] / "web"
_HEAD_CENTER = (0.0, -0.02, -0.08)  # head frame: what the orbit turns about
_BEYOND, _MARGIN = 1.5, 0.2  # how far sliders go beyond what was recorded, as ``studio.code_guard`` lets drivers


@dataclass(frozen=True)
class Web:
    """Web player.

    Args:
        background: colour behind the avatar, a name or #rrggbb.
    """

    background: str = "#9aa4ad"
    endings: ClassVar[tuple[str, ...]] = ("",)

    def __post_init__(self) -> None:
        try:
            ImageColor.getrgb(self.background)
        except ValueError as error:
            raise StudioError("no such colour", got=self.background, expected="a name or #rrggbb") from error

    def write(self, subject: Subject, out: Path) -> None:
        """Write the folder, with the subject's motion and sound if it has any."""
        avatar = subject.avatar
        if not isinstance(avatar, SplatAvatar):
            raise StudioError(
                "this avatar cannot be played on the web",
                got=type(avatar).__name__,
                expected="an avatar trained with avatar=splats",
            )
        block, numbers = pack(avatar)
        header = {**numbers, **_shown(avatar, subject, self.background)}
        if subject.track is not None:
            header["performance"] = _performance(block, subject)
        header["arrays"] = block.table
        data = base64.b64encode(bytes(block.data)).decode("ascii")
        with write_folder(out, subject.manifest) as folder:
            text = f'window.AVATAR = {{header: {json.dumps(header, allow_nan=False)}, data: "{data}"}};\n'
            (folder / "avatar.js").write_text(text)
            (folder / "index.html").write_text(page(), encoding="utf-8")
            if subject.audio is not None and subject.track is not None:
                write_wav(folder / "sound.wav", subject.audio)


def page() -> str:
    """index.html: the page with its scripts inside."""
    html = (_WEB / "page.html").read_text(encoding="utf-8")
    for mark, name in (("/*WORKER*/", "worker.js"), ("/*CANVAS*/", "canvas.js"), ("/*PLAYER*/", "player.js")):
        html = html.replace(mark, (_WEB / name).read_text(encoding="utf-8"))
    return html


def _shown(avatar: SplatAvatar, subject: Subject, background: str) -> dict[str, Any]:
    """What the page needs to know of camera, rest and sliders."""
    camera, codes = avatar.camera, avatar.codes
    K = camera.Ks[0].tolist()
    target = transform_points(codes.head_to_world, torch.tensor([_HEAD_CENTER]))[0]
    return {
        "name": subject.name,
        "note": f"Synthetic media: {subject.name}, a head avatar. Consent: {subject.claim.consent}.",
        "statement": subject.claim.statement,
        "background": [value / 255 for value in ImageColor.getrgb(background)[:3]],
        "neutral": codes.vector().tolist(),
        "headToWorld": codes.head_to_world.flatten().tolist(),
        "target": target.tolist(),
        "camera": {
            "view": camera.viewmats[0].flatten().tolist(),
            "lens": [K[0][0], K[1][1], K[0][2], K[1][2]],
            "width": camera.width,
            "height": camera.height,
        },
        "reach": _reach(avatar.code_range, avatar),
    }


def _reach(known: CodeRange, avatar: SplatAvatar) -> list[float]:
    """How far the slider of each channel goes; 0 where the head does not have it."""
    still = (avatar.head.expression_basis.abs().amax((1, 2)) == 0).tolist()
    ends = (known.high.expression * _BEYOND + _MARGIN).clamp(max=avatar.space.high).tolist()
    looks = [name.startswith("eyeLook") for name in avatar.space.channels]
    return [0.0 if nothing and not look else end for nothing, look, end in zip(still, looks, ends)]


def _performance(block: Block, subject: Subject) -> dict[str, Any]:
    track = subject.motion("web")
    codes, head = (values.numpy().astype("<f4") for values in (track.codes.vector(), track.codes.head_to_world))
    if not (np.isfinite(codes).all() and np.isfinite(head).all()):
        raise StudioError("the track has numbers that are not finite", next="track the clip again")
    return {
        "frames": len(track),
        "fps": track.fps,
        "codes": block.place(codes.tobytes()),
        "head": block.place(head.tobytes()),
        "sound": "sound.wav" if subject.audio is not None else None,
    }


EXPORTER = Web
