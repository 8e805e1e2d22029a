"""Readers: one file per source format; each writes a capture folder."""
