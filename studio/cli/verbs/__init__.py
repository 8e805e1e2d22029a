"""One module per verb, each with ``run(config)``; listed here in the order in which they are used."""

from __future__ import annotations

VERBS: tuple[str, ...] = (
    "ingest",
    "check",
    "colour",
    "matte",
    "track",
    "train",
    "eval",
    "drive",
    "render",
    "jobs",
    "view",
    "live",
    "export",
    "info",
    "demo",
    "doctor",
    "make",
)
