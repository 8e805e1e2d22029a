"""Rendering as tasks of a job: codes and cameras first, then pictures in chunks, then the video of verified chunks."""
