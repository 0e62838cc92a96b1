"""Benchmarks: ratios measured in one run, printed with the spread of their runs."""
