"""Judging a driver without any network: motion against a reference, and what can be told from the motion alone."""
