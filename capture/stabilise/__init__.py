"""Stabilisation: the rigid motion of the skull in a sequence of faces that also change their expression."""

from capture.stabilise.network import POINTS, Stabiliser, by_skull

__all__ = ["POINTS", "Stabiliser", "by_skull"]
