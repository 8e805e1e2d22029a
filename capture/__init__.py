"""Footage in, a capture folder out: readers, calibration checks, mattes and tracking."""
