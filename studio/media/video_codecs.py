"""Which codecs go into which containers, and how each is asked for good pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from studio.errors import StudioError

Quality = Literal["normal", "near_lossless", "benchmark"]
CodecName = Literal["h264", "h265", "av1", "prores", "vp9"]


@dataclass(frozen=True)
class Codec:
    """An encoder.

    Args:
        encoder: its name in FFmpeg.
        pixels: pixel format and options by quality.
        alpha: the pixel format of pictures with alpha, where there is one.
        tag: four characters that players of Apple look for, where FFmpeg writes others.
    """

    encoder: str
    pixels: Mapping[Quality, tuple[str, dict[str, str]]]
    alpha: str | None = None
    tag: str | None = None
    alpha_options: Mapping[str, str] = field(default_factory=dict)


# Subsampled chroma plays everywhere; full chroma keeps every pixel's colour for measurements.
CODECS: Mapping[CodecName, Codec] = {
    "h264": Codec(
        "libx264",
        {
            "normal": ("yuv420p", {"crf": "17", "preset": "fast"}),
            "near_lossless": ("yuv444p", {"crf": "4", "preset": "fast"}),
            "benchmark": ("yuv420p", {"crf": "14", "preset": "medium"}),  # as NeRSemble's server wants it
        },
    ),
    "h265": Codec(
        "libx265",
        {
            "normal": ("yuv420p10le", {"crf": "19", "preset": "fast", "x265-params": "log-level=error"}),
            "near_lossless": ("yuv444p10le", {"crf": "4", "preset": "fast", "x265-params": "log-level=error"}),
        },
        tag="hvc1",
    ),
    "av1": Codec(
        "libsvtav1",
        {
            "normal": ("yuv420p10le", {"crf": "25", "preset": "8"}),
            "near_lossless": ("yuv420p10le", {"crf": "5", "preset": "6"}),
        },
    ),
    "prores": Codec(
        "prores_ks",
        {
            "normal": ("yuv422p10le", {"profile": "hq", "vendor": "apl0"}),
            "near_lossless": ("yuv444p10le", {"profile": "4444", "vendor": "apl0"}),
        },
        alpha="yuva444p10le",
        alpha_options={"profile": "4444", "vendor": "apl0", "alpha_bits": "16"},
    ),
    "vp9": Codec(
        "libvpx-vp9",
        {
            "normal": ("yuv420p", {"crf": "20", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}),
            "near_lossless": ("yuv444p", {"crf": "4", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}),
        },
        alpha="yuva420p",
        alpha_options={"crf": "18", "b": "0", "deadline": "good", "cpu-used": "4", "auto-alt-ref": "0"},
    ),
}
# Ending -> what goes in, the usual first; and the codec of the sound.
CONTAINERS: Mapping[str, tuple[tuple[CodecName, ...], str]] = {
    ".mp4": (("h264", "h265", "av1"), "aac"),
    ".mov": (("prores", "h264", "h265"), "pcm_s16le"),
    ".webm": (("vp9", "av1"), "libopus"),
    ".mkv": (("h264", "h265", "av1", "prores", "vp9"), "libopus"),
}

_TIMECODE = re.compile(r"\d\d:[0-5]\d:[0-5]\d[:;]\d\d")


def is_video(path: Path) -> bool:
    """Whether the ending is that of a video; anything else is a folder of images."""
    return path.suffix.lower() in CONTAINERS


def require_timecode(text: str) -> None:
    """Raise StudioError for what is no timecode of a first frame, HH:MM:SS:FF (; before FF for drop frames)."""
    if not _TIMECODE.fullmatch(text):
        raise StudioError("not a timecode", got=text, expected="HH:MM:SS:FF of the first frame")


def codec_for(path: Path, codec: CodecName | None, alpha: bool) -> CodecName:
    """The codec that was asked for, or the usual one of the container.

    Raises:
        StudioError: no container of that ending, it does not hold the codec, or the codec has no alpha.
    """
    if not is_video(path):
        raise StudioError(
            f"cannot write the video {path}", got=path.suffix or "no suffix", expected=" | ".join(CONTAINERS)
        )
    fitting = CONTAINERS[path.suffix.lower()][0]
    if codec is None and not alpha:
        return fitting[0]
    with_alpha = [name for name in fitting if CODECS[name].alpha or not alpha]
    chosen = codec or (with_alpha[0] if with_alpha else fitting[0])
    if chosen not in fitting:
        raise StudioError(f"{path.suffix} does not hold this codec", got=chosen, expected=" | ".join(fitting))
    if chosen not in with_alpha:
        expected = ".mov (prores) | .webm (vp9) | .mkv | a folder of images"
        raise StudioError(
            f"{chosen} in {path.suffix} cannot hold alpha", got=f"alpha=true for {path.name}", expected=expected
        )
    return chosen
