"""Driving an avatar: sources of codes, retargeting, and render jobs."""
