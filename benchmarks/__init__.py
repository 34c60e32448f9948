"""Measures durableflow, what else one could use, and the machine, side by side in one run.

``python -m benchmarks`` (or ``make bench``) measures everything, prints a table and writes it to
``benchmarks/results``.  docs/performance.md says what is measured and how.
"""
