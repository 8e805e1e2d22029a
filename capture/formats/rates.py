"""Footage settings of formats that store pictures without saying how fast they follow each other."""

from __future__ import annotations

from dataclasses import dataclass

from capture.formats.footage import FootageConfig
from studio.errors import StudioError


@dataclass(frozen=True)
class TimedConfig(FootageConfig):
    """As ``FootageConfig``.

    Args:
        fps: frames per second, which the format does not tell; its usual rate by default.
    """

    fps: float | None = None


def rate(config: TimedConfig, usual: float) -> float:
    """The rate that is set, or the usual one. Raises StudioError for one that is not positive."""
    if config.fps is None:
        return usual
    if not 0 < config.fps < 100_000:
        raise StudioError("fps of the footage", got=config.fps, expected="more than 0")
    return config.fps
