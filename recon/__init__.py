"""From a capture to an avatar: training, evaluation, checkpoints, and one file per avatar representation."""
