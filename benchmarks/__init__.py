"""Speed measurements: ``python -m benchmarks.<name>`` prints a table and writes its numbers as JSON."""
