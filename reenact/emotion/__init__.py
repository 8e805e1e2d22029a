"""Emotions and actions: from plain words or numbers to facial action units, and on to channels."""
