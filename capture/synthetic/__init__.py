"""Captures made by rendering: a rig of cameras round a head model that performs a script, with exact ground truth."""
