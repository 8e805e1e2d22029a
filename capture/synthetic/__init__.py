"""Captures made by rendering: a rig of cameras round a head model that performs a script, with exact ground truth."""

from capture.synthetic.make import SyntheticConfig, make_synthetic_capture
from capture.synthetic.rig import Flaws

__all__ = ["Flaws", "SyntheticConfig", "make_synthetic_capture"]
