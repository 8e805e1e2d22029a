"""An ordinary clip of a talking person."""

from __future__ import annotations

from capture.readers import Reader
from capture.video import IngestConfig, accepts, ingest_video

READER = Reader(IngestConfig, accepts, ingest_video)
