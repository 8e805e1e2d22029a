"""The pre-flight doctor: looks at a capture once, asks every check what it thinks, and writes a report."""
