"""Measurements of a running Kaiwa, beside the least that could do the same: docs/performance.md."""
