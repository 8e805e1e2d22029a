"""Configurations, one folder per choice, composed by hydra."""
