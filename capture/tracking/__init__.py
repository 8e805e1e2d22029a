"""Tracking: from the images and landmarks of a capture to codes of a head model."""

from capture.tracking.track import TrackConfig, track_capture

__all__ = ["TrackConfig", "track_capture"]
