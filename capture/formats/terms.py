"""Licence and consent of a recording."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Terms:
    """What is known of a recording's licence and of the filmed person's consent; it goes into every manifest."""

    licence: str = "unknown"
    consent: str = "unknown"
