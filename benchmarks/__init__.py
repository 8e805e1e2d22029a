"""Speed measurements: ``python -m benchmarks.<name>`` prints a table and writes its numbers as JSON."""

import studio  # noqa: F401 (before torch: says how torch's threads wait, which rivals' times hang on)
