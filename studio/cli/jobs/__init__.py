"""Job files: what they may say, and the tasks that they become."""
