"""Pictures of the viewer's main states, for the docs: ``python -m viewer.screenshots docs/images``.

They show the synthetic person that the studio draws itself, never a filmed one.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from studio.cameras import Camera, focal_from_fov, intrinsics, orbit
from studio.codes import Codes, CodeTrack
from studio.heads import load_head
from studio.logs import say
from viewer.app import Viewer
from viewer.chromium import StudioPage, browser
from viewer.mesh_avatar import HeadAvatar
from viewer.settings import ViewerConfig
from viewer.subject import Subject
from viewer.transport import Reel

_FPS = 25.0
_FRAMES = 200
_QUALITY = 88  # JPEG
_PIXELS = 512
Shown = Callable[[StudioPage], object]


def states() -> dict[str, tuple[bool, Shown]]:
    """Name -> whether it is dark, and what brings the page there."""

    def face(page: StudioPage) -> None:
        page.tab("Face")
        page.press("Smile")

    def normals(page: StudioPage) -> None:
        page.tab("Look")
        page.key("4")

    def pose(page: StudioPage) -> None:
        page.tab("Pose")
        page.type_number("Turn", 22)
        page.tick("Head gizmo")

    def direct(page: StudioPage) -> None:
        page.tab("Direct")
        page.row("File").locator("input").first.fill("talk")
        page.press("Add")
        page.wait(lambda: "frames/s" in page.text(), 60)

    def helped(page: StudioPage) -> None:
        page.key("h")

    return {
        "viewer": (True, face),
        "viewer_light": (False, pose),
        "viewer_normals": (True, normals),
        "viewer_direct": (True, direct),
        "viewer_help": (False, helped),
    }


def take(out: Path) -> None:
    """Write all screenshots into a folder. Raises StudioError where there is no browser."""
    out.mkdir(parents=True, exist_ok=True)
    head = load_head("procedural")
    track = _motion()
    camera = _camera()
    with tempfile.TemporaryDirectory() as name, browser() as chromium:
        folder = Path(name)
        track.save(folder / "talk")
        subject = Subject(HeadAvatar.of(camera, head, track), "Demo", reel=Reel(track, None, "talk"))
        for title, (dark, bring) in states().items():
            with _page(chromium, subject, folder, dark=dark) as page:
                bring(page)
                page.page.mouse.move(300, 300)
                page.settled(60)
                image = cv2.cvtColor(page.screenshot(), cv2.COLOR_RGB2BGR)
                cv2.imwrite(str(out / f"{title}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
                say(f"{out / title}.jpg")


@contextmanager
def _page(chromium: object, subject: Subject, folder: Path, *, dark: bool) -> Iterator[StudioPage]:
    backdrop = (104, 108, 116) if dark else (196, 200, 206)
    config = ViewerConfig(port=0, folder=folder, dark=dark, backdrop=backdrop)
    with Viewer(subject, None, config) as viewer, StudioPage(chromium, viewer.url) as page:
        page.wait(page.sees_head, 60)
        yield page


def _motion() -> CodeTrack:
    """Talking, about."""
    times = np.arange(_FRAMES) / _FPS
    syllables = np.clip(np.sin(2 * np.pi * 3.1 * times) * np.sin(2 * np.pi * 0.45 * times), 0, 1)
    codes = Codes.neutral(batch=(_FRAMES,)).with_channels(
        jawOpen=torch.from_numpy(0.5 * syllables).float(),
        mouthFunnel=torch.from_numpy(0.4 * np.roll(syllables, 4)).float(),
        mouthSmileLeft=torch.from_numpy(0.25 + 0.2 * np.sin(times)).float(),
        mouthSmileRight=torch.from_numpy(0.25 + 0.2 * np.sin(times)).float(),
        browInnerUp=torch.from_numpy(0.3 * np.clip(np.sin(0.9 * times), 0, 1)).float(),
    )
    rest = CodeTrack(codes, _FPS, torch.ones(_FRAMES, dtype=torch.bool))
    return replace(rest, provenance={"expression": "made up"})


def _camera() -> Camera:
    K = intrinsics(focal_from_fov(0.42, _PIXELS), _PIXELS, _PIXELS)
    front = torch.zeros(1)
    return orbit(torch.tensor((0.0, -0.015, -0.02)), 0.95, front, front, K, _PIXELS, _PIXELS)


if __name__ == "__main__":
    take(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images"))
